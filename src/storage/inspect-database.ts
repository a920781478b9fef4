import { databaseAddress, openClient } from './connection.ts';
import { translateDatabaseError } from './db.ts';
import { SERVER_VERSION_MIN, shippedMigrations } from './migrate.ts';
import { type LitellmTables, litellmTables } from './queries/litellm-tables.ts';

/** What a look at a database tells, without changing anything. */
export interface DatabaseFacts {
  /** Host, port and name; never user or password. */
  readonly description: string;
  /** For example `17.2`. */
  readonly serverVersion: string;
  readonly serverTooOld: boolean;
  /** 0: no schema yet. */
  readonly schemaVersion: number;
  readonly neededSchemaVersion: number;
  /** How far this machine's clock is ahead of the database's; half a round trip uncertain. */
  readonly clockAheadMs: number;
  readonly roundTripMs: number;
  /** A standby, or a server in a read-only mode. */
  readonly readOnly: boolean;
  /** LiteLLM's tables in the same database; null: none. */
  readonly litellm: LitellmTables | null;
}

/** Throws `DatabaseUnavailable` when it can not be reached. */
export async function inspectDatabase(url: string, nowMs: () => number): Promise<DatabaseFacts> {
  const address = databaseAddress(url);
  const client = await openClient(address).catch((error: unknown) => {
    throw translateDatabaseError(error, 'connect');
  });
  try {
    const { rows: settings } = await client.query<{ number: string; text: string; known: boolean; read_only: boolean }>(
      `select current_setting('server_version_num') as number, current_setting('server_version') as text,
              to_regclass('claviger.schema_migration') is not null as known,
              pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only`,
    );
    const { number, text, known, read_only: readOnly } = settings[0]!;
    const askedAt = nowMs();
    const { rows: clocks } = await client.query<{ now: number }>(
      'select extract(epoch from clock_timestamp())::float8 * 1000 as now',
    );
    const answeredAt = nowMs();
    const versions = known
      ? await client.query<{ version: number | null }>('select max(version) as version from claviger.schema_migration')
      : null;
    return {
      description: address.description,
      serverVersion: text,
      serverTooOld: Number(number) < SERVER_VERSION_MIN,
      schemaVersion: versions?.rows[0]?.version ?? 0,
      neededSchemaVersion: shippedMigrations().at(-1)?.version ?? 0,
      clockAheadMs: Math.round((askedAt + answeredAt) / 2 - clocks[0]!.now),
      roundTripMs: answeredAt - askedAt,
      readOnly,
      litellm: await litellmTables(async (statement) => (await client.query(statement)).rows),
    };
  } catch (error) {
    throw translateDatabaseError(error, 'run');
  } finally {
    await client.end().catch(() => undefined);
  }
}
