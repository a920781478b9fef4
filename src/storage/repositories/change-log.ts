import { sql } from 'kysely';
import type { Change, Lane, Revision } from '../../domain/change.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';

/** What gateway processes do not have to know is only logged. */
export type ChangeKind = Change['kind'] | 'organization_member';

export interface ChangeEntry {
  readonly kind: ChangeKind;
  readonly objectId: string;
  readonly objectRev: number;
  readonly op: 'created' | 'updated' | 'deleted' | 'blocked' | 'unblocked';
  /** Whole objects with secrets sealed; null before creation and after deletion. */
  readonly before: JsonValue;
  readonly after: JsonValue;
  readonly actor: string;
  /** Digest of the key that the actor used. */
  readonly actorKey: string | null;
  /** `litellm-changed-by`: on whose behalf. */
  readonly changedBy: string | null;
  readonly requestId: string;
  readonly lane: Lane;
}

/** A row of the log as the feed needs it. */
export interface LoggedChange {
  readonly rev: Revision;
  readonly kind: string;
  readonly objectId: string;
  readonly after: JsonValue;
  /** Audit head (hex) at `rev`. */
  readonly head: string;
}

/**
 * Takes the next revision for an entry. The row of `installation` stays locked until the transaction ends, so that revisions are
 * committed in order and without gaps: this must be the last thing a transaction does, and never part of spend.
 */
export async function appendEntry(tx: Tx, entry: ChangeEntry): Promise<{ epoch: number; rev: Revision; head: string }> {
  const before = entry.before === null ? null : JSON.stringify(entry.before);
  const after = entry.after === null ? null : JSON.stringify(entry.after);
  const { rows } = await sql<{ epoch: number; rev: bigint; hash: Buffer }>`
    with entry as materialized (
      select ${entry.kind}::text as kind, ${entry.objectId}::text as object_id, ${entry.objectRev}::bigint as object_rev,
             ${entry.op}::text as op, ${before}::jsonb as before, ${after}::jsonb as after,
             ${entry.actor}::text as actor, ${entry.actorKey}::text as actor_key, ${entry.changedBy}::text as changed_by,
             ${entry.requestId}::text as request_id, ${entry.lane}::text as lane, now() as at
    ), head as (
      update claviger.installation
         set rev = installation.rev + 1,
             audit_head = sha256(installation.audit_head || int8send(installation.rev + 1) || (
               select claviger.change_digest(kind, object_id, object_rev, op, before, after, actor, actor_key, changed_by,
                                             request_id, lane, at)
                 from entry))
       where id = 1
      returning epoch, rev, audit_head
    )
    insert into claviger.change_log (epoch, rev, kind, object_id, object_rev, op, before, after, actor, actor_key, changed_by,
                                     request_id, lane, at, hash)
    select head.epoch, head.rev, entry.kind, entry.object_id, entry.object_rev, entry.op, entry.before, entry.after, entry.actor,
           entry.actor_key, entry.changed_by, entry.request_id, entry.lane, entry.at, head.audit_head
      from head, entry
    returning epoch, rev, hash
  `.execute(tx);
  const row = rows[0]!;
  return { epoch: row.epoch, rev: Number(row.rev), head: row.hash.toString('hex') };
}

/** A hint to those who listen that there is a new revision. Sent at commit; losing it costs one poll interval. */
export async function notifyRevision(tx: Tx, rev: Revision): Promise<void> {
  await sql`select pg_notify(${REVISION_CHANNEL}, ${String(rev)})`.execute(tx);
}

export const REVISION_CHANNEL = 'claviger_rev';

/** Changes after `after` in revision order, at most `limit`. */
export async function readChanges(
  tx: Tx,
  { epoch, after, limit }: { epoch: number; after: Revision; limit: number },
): Promise<LoggedChange[]> {
  const rows = await tx
    .selectFrom('claviger.change_log')
    .select(['rev', 'kind', 'object_id', 'after', 'hash'])
    .where('epoch', '=', epoch)
    .where('rev', '>', BigInt(after))
    .orderBy('rev')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    rev: Number(row.rev),
    kind: row.kind,
    objectId: row.object_id,
    after: row.after as JsonValue,
    head: row.hash.toString('hex'),
  }));
}

/**
 * The audit head (hex) at a revision of this database's own history, or null when the log does not hold it. Revisions go on over a raised
 * epoch, so that the head at (2, 57) is that of the entry 57 written in epoch 1 when nothing has been written in epoch 2 up to there.
 */
export async function headAt(tx: Tx, { epoch, rev }: { epoch: number; rev: Revision }): Promise<string | null> {
  const row = await tx
    .selectFrom('claviger.change_log')
    .select('hash')
    // By a list of epochs, so that the primary key finds it.
    .where('epoch', 'in', epochsLookedAt(epoch))
    .where('rev', '=', BigInt(rev))
    .orderBy('epoch', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? null : row.hash.toString('hex');
}

/** From this one back. */
export function epochsLookedAt(epoch: number): number[] {
  return Array.from({ length: Math.max(1, Math.min(epoch, EPOCHS_LOOKED_AT_MAX)) }, (_, back) => epoch - back);
}

/** Those of the keys (or of another kind) that somebody unblocked in this epoch. */
export async function unblockedInEpoch(
  tx: Tx,
  epoch: number,
  objectIds: readonly string[],
  kind: ChangeKind = 'key',
): Promise<Set<string>> {
  if (objectIds.length === 0) return new Set();
  const rows = await tx
    .selectFrom('claviger.change_log')
    .select('object_id')
    .distinct()
    .where('kind', '=', kind)
    .where('object_id', 'in', [...objectIds])
    .where('epoch', '=', epoch)
    .where('op', '=', 'unblocked')
    .execute();
  return new Set(rows.map((row) => row.object_id));
}

/** An epoch is raised by a restore or a failover; older ones than this are not looked for. */
const EPOCHS_LOOKED_AT_MAX = 100;

/**
 * Recomputes the whole hash chain. Null when it holds, else the first revision that was altered, removed or added behind the
 * program's back.
 */
export async function firstBrokenRevision(tx: Tx): Promise<Revision | null> {
  const { rows } = await sql<{ rev: bigint }>`
    with chain as (
      select rev, hash,
             sha256(
               coalesce(lag(hash) over by_rev, (select sha256(convert_to(installation_id::text, 'UTF8')) from claviger.installation))
               || int8send(coalesce(lag(rev) over by_rev, 0) + 1)
               || claviger.change_digest(kind, object_id, object_rev, op, before, after, actor, actor_key, changed_by, request_id,
                                         lane, at)
             ) as expected
        from claviger.change_log
      window by_rev as (order by epoch, rev)
    ), newest as (
      select coalesce(max(rev), 0) as rev from chain
    )
    select min(rev) as rev from (
      select rev from chain where hash <> expected
      union all
      select greatest(i.rev, newest.rev) from claviger.installation i, newest
       where i.rev <> newest.rev
          or i.audit_head <> coalesce((select hash from chain order by rev desc limit 1), i.audit_head)
    ) broken
    having min(rev) is not null
  `.execute(tx);
  return rows[0] === undefined ? null : Number(rows[0].rev);
}
