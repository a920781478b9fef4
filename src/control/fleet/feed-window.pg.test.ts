import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FeedProbe, type FeedProbeOptions, postToFeed } from '../../../tests/support/feed-probe.ts';
import { writeModel } from '../../../tests/support/stored-models.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { startFeed } from '../../../tests/support/test-feed.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import { GOAWAY_SPREAD_MS, GOAWAY_SPREAD_PER_SUBSCRIBER_MS } from './feed-server.ts';

let control: TestControlPlane;
const probes: FeedProbe[] = [];

beforeAll(async () => {
  control = await startControlPlane();
});
afterEach(() => {
  for (const probe of probes.splice(0)) probe.close();
});
afterAll(() => control.stop());

async function subscribe(options: Partial<FeedProbeOptions> = {}): Promise<FeedProbe> {
  const probe = new FeedProbe({ socketPath: control.feedSocket, ...options });
  probes.push(probe);
  await probe.until(() => probe.position !== null);
  return probe;
}

async function generate(body: object = {}) {
  const { json, headers } = await control.call('POST', '/key/generate', { body });
  return { key: json.key as string, token: json.token as string, rev: Number(headers.get('x-claviger-rev')) };
}
const block = async (key: string) =>
  Number((await control.call('POST', '/key/block', { body: { key } })).headers.get('x-claviger-rev'));
const deltas = (probe: FeedProbe) =>
  probe.frames.filter((frame): frame is Extract<DownFrame, { t: 'delta' }> => frame.t === 'delta');

describe('a gateway process that does not confirm', () => {
  it('is sent one delta, hears of denials at once, and gets the rest as one when it does', async () => {
    const [a, b] = [await generate(), await generate()];
    const slow = await subscribe({ acknowledge: false });
    const first = await generate();
    await slow.untilRev(first.rev);
    await control.call('POST', '/key/update', { body: { key: a.key, rpm_limit: 1 } });
    await control.call('POST', '/key/update', { body: { key: a.key, rpm_limit: 2 } });
    const last = await block(b.key);
    await slow.until(() => slow.denied.has(b.token));
    expect(deltas(slow)).toHaveLength(1);
    // In force is not the same as confirmed: it is still at the delta that it has.
    expect(slow.position?.rev).toBe(first.rev);
    await slow.acknowledge();
    await slow.untilRev(last);
    expect(deltas(slow)).toHaveLength(2);
    expect(deltas(slow)[1]).toMatchObject({ from: first.rev, to: last, changes: [{ id: a.token }, { id: b.token }] });
    expect(slow.keys.get(a.token)?.rpmLimit).toBe(2);
    expect(slow.keys.get(b.token)?.blocked).toBe(true);
  });

  it('gets the rest when a ping says that it has applied the delta, as with a full disk', async () => {
    const full = await subscribe({ acknowledge: false });
    const first = await generate();
    await full.untilRev(first.rev);
    const second = await generate();
    expect(await full.ping()).toMatchObject({ status: 200, reply: { rev: second.rev } });
    await full.untilRev(second.rev);
  });

  it('gets no ping that names what it could not have, and signs of life all the same', async () => {
    const slow = await subscribe({ acknowledge: false });
    const first = await generate();
    await slow.untilRev(first.rev);
    await generate();
    const pingsBefore = slow.frames.filter(({ t }) => t === 'ping').length;
    const bytesBefore = slow.bytes;
    await slow.until(() => slow.bytes > bytesBefore);
    expect(slow.frames.filter(({ t }) => t === 'ping')).toHaveLength(pingsBefore);
    expect(slow.ended).toBe(false);
  });

  it('is closed after a bounded time, and starts again from its revision', async () => {
    const strict = await startFeed(control.database.url, { ackWindowMaxMs: 100 });
    const mute = await subscribe({ socketPath: strict.socketPath, acknowledge: false });
    const made = await generate();
    await mute.until(() => mute.ended);
    expect(mute.position?.rev).toBe(made.rev);
    const next = await generate();
    const again = await subscribe({ socketPath: strict.socketPath, from: mute });
    await again.untilRev(next.rev);
    expect(again.has('snapshot-begin')).toBe(false);
    await strict.close();
  });
});

describe('the audit head', () => {
  it('comes with welcome, snapshots and deltas, and is the same for everybody at a revision', async () => {
    const follower = await subscribe();
    const { rev } = await generate();
    await follower.untilRev(rev);
    const newcomer = await subscribe({ gatewayId: 'instance/1' });
    expect(follower.head).toMatch(/^[0-9a-f]{64}$/);
    expect(newcomer.head).toBe(follower.head);
    expect(newcomer.frames[0]).toMatchObject({ t: 'welcome', protocol: 2, head: follower.head });
  });
});

describe('models', () => {
  it('go to the regions that may use them, in snapshots and in deltas, and leave them when they no longer may', async () => {
    await writeModel(control.db, 'everywhere', {});
    await writeModel(control.db, 'eu-only', { regions: ['eu'] });
    const eu = await subscribe({ gatewayId: 'eu/0', region: 'eu' });
    const us = await subscribe({ gatewayId: 'us/0', region: 'us' });
    expect([...eu.models.keys()].sort()).toEqual(['eu-only', 'everywhere']);
    expect([...us.models.keys()]).toEqual(['everywhere']);
    expect(eu.models.get('eu-only')).toEqual({
      id: 'eu-only',
      modelName: 'name of eu-only',
      litellmParams: { model: 'openai/gpt' },
      modelInfo: { regions: ['eu'] },
    });

    await writeModel(control.db, 'everywhere', { regions: ['us'] });
    await writeModel(control.db, 'eu-only', { regions: ['us', 'eu'] });
    const { stretch } = await writeModel(control.db, 'late', { regions: ['us'] });
    await Promise.all([eu.untilRev(stretch!.to), us.untilRev(stretch!.to)]);
    expect([...eu.models.keys()]).toEqual(['eu-only']);
    expect([...us.models.keys()].sort()).toEqual(['eu-only', 'everywhere', 'late']);
    const seenByEu = JSON.stringify(eu.frames.filter(({ t }) => t === 'delta'));
    expect(seenByEu).not.toContain('name of late');

    const { stretch: gone } = await writeModel(control.db, 'eu-only', null);
    await us.untilRev(gone!.to);
    expect(us.models.has('eu-only')).toBe(false);
    // What followed and what a newcomer is sent are the same.
    const again = await subscribe({ gatewayId: 'us/1', region: 'us' });
    expect([...again.models].sort()).toEqual([...us.models].sort());
  });
});

