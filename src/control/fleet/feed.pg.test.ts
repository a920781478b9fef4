import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FeedProbe, type FeedProbeOptions, postToFeed } from '../../../tests/support/feed-probe.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';
import { startFeed } from '../../../tests/support/test-feed.ts';
import { usageRecord } from '../../../tests/support/usage-records.ts';
import { appendEntry } from '../../storage/repositories/change-log.ts';
import { AWAIT_APPLIED_MAX_MS } from './await-applied.ts';
import { DELTA_REVISIONS_MAX } from './catch-up.ts';

let database: TestDatabase;
let control: TestControlPlane;
let other: TestControlPlane;
const probes: FeedProbe[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  [control, other] = await Promise.all([startControlPlane({ database }), startControlPlane({ database })]);
});
afterEach(() => {
  for (const probe of probes.splice(0)) probe.close();
});
afterAll(async () => {
  await Promise.all([control.stop(), other.stop()]);
  await database.drop();
});

function subscribe(options: Partial<FeedProbeOptions> = {}): FeedProbe {
  const probe = new FeedProbe({ socketPath: control.feedSocket, ...options });
  probes.push(probe);
  return probe;
}

async function generate(body: object = {}, plane = control) {
  const { json, headers } = await plane.call('POST', '/key/generate', { body });
  return { key: json.key as string, token: json.token as string, rev: Number(headers.get('x-claviger-rev')) };
}

