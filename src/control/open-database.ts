import { randomBytes, randomUUID } from 'node:crypto';
import type { Position } from '../domain/change.ts';
import type { Log } from '../observe/log.ts';
import type { Database } from '../storage/db.ts';
import { migrate } from '../storage/migrate.ts';
import { ensureInstallation } from '../storage/repositories/installation.ts';
import { seal, unseal } from '../util/sealed-value.ts';

export interface OpenedDatabase {
  readonly position: Position;
  readonly fleetKey: Buffer;
}

export interface OpenDatabaseOptions {
  readonly db: Database;
  /** For migrations: straight to PostgreSQL when there is such a URL. */
  readonly migrationUrl: string;
  readonly disableSchemaUpdate: boolean;
  readonly sealingKey: string;
  readonly log: Log;
}

export const FLEET_KEY_BYTES = 32;
const FLEET_KEY_CONTEXT = 'installation/fleet_key';

/**
 * Brings the schema up to date and reads who this installation is; makes it when the database is new. Throws `DatabaseUnavailable` while
 * the database is away; `SchemaMismatch` and `SealedValueError` are for the operator.
 */
export async function openDatabase(options: OpenDatabaseOptions): Promise<OpenedDatabase> {
  const { db, migrationUrl, disableSchemaUpdate, sealingKey, log } = options;
  await migrate({ url: migrationUrl, checkOnly: disableSchemaUpdate, log });
  const { position, fleetKeySealed } = await ensureInstallation(db, {
    installationId: randomUUID(),
    fleetKeySealed: seal(randomBytes(FLEET_KEY_BYTES).toString('base64'), sealingKey, FLEET_KEY_CONTEXT),
  });
  return { position, fleetKey: Buffer.from(unseal(fleetKeySealed, sealingKey, FLEET_KEY_CONTEXT), 'base64') };
}
