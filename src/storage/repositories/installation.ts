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

/** Where the database stands. */
export async function readPosition(tx: Tx): Promise<Position> {
  const row = await tx
    .selectFrom('claviger.installation')
    .select(['installation_id', 'epoch', 'rev'])
    .executeTakeFirstOrThrow();
  return { installation: row.installation_id, epoch: row.epoch, rev: Number(row.rev) };
}
