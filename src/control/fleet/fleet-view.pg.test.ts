import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FleetProbe } from '../../../tests/support/fleet-probe.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';
import type { GatewayRow as Gateway, WorkerRow as Worker } from '../../contract/schemas/fleet.ts';
import { PRESENCE_AGE_MAX_MS } from './gateway-state.ts';

type Row = { readonly reported_by: string; readonly left_at: Date | null };

let database: TestDatabase;
/** An admin, and the control process of a worker: they know of each other through the database only. */
let admin: TestControlPlane;
let worker: TestControlPlane;
let probes: FleetProbe[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  admin = await startControlPlane({ database, instanceId: 'admin', settings: { role: 'admin', region: 'eu' } });
  worker = await startControlPlane({ database, instanceId: 'worker-us' });
});
afterEach(async () => {
  for (const probe of probes) probe.close();
  probes = [];
});
afterAll(async () => {
  await Promise.all([admin.stop(), worker.stop()]);
  await database.drop();
});

const probe = (gatewayId: string, options: Partial<ConstructorParameters<typeof FleetProbe>[0]> = {}) => {
  const made = new FleetProbe({ socketPath: worker.feedSocket, region: 'us', ...options, gatewayId });
  probes.push(made);
  return made.arrive();
};

async function gateway(id: string): Promise<Gateway | undefined> {
  const { json } = await admin.call('GET', '/fleet/workers');
  return json.workers.flatMap((one: Worker) => one.gateways).find((one: Gateway) => one.gateway === id);
}

const stateOf = async (id: string) => (await gateway(id))?.state;
const makeKey = async (body: object = {}) => (await admin.call('POST', '/key/generate', { body })).json;

async function age(id: string, seconds: number): Promise<void> {
  await admin.db.write((tx) =>
    sql`update claviger.gateway set heard_at = heard_at - make_interval(secs => ${seconds}) where gateway_id = ${id}`.execute(
      tx,
    ),
  );
}

