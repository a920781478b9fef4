import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { writeAccount } from '../../../tests/support/account-objects.ts';
import { eventually } from '../../../tests/support/eventually.ts';
import { FeedGateway } from '../../../tests/support/feed-gateway.ts';
import { FeedProbe, type FeedProbeOptions, postToFeed } from '../../../tests/support/feed-probe.ts';
import { pick } from '../../../tests/support/length.ts';
import { stateOf } from '../../../tests/support/principals.ts';
import { Protocol1Client } from '../../../tests/support/protocol-1/client.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';
import { type AccountKind, memberId } from '../../domain/account.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';

let database: TestDatabase;
let control: TestControlPlane;
const closing: { close(): unknown }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  control = await startControlPlane({ database });
});
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});
afterAll(async () => {
  await control.stop();
  await database.drop();
});

function subscribe(options: Partial<FeedProbeOptions> = {}): FeedProbe {
  const probe = new FeedProbe({ socketPath: control.feedSocket, ...options });
  closing.push(probe);
  return probe;
}

function gateway(name: string, directory?: string): FeedGateway {
  const made = new FeedGateway({
    gatewayId: `${name}/0`,
    socketPath: () => control.feedSocket,
    ...(directory === undefined ? {} : { directory }),
  });
  closing.push(made);
  return made;
}

const write = (kind: AccountKind, id: string, fields: JsonObject | null) => writeAccount(control.db, kind, id, fields);

async function generate(body: object = {}) {
  const { json, headers } = await control.call('POST', '/key/generate', { body });
  return { key: json.key as string, token: json.token as string, rev: Number(headers.get('x-claviger-rev')) };
}

describe('accounts in the feed', () => {
  it('come before the keys of a snapshot, those that restrict nobody left out', async () => {
    await write('team', 'snap', { models: ['a'], model_aliases: { fast: 'a' }, rpm_limit: 5 });
    await write('customer', 'plain', { alias: 'of no interest' });
    await write('customer', 'blocked', { blocked: true });
    await write('tag', 'plain', { description: 'of no interest' });
    const rev = await write('tag', 'priced', { budget_id: 'b' });
    await generate();
    const probe = subscribe();
    await probe.untilRev(rev);
    const kinds = probe.frames.map(({ t }) => t);
    expect(kinds.indexOf('accounts')).toBeLessThan(kinds.indexOf('keys'));
    expect(probe.accounts.get('team:snap')).toMatchObject({
      models: ['a'],
      modelAliases: { fast: 'a' },
      limits: { rpm: 5 },
    });
    expect(
      ['customer:plain', 'customer:blocked', 'tag:plain', 'tag:priced'].map((key) => probe.accounts.has(key)),
    ).toEqual([false, true, false, true]);
  });

  it('come as changes, each as it is afterwards, and go when nothing is left in them', async () => {
    const probe = subscribe();
    await probe.until(() => probe.position !== null);
    await probe.untilRev(await write('customer', 'c', { blocked: true }));
    expect(probe.accounts.get('customer:c')?.blocked).toBe(true);
    await probe.untilRev(await write('customer', 'c', { blocked: false }));
    expect(probe.accounts.has('customer:c')).toBe(false);
    await probe.untilRev(await write('user', 'u', { models: ['no-default-models'] }));
    expect(probe.accounts.get('user:u')?.models).toEqual(['no-default-models']);
    await probe.untilRev(await write('user', 'u', null));
    expect(probe.accounts.has('user:u')).toBe(false);
  });

  it('are refused ahead of their delta while an earlier one is not confirmed', async () => {
    await write('team', 'ahead', {});
    const probe = subscribe({ acknowledge: false });
    await probe.until(() => probe.position !== null);
    await probe.acknowledge();
    const first = await write('team', 'other', {});
    await probe.untilRev(first);
    await write('team', 'ahead', { blocked: true });
    await write('customer', 'ahead', { blocked: true });
    await probe.until(() => probe.denied.has('team:ahead') && probe.denied.has('customer:ahead'));
    expect(probe.position?.rev).toBe(first);
    expect(probe.accounts.get('team:ahead')?.blocked).toBe(false);
  });
});

