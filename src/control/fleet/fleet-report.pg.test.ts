import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { statsOf } from '../../../tests/support/fleet-probe.ts';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import type { Position } from '../../domain/change.ts';
import { type Database, DatabaseUnavailable } from '../../storage/db.ts';
import { cleanUpFleet } from '../../storage/repositories/fleet.ts';
import { FleetReporter } from './fleet-report.ts';
import { Registry, type RegistryEntry } from './registry.ts';

let control: TestControlPlane;
let registry: Registry;
let reporter: FleetReporter;
/** Statements of transactions that write, since the test began. */
let writes: number;
let away: boolean;
/** Writes that failed since the test began. */
let failures: number;
/** Time that has passed without anybody waiting for it. */
let aheadMs = 0;
const entries = new Map<string, RegistryEntry>();
const head: Position = { installation: 'here', epoch: 1, rev: 0 };
const nowhere = { supersede() {}, replace() {} };

beforeAll(async () => {
  control = await startControlPlane();
});
afterAll(() => control.stop());

beforeEach(async () => {
  await control.db.write((tx) => sql`truncate claviger.gateway, claviger.change_delivery`.execute(tx));
  writes = 0;
  away = false;
  failures = 0;
  entries.clear();
  registry = new Registry({ monotonicMs: () => performance.now() + aheadMs });
  const db: Database = {
    ...control.db,
    write: (run) => {
      if (away) {
        failures++;
        return Promise.reject(new DatabaseUnavailable('away'));
      }
      writes++;
      return control.db.write(run);
    },
  };
  aheadMs = 0;
  const clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() + aheadMs };
  reporter = new FleetReporter({
    db,
    registry,
    tail: { position: head },
    instanceId: 'i',
    clock,
    random: () => 1,
    log: silentLog,
  });
  reporter.start();
});
afterEach(() => reporter.stop());

function connect(gatewayId: string, session = 's'): void {
  const hello = { protocol: 2, gatewayId, session, region: 'eu', role: 'worker', version: '1', have: null } as const;
  entries.set(gatewayId, registry.claim(hello, nowhere)!);
}

function acknowledge(gatewayId: string, rev: number): void {
  registry.acknowledge({ gatewayId, session: 's', epoch: 1, rev });
}

function ping(gatewayId: string, stats: Parameters<typeof statsOf>[0] = {}): void {
  registry.heard({ gatewayId, session: 's', sentAtMs: 0, epoch: 1, rev: 1, fresh: false, stats: statsOf(stats) });
}

async function rowsAt(rev: number): Promise<number> {
  const { rows } = await control.db.read((tx) =>
    sql<{ count: number }>`select count(*)::integer as count from claviger.gateway where rev = ${rev}`.execute(tx),
  );
  return rows[0]!.count;
}

describe('what a control process writes of its gateway processes', () => {
  it('is few statements for a thousand of them that apply a change', async () => {
    const ids = Array.from({ length: 1_000 }, (_, index) => `w${index}/0`);
    for (const id of ids) {
      connect(id);
      ping(id);
      acknowledge(id, 1);
    }
    await expect.poll(() => rowsAt(1)).toBe(1_000);
    writes = 0;
    for (const id of ids) acknowledge(id, 2);
    await expect.poll(() => rowsAt(2), { interval: 5, timeout: 10_000 }).toBe(1_000);
    expect(writes).toBeLessThanOrEqual(3);
  });

  it('is nothing while nothing moves', async () => {
    connect('w/0');
    ping('w/0');
    acknowledge('w/0', 1);
    await expect.poll(() => rowsAt(1)).toBe(1);
    writes = 0;
    for (let n = 0; n < 50; n++) {
      ping('w/0');
      acknowledge('w/0', 1);
    }
    connect('x/0');
    ping('x/0');
    acknowledge('x/0', 1);
    await expect.poll(() => rowsAt(1)).toBe(2);
    expect(writes).toBe(1);
  });

  it('is caught up on when the database was away, as one move', async () => {
    connect('w/0');
    acknowledge('w/0', 1);
    await expect.poll(() => rowsAt(1)).toBe(1);
    away = true;
    for (let rev = 2; rev <= 9; rev++) acknowledge('w/0', rev);
    connect('gone/0');
    acknowledge('gone/0', 9);
    registry.release(entries.get('w/0')!);
    connect('w/0');
    acknowledge('w/0', 10);
    await expect.poll(() => failures).toBeGreaterThan(0);
    away = false;
    await expect.poll(() => rowsAt(10), { timeout: 5_000 }).toBe(1);
    const { rows } = await control.db.read((tx) =>
      sql<{ from_rev: bigint; to_rev: bigint }>`
        select from_rev, to_rev from claviger.change_delivery where gateway_id = 'w/0' order by to_rev`.execute(tx),
    );
    expect(rows.map((row) => [Number(row.from_rev), Number(row.to_rev)])).toEqual([
      [0, 1],
      [1, 10],
    ]);
  });

  it('says once of whom nothing is heard though its connection is there, and that it is heard of again', async () => {
    const left = async () => {
      const { rows } = await control.db.read((tx) =>
        sql<{ id: string; reason: string | null }>`
          select gateway_id as id, left_reason as reason from claviger.gateway order by 1`.execute(tx),
      );
      return rows.map(({ id, reason }) => `${id}: ${reason}`);
    };
    for (const id of ['stopped/0', 'well/0']) {
      connect(id);
      ping(id);
      acknowledge(id, 1);
    }
    await expect.poll(() => rowsAt(1)).toBe(2);
    aheadMs = 3_001;
    ping('well/0');
    reporter.lookForSilent();
    await expect.poll(left).toEqual(['stopped/0: not heard of', 'well/0: null']);
    writes = 0;
    for (let second = 0; second < 5; second++) reporter.lookForSilent();
    ping('stopped/0');
    reporter.lookForSilent();
    await expect.poll(left).toEqual(['stopped/0: null', 'well/0: null']);
    expect(writes).toBe(1);
  });

  it('has goodbyes of those that leave last', async () => {
    connect('w/0');
    ping('w/0', { draining: true });
    acknowledge('w/0', 1);
    await expect.poll(() => rowsAt(1)).toBe(1);
    registry.release(entries.get('w/0')!);
    await reporter.stop();
    const { rows } = await control.db.read((tx) =>
      sql<{ left_reason: string }>`select left_reason from claviger.gateway`.execute(tx),
    );
    expect(rows).toEqual([{ left_reason: 'drained' }]);
  });
});

describe('the clean-up', () => {
  it('deletes what is old, a bounded part at a time, and one control process at a time', async () => {
    await control.db.write((tx) =>
      sql`insert into claviger.change_delivery (gateway_id, epoch, to_rev, from_rev, applied_at)
          select 'w/0', 1, n, n - 1, now() - interval '8 days' from generate_series(1, 6000) n
          union all select 'w/0', 1, 9000, 8999, now()`.execute(tx),
    );
    await control.db.write(async (tx) => {
      expect(await cleanUpFleet(tx)).toBe(5_000);
      // Another one that comes meanwhile leaves it alone.
      expect(await control.db.write(cleanUpFleet)).toBeNull();
    });
    expect(await control.db.write(cleanUpFleet)).toBe(1_000);
    const { rows } = await control.db.read((tx) =>
      sql<{ to_rev: bigint }>`select to_rev from claviger.change_delivery`.execute(tx),
    );
    expect(rows).toEqual([{ to_rev: 9000n }]);
  });
});