describe('the fleet as an admin sees it', () => {
  it('has gateway processes of other instances as soon as they have applied something', async () => {
    const one = await probe('w1/0');
    await expect.poll(() => stateOf('w1/0')).toBe('live');
    const { json } = await admin.call('GET', '/fleet/workers');
    expect(json.workers.find((found: Worker) => found.worker === 'w1')).toMatchObject({ region: 'us', state: 'live' });
    expect(json.head.rev).toBe(one.position!.rev);
  });

  it('knows the revision that each has applied, and how far behind the others are', async () => {
    await probe('w1/0');
    const slow = await probe('w1/1', { acknowledge: false });
    await slow.acknowledge();
    await expect.poll(async () => [await stateOf('w1/0'), await stateOf('w1/1')]).toEqual(['live', 'live']);
    await makeKey();
    await expect
      .poll(async () => [(await gateway('w1/0'))?.lag, (await gateway('w1/1'))?.lag.revisions])
      .toEqual([{ revisions: 0, ms: 0 }, 1]);
    expect((await gateway('w1/1'))!.lag.ms).toBeGreaterThan(0);
  });

  it('calls nobody live by its last word: the age of that decides', async () => {
    await probe('w2/0');
    await expect.poll(() => stateOf('w2/0')).toBe('live');
    // The row of an instance that is gone with its control process: nobody writes it any more.
    await admin.db.write((tx) =>
      sql`insert into claviger.gateway (gateway_id, instance_id, session, region, role, version, protocol, epoch, rev, applied_at,
                                        stats, reported_by, heard_at)
          select 'dead/0', 'dead', session, region, role, version, protocol, epoch, rev, applied_at, stats, 'dead', now()
            from claviger.gateway where gateway_id = 'w2/0'`.execute(tx),
    );
    expect(await stateOf('dead/0')).toBe('live');
    // However young the row is: who wrote it has not said since that it is there.
    const present = (ageMs: number) =>
      admin.db.write((tx) =>
        sql`insert into claviger.control_heartbeat (control_id, instance_id, role, region, version, beat, at)
            values ('dead/control', 'dead', 'worker', 'us', '1', 1, now() - make_interval(secs => ${ageMs / 1_000}))
            on conflict (control_id) do update set at = excluded.at`.execute(tx),
      );
    await present(0);
    expect(await stateOf('dead/0')).toBe('live');
    await present(PRESENCE_AGE_MAX_MS);
    expect(await stateOf('dead/0')).toBe('suspect');
    await present(0);
    await age('dead/0', 31);
    expect(await stateOf('dead/0')).toBe('suspect');
    await age('dead/0', 60);
    expect(await stateOf('dead/0')).toBe('lost');
  });

  it('says what an instance depends on, and since when that is away', async () => {
    const one = await probe('depends/0');
    await one.say({
      dependencies: { controlPlane: null, mirror: { writtenAgeMs: 1_000, failure: 'the disk is full\0' } },
    });
    const dependencies = async (id: string) =>
      (await admin.call('GET', '/fleet/workers')).json.workers.find((found: Worker) => found.worker === id)
        ?.dependencies;
    await expect
      .poll(() => dependencies('depends'))
      .toMatchObject({ control_plane: null, snapshot_mirror: { state: 'failing', error: 'the disk is full\ufffd' } });
    expect(Date.parse((await dependencies('depends')).snapshot_mirror.last_written)).toBeGreaterThan(
      Date.now() - 60_000,
    );
    const own = await probe('admin/0', { socketPath: admin.feedSocket });
    await own.say();
    await expect
      .poll(() => dependencies('admin'))
      .toEqual({ database: { state: 'ok', away_since: null }, control_plane: null, snapshot_mirror: null });
    await admin.db.write((tx) =>
      sql`insert into claviger.control_heartbeat select (jsonb_populate_record(h, '{"control_id": "silent/control", "instance_id": "depends"}')).*
            from claviger.control_heartbeat h where instance_id = 'admin'`.execute(tx),
    );
    expect((await dependencies('depends')).database).toMatchObject({ state: 'ok' });
    await admin.db.write((tx) =>
      sql`update claviger.control_heartbeat set at = at - interval '2 minutes' where instance_id = 'depends'`.execute(
        tx,
      ),
    );
    expect((await dependencies('depends')).database).toMatchObject({ state: 'away', away_since: expect.any(String) });
  });

  it('tells one that drained from one whose connection broke', async () => {
    const polite = await probe('w3/0');
    const broken = await probe('w3/1');
    await expect.poll(async () => [await stateOf('w3/0'), await stateOf('w3/1')]).toEqual(['live', 'live']);
    await polite.say({ draining: true });
    polite.close();
    broken.close();
    await expect.poll(async () => [await stateOf('w3/0'), await stateOf('w3/1')]).toEqual(['left', 'suspect']);
    expect(await gateway('w3/1')).toMatchObject({ left_reason: 'connection lost' });
  });

  it('has it live again when it comes back, under whatever session', async () => {
    const before = await probe('w3/1', { session: 'before' });
    await expect.poll(() => stateOf('w3/1')).toBe('live');
    before.close();
    await expect.poll(() => stateOf('w3/1')).toBe('suspect');
    await probe('w3/1', { session: 'after' });
    await expect.poll(() => gateway('w3/1')).toMatchObject({ state: 'live', session: 'after', left_at: null });
  });

  it('leaves the row to the control process that heard of it last', async () => {
    const before = await probe('mover/0');
    await expect.poll(() => stateOf('mover/0')).toBe('live');
    await probe('mover/0', { socketPath: admin.feedSocket });
    await expect.poll(async () => (await row('mover/0'))?.reported_by).toBe('admin');
    before.close();
    await makeKey();
    await expect.poll(async () => (await gateway('mover/0'))?.lag.revisions).toBe(0);
    expect(await row('mover/0')).toMatchObject({ reported_by: 'admin', left_at: null });
  });

  it('names those that hold other keys at the same revision, and only when all of them had everything', async () => {
    const rows = await Promise.all(['d/0', 'd/1', 'd/2'].map((id) => probe(id, { socketPath: admin.feedSocket })));
    await Promise.all(rows.map((one, index) => one.say({ setHash: index === 2 ? 'other' : 'same' })));
    await expect
      .poll(async () => Promise.all(['d/0', 'd/1', 'd/2'].map(async (id) => (await gateway(id))?.drift)))
      .toEqual([false, false, true]);
  });

  it('shows a rejected configuration with its reason, in the worker and in its region', async () => {
    const one = await probe('c/0', { socketPath: admin.feedSocket, region: 'ap' });
    await one.say({
      config: { rev: 3, rejected: { rev: 5, reason: 'no such provider' }, hash: 'h' },
      requestsPerMinute: 7,
    });
    expect((await gateway('c/0'))!.configuration).toMatchObject({
      rev: 3,
      rejected: { rev: 5, reason: 'no such provider' },
    });
    const { json } = await admin.call('GET', '/fleet/regions');
    expect(json.regions.find((region: { region: string }) => region.region === 'ap')).toMatchObject({
      rejected_configurations: 1,
      requests_per_minute: 7,
      gateways: { live: 1 },
    });
  });

  it('takes strange figures of one without losing those of the others', async () => {
    const strange = await probe('strange/0');
    await probe('sane/0');
    await strange.say({
      setHash: 'a\u0000b\ud800',
      rssBytes: 'much' as never,
      usageLog: null as never,
      config: { rev: 1, rejected: null, hash: '\u0000' },
    });
    await expect.poll(async () => [await stateOf('strange/0'), await stateOf('sane/0')]).toEqual(['live', 'live']);
    await makeKey();
    await expect
      .poll(async () => [(await gateway('strange/0'))?.lag.revisions, (await gateway('sane/0'))?.lag.revisions])
      .toEqual([0, 0]);
  });

  it('is filtered by region and state', async () => {
    await probe('w1/0');
    await expect.poll(() => stateOf('w1/0')).toBe('live');
    const names = async (query: string) =>
      (await admin.call('GET', `/fleet/workers?${query}`)).json.workers.map((one: Worker) => one.worker);
    expect(await names('region=us&state=live')).toContain('w1');
    expect(await names('region=nowhere')).toEqual([]);
    expect(await names('region=us&state=left')).not.toContain('w1');
    expect((await admin.call('GET', '/fleet/workers?state=green')).status).toBe(422);
  });

  it('is for admins', async () => {
    const { key } = await makeKey();
    for (const path of ['/fleet/workers', '/fleet/regions', '/fleet/changes', '/fleet/events']) {
      expect((await admin.call('GET', path, { key })).status).toBe(401);
    }
  });
});

