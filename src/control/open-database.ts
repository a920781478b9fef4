import { type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import type { Position } from '../domain/change.ts';
import type { Log } from '../observe/log.ts';
import type { Database } from '../storage/db.ts';
import { migrate } from '../storage/migrate.ts';
import { askIn, litellmSentence, litellmTables } from '../storage/queries/litellm-tables.ts';
import { ensureInstallation, ensureSigningPair } from '../storage/repositories/installation.ts';
import { makeSigningPair, readPrivateKey } from '../util/ed25519.ts';
import { seal, unseal } from '../util/sealed-value.ts';

export interface OpenedDatabase {
  readonly position: Position;
  readonly fleetKey: Buffer;
  /** What the installation signs with. */
  readonly signingKey: KeyObject;
  /** SPKI in base64. */
  readonly signingPublicKey: string;
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
const SIGNING_KEY_CONTEXT = 'installation/signing_key';

/**
 * Brings the schema up to date and reads who this installation is; makes it when the database is new. Throws `DatabaseUnavailable` while
 * the database is away; `SchemaMismatch` and `SealedValueError` are for the operator.
 */
export async function openDatabase(options: OpenDatabaseOptions): Promise<OpenedDatabase> {
  const { db, migrationUrl, disableSchemaUpdate, sealingKey, log } = options;
  await migrate({ url: migrationUrl, checkOnly: disableSchemaUpdate, log });
  await lookForLitellm(db, log);
  const { position, fleetKeySealed } = await ensureInstallation(db, {
    installationId: randomUUID(),
    fleetKeySealed: seal(randomBytes(FLEET_KEY_BYTES).toString('base64'), sealingKey, FLEET_KEY_CONTEXT),
  });
  const fleetKey = Buffer.from(unseal(fleetKeySealed, sealingKey, FLEET_KEY_CONTEXT), 'base64');
  const pair = makeSigningPair();
  const signing = await ensureSigningPair(db, {
    publicKey: pair.publicKey,
    privateKeySealed: seal(pair.privateKey, sealingKey, SIGNING_KEY_CONTEXT),
  });
  return {
    position,
    fleetKey,
    signingKey: readPrivateKey(unseal(signing.privateKeySealed, sealingKey, SIGNING_KEY_CONTEXT)),
    signingPublicKey: signing.publicKey,
  };
}

/** A courtesy to the operator: whatever goes wrong with it stops nothing. */
async function lookForLitellm(db: Database, log: Log): Promise<void> {
  const found = await db.read((tx) => litellmTables(askIn(tx))).catch(() => null);
  if (found !== null) log.info({}, litellmSentence(found));
}
