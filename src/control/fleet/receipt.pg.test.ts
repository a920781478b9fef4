import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FleetProbe } from '../../../tests/support/fleet-probe.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';

let database: TestDatabase;
let admin: TestControlPlane;
let worker: TestControlPlane;
let probes: FleetProbe[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  admin = await startControlPlane({ database, instanceId: 'admin', settings: { region: 'eu' } });
  worker = await startControlPlane({ database, instanceId: 'worker' });
});
afterEach(async () => {
  for (const probe of probes) probe.close();
  await worker.db.write((tx) => sql`delete from claviger.gateway`.execute(tx));
  probes = [];
});
afterAll(async () => {
  await Promise.all([admin.stop(), worker.stop()]);
  await database.drop();
});

type Options = Partial<ConstructorParameters<typeof FleetProbe>[0]>;

/** Connected to the worker, unless told otherwise, and known to the fleet. */
async function probe(gatewayId: string, options: Options = {}): Promise<FleetProbe> {
  const made = new FleetProbe({ socketPath: worker.feedSocket, region: 'us', ...options, gatewayId });
  probes.push(made);
  await made.arrive();
  await made.acknowledge();
  await expect.poll(async () => (await row(gatewayId)) !== undefined).toBe(true);
  return made;
}

async function row(id: string): Promise<{ rev: bigint } | undefined> {
  const { rows } = await admin.db.read((tx) =>
    sql<{ rev: bigint }>`select rev from claviger.gateway where gateway_id = ${id}`.execute(tx),
  );
  return rows[0];
}

async function makeKey(body: object = {}): Promise<string> {
  return (await admin.call('POST', '/key/generate', { body })).json.token;
}

const block = (key: string, query: string) => admin.call('POST', `/key/block?${query}`, { body: { key } });
const names = (places: { gateway: string }[]) => places.map(({ gateway }) => gateway).sort();
const secondsFromNow = (iso: string) => (Date.parse(iso) - Date.now()) / 1_000;