async function row(id: string): Promise<Row | undefined> {
  const { rows } = await admin.db.read((tx) =>
    sql<Row>`select * from claviger.gateway where gateway_id = ${id}`.execute(tx),
  );
  return rows[0];
}

describe('what was applied when', () => {
  it('is one row per move, contiguous, also over reconnections', async () => {
    const one = await probe('moves/0');
    await expect.poll(() => stateOf('moves/0')).toBe('live');
    for (let n = 0; n < 5; n++) await makeKey();
    const end = (await makeKey()).token && (await admin.call('GET', '/fleet/workers')).json.head.rev;
    await one.untilRev(end);
    one.close();
    await expect.poll(() => stateOf('moves/0')).toBe('suspect');
    await makeKey();
    await probe('moves/0', { from: one });
    await expect.poll(async () => (await gateway('moves/0'))?.applied.rev).toBe(end + 1);
    const { rows } = await admin.db.read((tx) =>
      sql<{ from_rev: bigint; to_rev: bigint }>`
        select from_rev, to_rev from claviger.change_delivery where gateway_id = 'moves/0' order by to_rev`.execute(tx),
    );
    expect(Number(rows[0]!.from_rev)).toBe(0);
    expect(Number(rows.at(-1)!.to_rev)).toBe(end + 1);
    expect(rows.slice(1).map((move) => move.from_rev)).toEqual(rows.slice(0, -1).map((move) => move.to_rev));
  });
});
