import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../tests/support/silent-log.ts';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { QUERY_TIMEOUT_MS } from './connection.ts';
import { type Database, DatabaseBusy, DatabaseUnavailable } from './db.ts';
import { BEGIN_TIMEOUT_MS, createDatabase, LOCK_TIMEOUT_MS } from './pool.ts';

let database: TestDatabase;
let db: Database;

beforeEach(async () => {
  database = await createTestDatabase();
  db = createDatabase({ url: database.url, connectionsMax: 4, log: silentLog });
  await db.write((tx) => sql`create table t (id int primary key, n bigint not null, d date)`.execute(tx));
});
afterEach(async () => {
  await db.close();
  await database.drop();
});

describe('the database port', () => {
  it('undoes everything when the work throws', async () => {
    const attempt = db.write(async (tx) => {
      await sql`insert into t values (1, 1, null)`.execute(tx);
      throw new Error('second thoughts');
    });
    await expect(attempt).rejects.toThrow('second thoughts');
    const { rows } = await db.read((tx) => sql`select * from t`.execute(tx));
    expect(rows).toEqual([]);
  });

  it('does not report success for a transaction in which a statement failed silently', async () => {
    const attempt = db.write(async (tx) => {
      await sql`insert into t values (1, 1, null)`.execute(tx);
      await sql`select 1/0`.execute(tx).catch(() => undefined);
    });
    await expect(attempt).rejects.toThrow(/failed statement/);
  });

  it('reads bigint exactly and dates without a time zone', async () => {
    const { rows } = await db.read((tx) =>
      sql`select 9007199254740993::bigint as n, date '2026-03-29' as d`.execute(tx),
    );
    expect(rows).toEqual([{ n: 9007199254740993n, d: '2026-03-29' }]);
  });

  it('refuses to write in a read', async () => {
    await expect(db.read((tx) => sql`insert into t values (1, 1, null)`.execute(tx))).rejects.toThrow();
  });

  it('sees one moment in a snapshot', async () => {
    await db.snapshot(async (tx) => {
      const before = await sql<{ c: bigint }>`select count(*) as c from t`.execute(tx);
      await db.write((other) => sql`insert into t values (1, 1, null)`.execute(other));
      const after = await sql<{ c: bigint }>`select count(*) as c from t`.execute(tx);
      expect(after.rows).toEqual(before.rows);
    });
  });

  it('never gives its last connection to a snapshot: who reads slowly keeps nobody else out', async () => {
    const small = createDatabase({ url: database.url, connectionsMax: 2, log: silentLog });
    let release: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => {
      release = resolve;
    });
    const order: string[] = [];
    const snapshots = ['first', 'second'].map((name) =>
      small.snapshot(async (tx) => {
        await sql`select 1`.execute(tx);
        order.push(name);
        await slow;
      }),
    );
    try {
      await expect.poll(() => order).toEqual(['first']);
      const { rows } = await small.read((tx) => sql`select 1 as one`.execute(tx));
      expect([rows, order]).toEqual([[{ one: 1 }], ['first']]);
    } finally {
      release();
      await Promise.all(snapshots);
      await small.close();
    }
    expect(order).toEqual(['first', 'second']);
  });

  it('gives up on a locked row after the lock time-out and says so', async () => {
    await db.write((tx) => sql`insert into t values (1, 1, null)`.execute(tx));
    await db.write(async (tx) => {
      await sql`update t set n = 2`.execute(tx);
      const startedAt = performance.now();
      await expect(db.write((other) => sql`update t set n = 3`.execute(other))).rejects.toBeInstanceOf(DatabaseBusy);
      expect(performance.now() - startedAt).toBeGreaterThan(LOCK_TIMEOUT_MS - 100);
    });
  });

  it('reports a connection that dies under a statement as the database being away, and goes on with a new one', async () => {
    const attempt = db.write(async (tx) => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
      await db.read((other) => sql`select pg_terminate_backend(${rows[0]!.pid})`.execute(other));
      await sql`select 1`.execute(tx);
    });
    await expect(attempt).rejects.toBeInstanceOf(DatabaseUnavailable);
    const { rows } = await db.read((tx) => sql`select 1 as one`.execute(tx));
    expect(rows).toEqual([{ one: 1 }]);
  });

  it('reports a server that does not listen as the database being away', async () => {
    const away = createDatabase({
      url: 'postgres://x@127.0.0.1:1/none?sslmode=disable',
      connectionsMax: 1,
      log: silentLog,
    });
    await expect(away.read((tx) => sql`select 1`.execute(tx))).rejects.toBeInstanceOf(DatabaseUnavailable);
    await away.close();
  });

  it('reports a server that hangs as the database being away, once it has left `begin` unanswered', async () => {
    const single = createDatabase({ url: database.directUrl, connectionsMax: 1, log: silentLog });
    const { rows } = await single.read((tx) => sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx));
    const { pid } = rows[0]!;
    process.kill(pid, 'SIGSTOP');
    try {
      const startedAt = performance.now();
      await expect(single.read((tx) => sql`select 1`.execute(tx))).rejects.toBeInstanceOf(DatabaseUnavailable);
      const tookMs = performance.now() - startedAt;
      expect(tookMs).toBeGreaterThan(BEGIN_TIMEOUT_MS - 100);
      expect(tookMs).toBeLessThan(QUERY_TIMEOUT_MS);
      // The connection that hangs is given up; the next transaction gets another one.
      const answer = await single.read((tx) => sql`select 1 as one`.execute(tx));
      expect(answer.rows).toEqual([{ one: 1 }]);
    } finally {
      process.kill(pid, 'SIGCONT');
      await single.close();
    }
  });

  it('leaves no setting behind on the connection', async () => {
    await db.write((tx) => sql`select 1`.execute(tx));
    const settings = await db.read(async (tx) => {
      await sql`commit`.execute(tx);
      const { rows } = await sql<{ timeout: string }>`select current_setting('lock_timeout') as timeout`.execute(tx);
      await sql`begin`.execute(tx);
      return rows;
    });
    expect(settings).toEqual([{ timeout: '0' }]);
  });
});