describe('the receipt of a write', () => {
  it('waits for the gateway processes of all instances and names them', async () => {
    await probe('w/0');
    await probe('w/1');
    await probe('a/0', { socketPath: admin.feedSocket, region: 'eu' });
    const key = await makeKey();
    const { status, json, headers } = await block(key, 'wait=all&timeout=10s');
    expect(status).toBe(200);
    expect(json.blocked).toBe(true);
    expect(json.receipt.rev).toBe(Number(headers.get('x-claviger-rev')));
    expect(names(json.receipt.applied)).toEqual(['a/0', 'w/0', 'w/1']);
    expect(json.receipt.pending).toEqual([]);
    for (const { applied_at, worker } of json.receipt.applied) {
      expect(Math.abs(secondsFromNow(applied_at))).toBeLessThan(10);
      expect(worker).toMatch(/^[aw]$/);
    }
  });

  it('answers when the time is up, and says of the others when they become safe anyway', async () => {
    await probe('w/0');
    await probe('deaf/0', { acknowledge: false });
    const key = await makeKey();
    const strict = await makeKey({ fence: 'strict' });
    const { json } = await block(key, 'wait=all&timeout=300ms');
    expect(names(json.receipt.applied)).toEqual(['w/0']);
    expect(json.receipt.pending).toMatchObject([{ gateway: 'deaf/0', region: 'us', reason: 'not confirmed yet' }]);
    expect(secondsFromNow(json.receipt.pending[0].safe_at) / 3_600).toBeCloseTo(24, 1);
    const second = await block(strict, 'wait=all&timeout=300ms');
    const safeIn = secondsFromNow(second.json.receipt.pending[0].safe_at);
    expect(safeIn).toBeGreaterThan(50);
    expect(safeIn).toBeLessThanOrEqual(60);
  });

  it('goes by the class that a key had before, since that is what the others decide by', async () => {
    await probe('deaf/0', { acknowledge: false });
    const key = await makeKey({ fence: 'normal' });
    const { json } = await admin.call('POST', '/key/update?wait=all&timeout=100ms', { body: { key, fence: 'strict' } });
    expect(secondsFromNow(json.receipt.pending[0].safe_at)).toBeGreaterThan(3_600);
  });

  it('waits for nobody who is lost or left, and lists only the lost', async () => {
    await probe('w/0');
    const lost = await probe('lost/0');
    const left = await probe('left/0');
    lost.close();
    await left.say({ draining: true });
    left.close();
    const reasonOf = (id: string) =>
      admin.db
        .read((tx) =>
          sql<{
            left_reason: string | null;
          }>`select left_reason from claviger.gateway where gateway_id = ${id}`.execute(tx),
        )
        .then(({ rows }) => rows[0]?.left_reason);
    await expect
      .poll(() => Promise.all([reasonOf('lost/0'), reasonOf('left/0')]))
      .toEqual(['connection lost', 'drained']);
    const key = await makeKey();
    const began = performance.now();
    const { json } = await block(key, 'wait=all&timeout=10s');
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(names(json.receipt.applied)).toEqual(['w/0']);
    expect(json.receipt.pending).toMatchObject([{ gateway: 'lost/0', reason: 'connection lost' }]);
  });

  it('becomes safe no later than a fence after it was last heard of', async () => {
    const lost = await probe('lost/0');
    lost.close();
    await worker.db.write((tx) =>
      sql`update claviger.gateway set heard_at = now() - interval '20 hours', left_reason = 'connection lost'`.execute(
        tx,
      ),
    );
    const { json } = await block(await makeKey(), 'wait=all&timeout=100ms');
    expect(secondsFromNow(json.receipt.pending[0].safe_at) / 3_600).toBeCloseTo(4, 1);
    expect(json.receipt.pending[0].reason).toMatch(/^lost: not heard of for 7\d{4} s$/);
  });

  it('of the region waits for that region only', async () => {
    await probe('deaf/0', { acknowledge: false });
    await probe('near/0', { region: 'eu' });
    const { json } = await block(await makeKey(), 'wait=region&timeout=10s');
    expect(names(json.receipt.applied)).toEqual(['near/0']);
    expect(json.receipt.pending).toEqual([]);
  });

  it('is there for every write that answers an object, and never without being asked for', async () => {
    await probe('w/0');
    const made = await admin.call('POST', '/key/generate?wait=all', { body: {} });
    const removed = await admin.call('POST', '/key/delete?wait=all', { body: { keys: [made.json.key] } });
    for (const { json } of [made, removed]) expect(names(json.receipt.applied)).toEqual(['w/0']);
    for (const query of ['', '?wait=none', '?timeout=5s']) {
      expect((await admin.call('POST', `/key/generate${query}`, { body: {} })).json.receipt).toBeUndefined();
    }
  });

  it.each(['wait=some', 'wait=all&timeout=soon', 'wait=all&timeout=-1s', 'wait=all&timeout=1h'])(
    'refuses %s before anything is changed',
    async (query) => {
      const before = (await admin.call('GET', '/fleet/changes?limit=1')).json.changes[0]?.rev;
      const { status, json } = await admin.call('POST', `/key/generate?${query}`, { body: {} });
      expect([status, json.error.type]).toEqual([400, 'bad_request_error']);
      expect((await admin.call('GET', '/fleet/changes?limit=1')).json.changes[0]?.rev).toBe(before);
    },
  );

  it('is given to all who wait as soon as the last gateway process has applied their changes', async () => {
    const slow = await probe('slow/0', { acknowledge: false });
    const keys = await Promise.all(Array.from({ length: 8 }, () => makeKey()));
    let answered = 0;
    const waiting = keys.map(async (key) => {
      const answer = await block(key, 'wait=all&timeout=10s');
      answered++;
      return answer;
    });
    const head = async () => (await admin.call('GET', '/fleet/workers')).json.head.rev;
    await expect.poll(head).toBe(16 + (await headBefore(keys)));
    expect(answered).toBe(0);
    // One delta is under way at a time, so it comes in several.
    await expect
      .poll(async () => {
        await slow.acknowledge();
        return slow.position!.rev;
      })
      .toBe(await head());
    await slow.acknowledge();
    for (const { json } of await Promise.all(waiting)) expect(names(json.receipt.applied)).toEqual(['slow/0']);
  });
});

/** Revision before the first of the keys was made. */
async function headBefore(keys: readonly string[]): Promise<number> {
  const { rows } = await admin.db.read((tx) =>
    sql<{ rev: bigint }>`select min(rev) - 1 as rev from claviger.change_log where object_id = any (${keys})`.execute(
      tx,
    ),
  );
  return Number(rows[0]!.rev);
}
