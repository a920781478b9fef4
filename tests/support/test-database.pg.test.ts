import pg from 'pg';
import { expect, test } from 'vitest';
import { createTestDatabase } from './test-database.ts';

async function query(connectionString: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

test('each test database is empty and its own, on the PostgreSQL version that was asked for', async () => {
  const [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  await query(one.url, 'CREATE TABLE t (id int)');
  expect(await query(one.directUrl, 'SELECT count(*)::int AS n FROM t')).toEqual([{ n: 0 }]);
  expect(await query(other.url, "SELECT to_regclass('t') AS t")).toEqual([{ t: null }]);
  const [{ server_version: version } = {}] = await query(one.url, 'SHOW server_version');
  expect(String(version).split('.')[0]).toBe(process.env.CLAVIGER_TEST_PG_MAJOR || '18');
  await Promise.all([one.drop(), other.drop()]);
  await expect(query(one.directUrl, 'SELECT 1')).rejects.toThrow(/does not exist/);
});

test('the url goes through a transaction pool exactly when PgBouncer was asked for', async () => {
  const database = await createTestDatabase();
  const pids = new Set<unknown>();
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query("SET search_path = 'elsewhere'");
  for (const row of (await client.query('SELECT pg_backend_pid() AS pid')).rows) pids.add(row.pid);
  await client.end();
  const [row] = await query(database.url, 'SELECT pg_backend_pid() AS pid');
  // A pool gives the next client the same backend; a direct connection is always a new one.
  expect(pids.has(row?.pid)).toBe(Boolean(process.env.CLAVIGER_TEST_PGBOUNCER));
  await database.drop();
});
