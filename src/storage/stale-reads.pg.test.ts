import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type PostgresCluster, startPostgresCluster } from '../../tests/support/postgres-cluster.ts';
import { silentLog } from '../../tests/support/silent-log.ts';
import type { Position } from '../domain/change.ts';
import type { Database } from './db.ts';
import { migrate } from './migrate.ts';
import { createDatabase } from './pool.ts';
import { ensureInstallation } from './repositories/installation.ts';
import { createStaleReads, REPLICA_LAG_MAX_MS, REPLICA_RETRY_MS, type StaleReads } from './stale-reads.ts';

let primaryCluster: PostgresCluster;
let standbyCluster: PostgresCluster;
let primary: Database;
let replica: Database | null = null;
let reads: StaleReads;
let position: Position;
let nowMs = 0;

beforeAll(async () => {
  primaryCluster = await startPostgresCluster();
  const url = primaryCluster.directUrl('postgres');
  await migrate({ url, checkOnly: false, log: silentLog });
  primary = createDatabase({ url, connectionsMax: 3, log: silentLog });
  ({ position } = await ensureInstallation(primary, {
    installationId: '5e0a1f2c-0000-4000-8000-000000000001',
    fleetKeySealed: 'sealed',
  } as Parameters<typeof ensureInstallation>[1]));
  standbyCluster = await startPostgresCluster({ standbyOf: primaryCluster });
}, 60_000);
afterAll(async () => {
  await primary?.close();
  await standbyCluster?.stop();
  await primaryCluster?.stop();
});
afterEach(async () => {
  if (replica !== null) await onStandby('select pg_wal_replay_resume()');
  replica = null;
  await reads.close();
});

/** Resolves when the replica follows. */
async function open(): Promise<void> {
  replica = createDatabase({
    url: standbyCluster.directUrl('postgres'),
    connectionsMax: 2,
    log: silentLog,
    connectTimeoutMs: 1_000,
  });
  reads = createStaleReads({
    primary,
    replica,
    position: () => position,
    clock: { monotonicMs: () => nowMs },
    log: silentLog,
  });
  await expect
    .poll(
      () => {
        nowMs += REPLICA_RETRY_MS + 1;
        return answersFrom();
      },
      { timeout: 10_000 },
    )
    .toBe('replica');
}

/** Who answers: only a standby is in recovery. */
async function answersFrom(minRev?: number): Promise<'replica' | 'primary'> {
  const { rows } = await reads.read(
    (tx) => sql<{ standby: boolean }>`select pg_is_in_recovery() as standby`.execute(tx),
    minRev,
  );
  return rows[0]!.standby ? 'replica' : 'primary';
}

const onStandby = (statement: string) => replica!.read((tx) => sql.raw(statement).execute(tx));
/** Right after it has replayed something, so that it is not far behind yet. */
async function pauseReplay(): Promise<void> {
  const rev = await bumpRevision();
  await expect.poll(() => answersFrom(rev), { timeout: 10_000 }).toBe('replica');
  await onStandby('select pg_wal_replay_pause()');
}
const bumpRevision = async (): Promise<number> => {
  const { rows } = await primary.write((tx) =>
    sql<{ rev: bigint }>`update claviger.installation set rev = rev + 1 returning rev`.execute(tx),
  );
  return Number(rows[0]!.rev);
};

describe('reads that may be stale', () => {
  it('go to the replica, and to the primary for what the replica has not reached', async () => {
    await open();
    await pauseReplay();
    const rev = await bumpRevision();
    expect(await answersFrom(rev)).toBe('primary');
    expect(await answersFrom()).toBe('replica');
    await onStandby('select pg_wal_replay_resume()');
    await expect.poll(() => answersFrom(rev)).toBe('replica');
  });

  it('go to the primary while the replica is further behind than the bound, and come back', async () => {
    await open();
    await pauseReplay();
    await bumpRevision();
    expect(await answersFrom()).toBe('replica');
    await expect.poll(() => answersFrom(), { timeout: REPLICA_LAG_MAX_MS * 3, interval: 250 }).toBe('primary');
    await onStandby('select pg_wal_replay_resume()');
    await expect.poll(() => answersFrom(), { timeout: 10_000 }).toBe('replica');
  });

  it('go to the primary when the replica holds another history', async () => {
    await open();
    const before = position;
    position = { ...position, epoch: position.epoch + 1 };
    expect(await answersFrom()).toBe('primary');
    position = before;
  });

  it('go to the primary while the replica is away, and an error of the read itself is nobody’s but its own', async () => {
    await open();
    await expect(reads.read((tx) => sql`select 1/0`.execute(tx))).rejects.toThrow('division by zero');
    await standbyCluster.halt();
    expect(await answersFrom()).toBe('primary');
    const startedAt = performance.now();
    expect(await answersFrom()).toBe('primary');
    expect(performance.now() - startedAt).toBeLessThan(900);
    await standbyCluster.resume();
    await expect
      .poll(
        () => {
          nowMs += REPLICA_RETRY_MS + 1;
          return answersFrom();
        },
        { timeout: 10_000 },
      )
      .toBe('replica');
  });

  it('all go to the primary when there is no replica', async () => {
    reads = createStaleReads({
      primary,
      replica: null,
      position: () => position,
      clock: { monotonicMs: () => nowMs },
      log: silentLog,
    });
    expect(await answersFrom()).toBe('primary');
  });
});
