/**
 * Brings the schema up to this program. Migrations are plain SQL files `migrations/NNNN-name.sql`; each runs in a transaction of its
 * own under an advisory lock that ends with the transaction, so any number of instances may start at once, also through a pooler.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type pg from 'pg';
import type { Log } from '../observe/log.ts';
import { databaseAddress, openClient } from './connection.ts';
import { DatabaseRefused, READ_ONLY_TODO, sqlState, translateDatabaseError } from './db.ts';

export interface MigrateOptions {
  readonly url: string;
  /** `DISABLE_SCHEMA_UPDATE`: only check; somebody else runs the migrations. */
  readonly checkOnly: boolean;
  readonly log: Log;
  /** Those of this program when left out. */
  readonly migrations?: readonly Migration[];
}

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

export interface MigrateResult {
  readonly from: number;
  readonly to: number;
}

/** The schema and this program do not fit, with a sentence for the operator. Trying again changes nothing. */
export class SchemaMismatch extends Error {
  override name = 'SchemaMismatch';
}

/** Throws `SchemaMismatch`, or `DatabaseUnavailable` while the database is away. */
export async function migrate(options: MigrateOptions): Promise<MigrateResult> {
  const migrations = options.migrations ?? shippedMigrations();
  const client = await connect(options.url);
  try {
    await refuseUnfitServer(client);
    const from = await schemaVersion(client);
    let version = from;
    for (;;) {
      const next = nextMigration(migrations, version);
      if (next === null) return { from, to: version };
      if (options.checkOnly) {
        throw new SchemaMismatch(
          `The database schema is at version ${version} and this program needs version ${migrations.at(-1)!.version}, but ` +
            'DISABLE_SCHEMA_UPDATE is set. Run `claviger migrate`, or start one instance without DISABLE_SCHEMA_UPDATE.',
        );
      }
      version = await apply(client, migrations, options.log);
    }
  } catch (error) {
    throw translateDatabaseError(error, 'run');
  } finally {
    await client.end().catch(() => undefined);
  }
}

export function shippedMigrations(): Migration[] {
  const directory = new URL('./migrations/', import.meta.url);
  return readdirSync(directory)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => {
      const [, number, name] = /^(\d{4})-(.+)\.sql$/.exec(file) ?? [];
      if (number === undefined || name === undefined) throw new Error(`${file} is not named like NNNN-name.sql`);
      return { version: Number(number), name, sql: readFileSync(new URL(file, directory), 'utf8') };
    });
}

export const SERVER_VERSION_MIN = 140_000;
/** Any number, the same in every version of this program. */
const ADVISORY_LOCK = 4_027_193_311;
/** One migration may take this long, waiting for another instance included. */
const MIGRATION_TIMEOUT_MS = 600_000;

async function connect(url: string): Promise<pg.Client> {
  const address = databaseAddress(url);
  return openClient(address, { query_timeout: MIGRATION_TIMEOUT_MS }).catch((error: unknown) => {
    throw translateDatabaseError(error, 'connect');
  });
}

async function refuseUnfitServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: string; text: string; standby: boolean; read_only: boolean }>(
    `select current_setting('server_version_num') as number, current_setting('server_version') as text,
            pg_is_in_recovery() as standby, current_setting('transaction_read_only')::boolean as read_only`,
  );
  const { number, text, standby, read_only: readOnly } = rows[0]!;
  if (Number(number) < SERVER_VERSION_MIN) {
    throw new SchemaMismatch(`This is PostgreSQL ${text}. Claviger needs PostgreSQL 14 or newer.`);
  }
  if (standby || readOnly) {
    throw new DatabaseRefused(`The database is read-only${standby ? ' (a standby)' : ''}. ${READ_ONLY_TODO}`);
  }
}

/** 0 when there is no schema yet. */
async function schemaVersion(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ known: boolean }>(
    "select to_regclass('claviger.schema_migration') is not null as known",
  );
  if (!rows[0]!.known) return 0;
  const versions = await client.query<{ version: number | null }>(
    'select max(version) as version from claviger.schema_migration',
  );
  return versions.rows[0]!.version ?? 0;
}

function nextMigration(migrations: readonly Migration[], version: number): Migration | null {
  const newest = migrations.at(-1)?.version ?? 0;
  if (version > newest) {
    throw new SchemaMismatch(
      `The database schema is at version ${version}, which is newer than this program knows (${newest}). ` +
        'Start the newer version of Claviger, or restore a database backup from before the upgrade.',
    );
  }
  return migrations.find((migration) => migration.version > version) ?? null;
}

/** Applies the next migration, whichever it is once the lock is held. Returns the version then reached. */
async function apply(client: pg.Client, migrations: readonly Migration[], log: Log): Promise<number> {
  await client.query(
    `begin; set local statement_timeout = ${MIGRATION_TIMEOUT_MS}; set local lock_timeout = ${MIGRATION_TIMEOUT_MS}`,
  );
  try {
    await client.query(`select pg_advisory_xact_lock(${ADVISORY_LOCK})`);
    await createHistory(client);
    const migration = nextMigration(migrations, await schemaVersion(client));
    let version = await schemaVersion(client);
    if (migration !== null) {
      const startedAt = performance.now();
      await client.query(migration.sql);
      await client.query('insert into claviger.schema_migration (version, name) values ($1, $2)', [
        migration.version,
        migration.name,
      ]);
      version = migration.version;
      const durationMs = Math.round(performance.now() - startedAt);
      log.info({ version, migration: migration.name, durationMs }, 'database schema updated');
    }
    await client.query('commit');
    return version;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    if (sqlState(error) === '42501') {
      throw new SchemaMismatch(
        `The database user may not create or change the schema "claviger": ${(error as Error).message}. ` +
          'Grant it CREATE on the database, or run `claviger migrate` once with a user that may.',
      );
    }
    throw error;
  }
}

async function createHistory(client: pg.Client): Promise<void> {
  // Asked first, because CREATE SCHEMA IF NOT EXISTS needs the right to create one even when it exists.
  const { rows } = await client.query<{ known: boolean }>("select to_regnamespace('claviger') is not null as known");
  if (!rows[0]!.known) await client.query('create schema claviger');
  await client.query(
    `create table if not exists claviger.schema_migration (
       version integer primary key,
       name text not null,
       applied_at timestamptz not null default now()
     )`,
  );
}