describe('any history of accounts', () => {
  const kinds = ['user', 'team', 'team_member', 'organization', 'customer', 'tag', 'budget'] as const;
  const idOf = (kind: AccountKind, which: number) =>
    kind === 'team_member' ? memberId('t', `u${which}`) : `x${which}`;
  const money = fc.constantFrom<JsonObject>(
    {},
    { max_budget: 5, budget_duration: '30d' },
    { model_max_budget: { zeta: { budget_limit: 1 }, a: { max_budget: 2, rpm_limit: 3 } } },
    { metadata: { model_rpm_limit: { zeta: 1, a: 2 }, rpm_limit_type: 'dynamic' } },
  );
  const fieldsOf: Readonly<Record<AccountKind, fc.Arbitrary<JsonObject>>> = {
    user: fc.tuple(fc.record({ blocked: fc.boolean() }), money).map(([a, b]) => ({ ...a, ...b })),
    team: fc
      .tuple(fc.record({ blocked: fc.boolean(), model_aliases: fc.constantFrom({}, { zeta: 'a', a: 'b' }) }), money)
      .map(([a, b]) => ({ ...a, ...b })),
    team_member: fc.record({ models: fc.constantFrom([], ['a']), budget_id: fc.constantFrom(null, 'x0') }),
    organization: fc.record({ blocked: fc.boolean(), allowed_regions: fc.constantFrom([], ['eu']) }),
    customer: fc.record({ blocked: fc.boolean(), budget_id: fc.constantFrom(null, 'x1') }),
    tag: fc.record({ budget_id: fc.constantFrom(null, 'x1') }),
    budget: money,
  };
  const operation = fc
    .constantFrom(...kinds)
    .chain((kind) =>
      fc.record({ kind: fc.constant(kind), which: fc.nat(2), fields: fc.option(fieldsOf[kind], { freq: 4 }) }),
    );

  it('leads a gateway process to the same, by deltas, from disk and by a snapshot of its end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 4, maxLength: 16 }), fc.nat(16), async (operations, cut) => {
        const follower = gateway('follower');
        let wanderer = gateway('wanderer');
        await eventually(() => follower.client.connected && wanderer.client.connected, 10_000);
        let rev = follower.store.position!.rev;
        for (const [index, { kind, which, fields }] of operations.entries()) {
          rev = Math.max(rev, await write(kind, idOf(kind, which), fields));
          if (index !== cut) continue;
          const { directory } = wanderer;
          wanderer.client.stop();
          await wanderer.snapshots.close();
          wanderer = gateway('wanderer', directory);
        }
        const newcomer = gateway('newcomer');
        const all = [follower, wanderer, newcomer];
        await eventually(() => all.every(({ store }) => (store.position?.rev ?? -1) >= rev), 10_000);
        expect(stateOf(follower.store)).toEqual(stateOf(newcomer.store));
        expect(stateOf(wanderer.store)).toEqual(stateOf(newcomer.store));
        for (const one of closing.splice(0)) await one.close();
      }),
      { numRuns: pick(4, 60), endOnFailure: true },
    );
  }, 120_000);
});

describe('a gateway process of protocol 1', () => {
  it('gets the keys of a blocked team or user as blocked, when that changes and when it comes', async () => {
    await write('team', 'old', {});
    const ofTeam = await generate({ team_id: 'old' });
    const free = await generate();
    const old = new Protocol1Client(control.feedSocket, 'old/0');
    closing.push({ close: () => old.stop() });
    old.run();
    await eventually(() => old.phase === 'live');
    expect(old.keys.get(ofTeam.token)?.blocked).toBe(false);

    await write('team', 'old', { blocked: true });
    await eventually(() => old.keys.get(ofTeam.token)?.blocked === true, 10_000);
    expect(old.keys.get(free.token)?.blocked).toBe(false);
    const changed = await generate({ team_id: 'old' });
    await eventually(() => old.keys.get(changed.token)?.blocked === true, 10_000);

    const fresh = new Protocol1Client(control.feedSocket, 'old/1');
    closing.push({ close: () => fresh.stop() });
    fresh.run();
    await eventually(() => fresh.phase === 'live');
    expect([ofTeam, changed, free].map(({ token }) => fresh.keys.get(token)?.blocked)).toEqual([true, true, false]);

    await write('team', 'old', { blocked: false });
    await eventually(() => old.keys.get(ofTeam.token)?.blocked === false, 10_000);
    // An account that restricts nobody makes no difference, and is no reason to come again.
    const hellos = old.hellos.length;
    const rev = await write('user', 'harmless', {});
    await eventually(() => (old.position?.rev ?? 0) >= rev, 10_000);
    expect(old.hellos).toHaveLength(hellos);
  });
});

