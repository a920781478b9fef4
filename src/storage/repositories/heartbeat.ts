import { sql } from 'kysely';
import type { Position } from '../../domain/change.ts';
import type { Tx } from '../db.ts';
import { readPosition } from './installation.ts';

/** Behind the id of an instance it is the id of its control process. */
export const CONTROL_ID_SUFFIX = '/control';

export interface ControlIdentity {
  /** Of this control process. */
  readonly controlId: string;
  readonly instanceId: string;
  readonly role: string;
  readonly region: string;
  readonly version: string;
}

/**
 * Writes that this control process is here, then reads where the database stands. When the transaction commits, the database took a write after
 * that read: one that was cut off from its successor, and one that is only a copy, could not. That needs a commit that waits for what the
 * operator replicates to, so it is asked for whatever the default is.
 */
export async function beat(
  tx: Tx,
  { controlId, instanceId, role, region, version }: ControlIdentity,
): Promise<Position> {
  await sql`
    with durable as materialized (select set_config('synchronous_commit', 'on', true))
    insert into claviger.control_heartbeat as h (control_id, instance_id, role, region, version, beat)
    select ${controlId}, ${instanceId}, ${role}, ${region}, ${version}, 1 from durable
    on conflict (control_id) do update
      set instance_id = excluded.instance_id, role = excluded.role, region = excluded.region,
          version = excluded.version, beat = h.beat + 1, at = now()
  `.execute(tx);
  return readPosition(tx);
}

/** Rows of control processes that have not been here for a day. */
export async function removeOldBeats(tx: Tx): Promise<void> {
  await sql`delete from claviger.control_heartbeat where at < now() - interval '1 day'`.execute(tx);
}
