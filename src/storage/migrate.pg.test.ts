import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../tests/support/silent-log.ts';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { DatabaseUnavailable } from './db.ts';
import { migrate, SchemaMismatch, shippedMigrations } from './migrate.ts';

let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

async function query<T extends pg.QueryResultRow>(text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: database.directUrl });
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}

const newest = shippedMigrations().at(-1)!.version;

describe('migrate', () => {
  it('applies each migration once when four instances start at once', async () => {
    const starts = Array.from({ length: 4 }, () => migrate({ url: database.url, checkOnly: false, log: silentLog }));
    for (const result of await Promise.all(starts)) expect(result.to).toBe(newest);
    expect(await query('select version from claviger.schema_migration order by version')).toEqual(
      shippedMigrations().map(({ version }) => ({ version })),
    );
  });

  it('changes nothing the second time', async () => {
    await migrate({ url: database.url, checkOnly: false, log: silentLog });
    expect(await migrate({ url: database.url, checkOnly: true, log: silentLog })).toEqual({ from: newest, to: newest });
  });

  it('refuses a schema that is newer than the program', async () => {
    await migrate({ url: database.url, checkOnly: false, log: silentLog });
    await query("insert into claviger.schema_migration (version, name) values (9999, 'from-the-future')");
    await expect(migrate({ url: database.url, checkOnly: false, log: silentLog })).rejects.toThrow(
      /version 9999, which is newer than this program knows/,
    );
  });

  it('only checks when schema updates are disabled', async () => {
    const attempt = migrate({ url: database.url, checkOnly: true, log: silentLog });
    await expect(attempt).rejects.toBeInstanceOf(SchemaMismatch);
    await expect(attempt).rejects.toThrow(/DISABLE_SCHEMA_UPDATE is set/);
    expect(await query("select to_regnamespace('claviger') is null as absent")).toEqual([{ absent: true }]);
  });

  it('leaves nothing behind when a migration fails', async () => {
    const broken = [{ version: 1, name: 'broken', sql: 'create table claviger.half (id int); select 1/0' }];
    await expect(migrate({ url: database.url, checkOnly: false, log: silentLog, migrations: broken })).rejects.toThrow(
      /division by zero/,
    );
    expect(await query("select to_regclass('claviger.half') is null as absent")).toEqual([{ absent: true }]);
  });

  it('lives beside the tables of LiteLLM and does not touch them', async () => {
    await query(`create table "LiteLLM_VerificationToken" (token text primary key, spend double precision);
                 insert into "LiteLLM_VerificationToken" values ('abc', 1.5)`);
    await migrate({ url: database.url, checkOnly: false, log: silentLog });
    expect(await query('select * from "LiteLLM_VerificationToken"')).toEqual([{ token: 'abc', spend: 1.5 }]);
    expect(await query("select tablename from pg_tables where schemaname = 'public'")).toEqual([
      { tablename: 'LiteLLM_VerificationToken' },
    ]);
  });

  it('says that the database is away when nothing listens', async () => {
    await expect(
      migrate({ url: 'postgres://nobody@127.0.0.1:1/none?sslmode=disable', checkOnly: false, log: silentLog }),
    ).rejects.toBeInstanceOf(DatabaseUnavailable);
  });
});
