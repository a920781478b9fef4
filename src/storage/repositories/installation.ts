import { sql } from 'kysely';
import type { Position } from '../../domain/change.ts';
import type { Database, Tx } from '../db.ts';

export interface Installation {
  readonly position: Position;
  readonly fleetKeySealed: string;
}

/**
 * Reads the single row, and makes it when the database is new. `proposed` is what this process would put there; when several
 * processes start at once, one of them wins and all get its values.
 */
export async function ensureInstallation(
  db: Database,
  proposed: { readonly installationId: string; readonly fleetKeySealed: string },
): Promise<Installation> {
  return db.write(async (tx) => {
    const { installationId, fleetKeySealed } = proposed;
    await sql`
      insert into claviger.installation (installation_id, audit_head, fleet_key_sealed)
      values (${installationId}::uuid, sha256(convert_to(${installationId}::uuid::text, 'UTF8')), ${fleetKeySealed})
      on conflict (id) do nothing
    `.execute(tx);
    const row = await tx
      .selectFrom('claviger.installation')
      .select(['installation_id', 'epoch', 'rev', 'fleet_key_sealed'])
      .executeTakeFirstOrThrow();
    return {
      position: { installation: row.installation_id, epoch: row.epoch, rev: Number(row.rev) },
      fleetKeySealed: row.fleet_key_sealed,
    };
  });
}

export interface SigningPairStored {
  readonly publicKey: string;
  readonly privateKeySealed: string;
}

/** The pair that the installation signs with. `proposed` is used when there is none yet; of several at once one wins and all get it. */
export async function ensureSigningPair(db: Database, proposed: SigningPairStored): Promise<SigningPairStored> {
  return db.write(async (tx) => {
    await tx
      .updateTable('claviger.installation')
      .set({ signing_public_key: proposed.publicKey, signing_key_sealed: proposed.privateKeySealed })
      .where('signing_public_key', 'is', null)
      .execute();
    const row = await tx
      .selectFrom('claviger.installation')
      .select(['signing_public_key', 'signing_key_sealed'])
      .executeTakeFirstOrThrow();
    return { publicKey: row.signing_public_key!, privateKeySealed: row.signing_key_sealed! };
  });
}

/** Where the database stands. */
export async function readPosition(tx: Tx): Promise<Position> {
  const row = await tx
    .selectFrom('claviger.installation')
    .select(['installation_id', 'epoch', 'rev'])
    .executeTakeFirstOrThrow();
  return { installation: row.installation_id, epoch: row.epoch, rev: Number(row.rev) };
}

/** Where the database stands, with its audit head (hex). */
export async function readPositionAndHead(tx: Tx): Promise<{ position: Position; head: string }> {
  return positionAndHead(await selectHead(tx).executeTakeFirstOrThrow());
}

/** The same, and nobody else moves it until the transaction ends. */
export async function lockPositionAndHead(tx: Tx): Promise<{ position: Position; head: string }> {
  return positionAndHead(await selectHead(tx).forUpdate().executeTakeFirstOrThrow());
}

/** Begins a new epoch at the present revision. The caller holds the row (`lockPositionAndHead`). */
export async function setEpoch(tx: Tx, epoch: number): Promise<void> {
  await sql`update claviger.installation set epoch = ${epoch}, epoch_at = now()`.execute(tx);
}

function selectHead(tx: Tx) {
  return tx.selectFrom('claviger.installation').select(['installation_id', 'epoch', 'rev', 'audit_head']);
}

function positionAndHead(row: { installation_id: string; epoch: number; rev: bigint; audit_head: Buffer }) {
  return {
    position: { installation: row.installation_id, epoch: row.epoch, rev: Number(row.rev) },
    head: row.audit_head.toString('hex'),
  };
}