describe('denials of accounts after history was replaced', () => {
  it('are taken over, but for what somebody has allowed since; a forgotten customer is made again', async () => {
    await write('team', 'back', {});
    await write('user', 'back', {});
    await write('organization', 'allowed', { blocked: true });
    const rev = await write('organization', 'allowed', { blocked: false });
    const probe = subscribe();
    await probe.untilRev(rev);
    const report = {
      gatewayId: 'instance/0',
      session: 'session-1',
      epoch: probe.position!.epoch,
      blocked: ['team:back', 'user:back', 'organization:allowed', 'customer:forgotten', 'team:never known'],
      deleted: [],
    };
    const { status, text } = await postToFeed(control.feedSocket, '/feed/v1/denials', report);
    expect([status, JSON.parse(text)]).toEqual([200, expect.objectContaining({ blocked: 3, known: 3, lifted: 1 })]);
    await probe.untilRev(JSON.parse(text).rev);
    const isBlocked = (key: string) => probe.accounts.get(key)?.blocked;
    expect(['team:back', 'user:back', 'organization:allowed', 'customer:forgotten'].map(isBlocked)).toEqual([
      true,
      true,
      false,
      true,
    ]);
    const again = JSON.parse((await postToFeed(control.feedSocket, '/feed/v1/denials', report)).text);
    expect(again).toMatchObject({ blocked: 0 });
  });
});

describe('rolling back a change of an account', () => {
  const rollBack = (rev: number, body: object = {}) => control.call('POST', `/fleet/changes/${rev}/rollback`, { body });

  it('gives the fields their old values, and unblocks only with confirm', async () => {
    await write('team', 'r', { models: ['a'] });
    const blocked = await write('team', 'r', { blocked: true });
    const asked = await rollBack(blocked);
    expect([asked.status, JSON.stringify(asked.json)]).toEqual([
      409,
      expect.stringContaining('would unblock the team'),
    ]);
    expect((await rollBack(blocked, { confirm: true })).status).toBe(200);
    const narrowed = await write('team', 'r', { models: ['a'], rpm_limit: 5 });
    expect((await rollBack(narrowed)).status).toBe(409);
    const widened = await write('team', 'r', { models: ['a', 'b'] });
    expect((await rollBack(widened)).status).toBe(200);
    const probe = subscribe();
    await probe.until(() => probe.has('snapshot-end'));
    expect(probe.accounts.get('team:r')).toMatchObject({ blocked: false, models: ['a'], limits: { rpm: 5 } });
  });

  it('makes a deleted one again with confirm, and deletes no team behind the back of its keys', async () => {
    const made = await write('team', 'd', { models: ['a'] });
    expect(JSON.stringify((await rollBack(made)).json)).toContain('own route');
    const deleted = await write('team', 'd', null);
    expect((await rollBack(deleted)).status).toBe(409);
    expect((await rollBack(deleted, { confirm: true })).status).toBe(200);
    const customer = await write('customer', 'd', { blocked: true });
    expect(JSON.stringify((await rollBack(customer)).json)).toContain('lift what the customer forbids');
    expect((await rollBack(customer, { confirm: true })).status).toBe(200);
    const probe = subscribe();
    await probe.until(() => probe.has('snapshot-end'));
    expect(probe.accounts.get('team:d')).toMatchObject({ models: ['a'] });
    expect(probe.accounts.has('customer:d')).toBe(false);
  });
});