describe('a key with a rule', () => {
  it('says which fields must be understood', async () => {
    const probe = await subscribe();
    const [plain, local] = [await generate(), await generate({ allowed_regions: ['eu'], fence: 'strict' })];
    await probe.untilRev(local.rev);
    expect(probe.keys.get(plain.token)).not.toHaveProperty('crit');
    expect(probe.keys.get(local.token)).toMatchObject({ allowedRegions: ['eu'], crit: ['allowedRegions', 'fence'] });
  });
});

describe('what a gateway process says of itself', () => {
  it('is kept with its entry: its newest ping and the configuration in force', async () => {
    const feed = await startFeed(control.database.url);
    const probe = await subscribe({ gatewayId: 'said/0', socketPath: feed.socketPath });
    const entry = () => [...feed.registry.entries()][0]!;
    expect([entry().heard, entry().config]).toEqual([null, null]);
    const config = { rev: 1, rejected: { rev: 2, reason: 'no such provider' }, hash: 'ab' };
    const { gatewayId, session } = entry().hello;
    const ack = { gatewayId, session, epoch: probe.position!.epoch, rev: probe.position!.rev, config };
    expect((await postToFeed(feed.socketPath, '/feed/v1/ack', ack)).status).toBe(204);
    expect(entry().config).toEqual(config);
    await probe.ping({ config: { ...config, rejected: null } });
    expect(entry().config).toEqual({ ...config, rejected: null });
    expect(entry().heard?.ping).toMatchObject({ gatewayId, rev: probe.position!.rev });
    await feed.close();
  });

  it('is not taken from a session that is not connected', async () => {
    const stranger = await subscribe({ gatewayId: 'left/0' });
    stranger.close();
    await stranger.until(() => stranger.ended);
    expect((await stranger.ping()).status).toBe(409);
    const report = { gatewayId: 'left/0', session: 'session-1', epoch: 1, blocked: [], deleted: [] };
    expect((await postToFeed(control.feedSocket, '/feed/v1/denials', report)).status).toBe(409);
  });
});

describe('a control process that leaves', () => {
  it('spreads over a bounded time when its gateway processes come back, and longer the more they are', async () => {
    let drawn = 0;
    const random = () => [0, 0.5, 0.999][drawn++ % 3]!;
    const feed = await startFeed(control.database.url, { random });
    const all = await Promise.all(
      Array.from({ length: 60 }, (_, slot) => subscribe({ gatewayId: `g/${slot}`, socketPath: feed.socketPath })),
    );
    await feed.leave();
    await Promise.all(all.map((probe) => probe.until(() => probe.ended)));
    const last = all.map((probe) => probe.frames.at(-1));
    const delays = last.map((frame) => (frame?.t === 'goaway' ? frame.retryAfterMs : Number.NaN)).sort((a, b) => a - b);
    const spreadMs = 60 * GOAWAY_SPREAD_PER_SUBSCRIBER_MS;
    expect(spreadMs).toBeLessThan(GOAWAY_SPREAD_MS);
    expect(new Set(delays).size).toBe(3);
    expect(delays.at(-1)! - delays[0]!).toBeGreaterThan(0.9 * spreadMs);
    expect(delays.at(-1)! - delays[0]!).toBeLessThanOrEqual(spreadMs);
    await feed.close();
  });
});

describe('snapshots', () => {
  it('are sent to so many at once; who waits for one hears that it is not forgotten', async () => {
    const feed = await startFeed(control.database.url, { snapshotsAtOnceMax: 1, pingIntervalMs: 20 });
    // More than a socket takes, so that a reader that stops keeps its place.
    await control.db.write((tx) =>
      sql`
        insert into claviger.virtual_key (token, key_name, key_alias, models, aliases, config, model_max_budget, permissions,
          allowed_routes, allowed_cache_controls, policies, access_group_ids, metadata, blocked, auto_rotate, created_at, updated_at)
        select encode(sha256(n::text::bytea), 'hex'), 'sk-...', repeat('x', 2000) || n, '{}', '{}', '{}', '{}', '{}',
          '{}', '{}', '{}', '{}', '{}', false, false, now(), now()
          from generate_series(1, 3000) n
      `.execute(tx),
    );
    const stopped = new FeedProbe({ socketPath: feed.socketPath, gatewayId: 'stopped/0' });
    probes.push(stopped);
    await stopped.until(() => stopped.has('snapshot-begin'));
    stopped.pause();
    const waiting = new FeedProbe({ socketPath: feed.socketPath, gatewayId: 'waiting/0' });
    probes.push(waiting);
    await waiting.until(() => waiting.frames.filter(({ t }) => t === 'ping').length >= 3);
    expect(waiting.has('welcome')).toBe(false);
    stopped.resume();
    await Promise.all([stopped, waiting].map((probe) => probe.until(() => probe.position !== null, 20_000)));
    expect(waiting.keys.size).toBe(stopped.keys.size);
    await feed.close();
  });
});