describe('a subscriber', () => {
  it('with nothing gets a snapshot: all keys with their spend, deleted keys, the fleet key', async () => {
    const kept = await generate({ spend: 1.5, models: ['m'], user_id: 'u', tags: ['t'] });
    const gone = await generate();
    const { headers } = await control.call('POST', '/key/delete', { body: { keys: [gone.key] } });
    const probe = subscribe();
    await probe.untilRev(Number(headers.get('x-claviger-rev')));
    expect(probe.frames.map((frame) => frame.t).filter((kind) => kind !== 'ping')).toEqual([
      'welcome',
      'snapshot-begin',
      'settings',
      'keys',
      'deleted-keys',
      'snapshot-end',
    ]);
    expect(probe.keys.get(kept.token)).toMatchObject({
      token: kept.token,
      models: ['m'],
      userId: 'u',
      tags: ['t'],
      blocked: false,
    });
    expect(probe.spend.get(kept.token)).toBe('1500000000');
    expect(probe.deleted.has(gone.token)).toBe(true);
    expect(Buffer.from(probe.settings.fleet_key as string, 'base64')).toHaveLength(32);
  });

  it('gets a change of its own instance at once, and one of another instance within a poll', async () => {
    const probe = subscribe();
    await probe.until(() => probe.position !== null);
    const here = await generate();
    await probe.untilRev(here.rev);
    expect(probe.keys.has(here.token)).toBe(true);
    const there = await generate({}, other);
    await probe.untilRev(there.rev);
    expect(probe.keys.has(there.token)).toBe(true);
    await other.call('POST', '/key/block', { body: { key: here.key } });
    await probe.until(() => probe.keys.get(here.token)?.blocked === true);
  });

  it('that was away gets what it missed, and a snapshot when that is too much or not its history', async () => {
    const first = subscribe();
    await first.until(() => first.position !== null);
    first.close();
    const missed = await generate();
    const second = subscribe({ from: first });
    await second.untilRev(missed.rev);
    expect(second.has('snapshot-begin')).toBe(false);
    expect(second.keys.has(missed.token)).toBe(true);
    second.close();

    const { installation, epoch, rev } = second.position!;
    const strangers = [
      { installation: '11111111-1111-4111-8111-111111111111', epoch, rev },
      { installation, epoch: epoch - 1, rev },
    ];
    for (const have of strangers) {
      const probe = subscribe({ have });
      await probe.until(() => probe.has('snapshot-end'));
      expect(probe.position).toEqual({ installation, epoch, rev });
    }
  });

  it('that is further behind than the bound gets a snapshot', async () => {
    const first = subscribe();
    const observer = subscribe({ gatewayId: 'instance/1' });
    await Promise.all([first, observer].map((probe) => probe.until(() => probe.position !== null)));
    first.close();
    await control.db.write(async (tx) => {
      for (let n = 0; n <= DELTA_REVISIONS_MAX; n++) {
        const objectId = n.toString(16).padStart(64, '0');
        const actor = { actor: 'test', actorKey: null, changedBy: null, requestId: 'test', lane: 'fast' } as const;
        await appendEntry(tx, {
          kind: 'key',
          objectId,
          objectRev: 1,
          op: 'deleted',
          before: null,
          after: null,
          ...actor,
        });
      }
    });
    const end = (await generate()).rev;
    // It is live, so it has what the tail has: after this the tail is not behind any more.
    await observer.untilRev(end);
    const second = subscribe({ from: first });
    await second.untilRev(end);
    expect(second.has('snapshot-end')).toBe(true);
  });

  it('gets a snapshot when the change log no longer reaches back to what it has', async () => {
    const first = subscribe();
    await first.until(() => first.position !== null);
    first.close();
    const [a, b] = [await generate(), await generate()];
    await control.db.write((tx) => sql`delete from claviger.change_log where rev = ${a.rev}`.execute(tx));
    // One that has just started: the others know it by heart.
    const feed = await startFeed(database.url);
    const second = subscribe({ from: first, socketPath: feed.socketPath });
    await second.untilRev(b.rev);
    expect(second.has('snapshot-end')).toBe(true);
    await feed.close();
  });

  it('hears a ping each second with the age of the database read', async () => {
    const probe = subscribe();
    const pings = () => probe.frames.filter((frame) => frame.t === 'ping');
    await probe.until(() => pings().length >= 2);
    for (const ping of pings()) expect(ping.dbAgeMs).toBeLessThan(1_500);
    expect(pings().at(-1)!.rev).toBe(probe.position!.rev);
  });

  it('is superseded by a newer session of its gateway id, and can not come back', async () => {
    const older = subscribe({ session: 'old' });
    await older.until(() => older.position !== null);
    const newer = subscribe({ session: 'new' });
    await older.until(() => older.ended);
    expect(older.frames.at(-1)).toEqual({ t: 'superseded' });
    await newer.until(() => newer.position !== null);
    const again = subscribe({ session: 'old', from: older });
    await again.until(() => again.ended);
    expect(again.frames).toEqual([{ t: 'superseded' }]);
    const made = await generate();
    await newer.untilRev(made.rev);
    expect(newer.ended).toBe(false);
  });

  it('with the same session replaces its own connection without being superseded', async () => {
    const first = subscribe();
    await first.until(() => first.position !== null);
    const second = subscribe({ from: first });
    await first.until(() => first.ended);
    expect(first.has('superseded')).toBe(false);
    await second.untilRev((await generate()).rev);
  });

  it('of another protocol is told so', async () => {
    const hello = {
      protocol: 99,
      gatewayId: 'g/0',
      session: 's',
      region: '',
      role: 'worker',
      version: '0',
      have: null,
    };
    const answer = await postToFeed(control.feedSocket, '/feed/v1/stream', hello);
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('protocols 1 to 2, not 99')]);
  });
});

describe('the answer of a management write', () => {
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const startedAt = performance.now();
    await work();
    return performance.now() - startedAt;
  };

  it('waits until every live gateway process has confirmed the revision', async () => {
    const quick = subscribe({ gatewayId: 'instance/0' });
    const slow = subscribe({ gatewayId: 'instance/1', session: 'slow', acknowledge: false });
    await Promise.all([quick.until(() => quick.position !== null), slow.until(() => slow.position !== null)]);
    let answered = false;
    const write = generate().then((made) => {
      answered = true;
      return made;
    });
    const before = slow.position!.rev;
    await slow.untilRev(before + 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    expect(await slow.acknowledge()).toBe(204);
    await write;
  });

  it('waits 250 ms at most for one that does not confirm, and not at all when there is none', async () => {
    expect(await timed(() => generate())).toBeLessThan(AWAIT_APPLIED_MAX_MS);
    const mute = subscribe({ acknowledge: false });
    await mute.until(() => mute.position !== null);
    const tookMs = await timed(() => generate());
    expect(tookMs).toBeGreaterThan(AWAIT_APPLIED_MAX_MS - 5);
    expect(tookMs).toBeLessThan(AWAIT_APPLIED_MAX_MS + 1_000);
  });
});

describe('any history of keys', () => {
  type Operation = {
    kind: 'generate' | 'update' | 'block' | 'unblock' | 'delete' | 'reconnect';
    which: number;
    elsewhere: boolean;
  };
  const operation: fc.Arbitrary<Operation> = fc.record({
    kind: fc.constantFrom('generate', 'generate', 'update', 'block', 'unblock', 'delete', 'reconnect'),
    which: fc.nat(5),
    elsewhere: fc.boolean(),
  });

  it('looks the same to who followed it, to who came and went, and to who got a snapshot of its end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 25 }), async (operations) => {
        const follower = subscribe({ gatewayId: 'instance/0', session: 'follower' });
        let wanderer = subscribe({ gatewayId: 'instance/1', session: 'wanderer' });
        await Promise.all([follower, wanderer].map((probe) => probe.until(() => probe.position !== null)));
        const keys: string[] = [];
        for (const { kind, which, elsewhere } of operations) {
          const plane = elsewhere ? other : control;
          const key = keys[which % Math.max(1, keys.length)];
          if (kind === 'generate') {
            // Custom keys, so that a deleted one can come again.
            const custom = `sk-custom-${which}`;
            const { status } = await plane.call('POST', '/key/generate', {
              body: { key: custom, models: [`m${which}`] },
            });
            if (status === 200) keys.push(custom);
          } else if (kind === 'reconnect') {
            wanderer.close();
            wanderer = subscribe({ gatewayId: 'instance/1', session: 'wanderer', from: wanderer });
          } else if (key !== undefined) {
            const body = kind === 'delete' ? { keys: [key] } : kind === 'update' ? { key, rpm_limit: which } : { key };
            await plane.call('POST', `/key/${kind}`, { body });
          }
        }
        const { rows } = await control.db.read((tx) =>
          sql<{ rev: bigint }>`select rev from claviger.installation`.execute(tx),
        );
        const end = Number(rows[0]!.rev);
        const newcomer = subscribe({ gatewayId: 'instance/2', session: 'newcomer' });
        await Promise.all([follower, wanderer, newcomer].map((probe) => probe.untilRev(end)));
        const state = (probe: FeedProbe) => ({
          keys: Object.fromEntries([...probe.keys].sort()),
          deleted: [...probe.deleted].sort(),
        });
        expect(state(follower)).toEqual(state(newcomer));
        expect(state(wanderer)).toEqual(state(newcomer));
        for (const probe of [follower, wanderer, newcomer]) probe.close();
        const left = keys.length > 0 ? { keys } : null;
        if (left !== null) await control.call('POST', '/key/delete', { body: left });
      }),
      { numRuns: 8, endOnFailure: true },
    );
  }, 60_000);
});

describe('usage over the feed', () => {
  const batch = (installation: string) => ({
    installation,
    gatewayId: 'instance/0',
    region: 'eu',
    incarnation: 'over-the-feed',
    from: 0,
    to: 1,
    records: [usageRecord({ token: 'feed-key' })],
  });

  it('is ingested, and another installation is refused with both names', async () => {
    const probe = subscribe();
    await probe.until(() => probe.position !== null);
    const { installation } = probe.position!;
    const answer = await postToFeed(control.feedSocket, '/feed/v1/usage', batch(installation));
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      200,
      { ok: true, cursor: 1, spend: { 'feed-key': '75000' } },
    ]);
    const again = await postToFeed(control.feedSocket, '/feed/v1/usage', batch(installation));
    expect(JSON.parse(again.text)).toEqual({ ok: false, cursor: 1 });
    const foreign = await postToFeed(control.feedSocket, '/feed/v1/usage', batch('another'));
    expect(foreign.status).toBe(409);
    expect(foreign.text).toContain('another');
    expect(foreign.text).toContain(installation);
  });

  it('that is no batch is a 400, an unknown path a 404, and another method a 405', async () => {
    for (const body of ['', 'nonsense', '[]', '{}', '{"installation": "x"}']) {
      expect((await postToFeed(control.feedSocket, '/feed/v1/usage', body)).status).toBe(400);
    }
    expect((await postToFeed(control.feedSocket, '/feed/v1/nothing', {})).status).toBe(404);
    expect(
      (await postToFeed(control.feedSocket, '/feed/v1/ack', { gatewayId: 'x', session: 'y', epoch: 1, rev: 1 })).status,
    ).toBe(409);
  });
});
