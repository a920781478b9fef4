import { sql } from 'kysely';
import type { Lane, Revision } from '../../domain/change.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';

/** A change as it was made. Secrets inside `before` and `after` are sealed. */
export interface RecordedChange {
  readonly epoch: number;
  readonly rev: Revision;
  readonly kind: string;
  readonly objectId: string;
  readonly objectRev: number;
  readonly op: string;
  readonly before: JsonValue;
  readonly after: JsonValue;
  readonly actor: string;
  readonly actorKey: string | null;
  readonly changedBy: string | null;
  readonly requestId: string;
  readonly lane: Lane;
  readonly atMs: number;
}

export interface ChangeFilter {
  /** Changes below this position only; null: from the newest on. */
  readonly before: { readonly epoch: number; readonly rev: Revision } | null;
  readonly kind?: string | undefined;
  readonly objectId?: string | undefined;
  readonly actor?: string | undefined;
  readonly limit: number;
}

/** Newest first. */
export async function listChanges(tx: Tx, filter: ChangeFilter): Promise<RecordedChange[]> {
  let query = select(tx).orderBy('epoch', 'desc').orderBy('rev', 'desc').limit(filter.limit);
  const { before, kind, objectId, actor } = filter;
  if (before !== null)
    query = query.where(sql<boolean>`(epoch, rev) < (${before.epoch}::integer, ${before.rev}::bigint)`);
  if (kind !== undefined) query = query.where('kind', '=', kind);
  if (objectId !== undefined) query = query.where('object_id', '=', objectId);
  if (actor !== undefined) query = query.where('actor', '=', actor);
  return (await query.execute()).map(recorded);
}

/** Of the newest epoch that has this revision; null: none has, or it is not in the log any more. */
export async function findChange(tx: Tx, rev: Revision, epoch?: number): Promise<RecordedChange | null> {
  let query = select(tx).where('rev', '=', BigInt(rev)).orderBy('epoch', 'desc').limit(1);
  if (epoch !== undefined) query = query.where('epoch', '=', epoch);
  const row = await query.executeTakeFirst();
  return row === undefined ? null : recorded(row);
}

/** Changes behind `after` in their order. */
export async function changesAfter(
  tx: Tx,
  { epoch, after, limit }: { readonly epoch: number; readonly after: Revision; readonly limit: number },
): Promise<RecordedChange[]> {
  const rows = await select(tx)
    .where('epoch', '=', epoch)
    .where('rev', '>', BigInt(after))
    .orderBy('rev')
    .limit(limit)
    .execute();
  return rows.map(recorded);
}

/** Later changes of the same object, oldest first. */
export async function laterChangesOf(
  tx: Tx,
  { epoch, rev, kind, objectId }: Pick<RecordedChange, 'epoch' | 'rev' | 'kind' | 'objectId'>,
  limit: number,
): Promise<RecordedChange[]> {
  const rows = await select(tx)
    .where('kind', '=', kind)
    .where('object_id', '=', objectId)
    .where(sql<boolean>`(epoch, rev) > (${epoch}::integer, ${rev}::bigint)`)
    .orderBy('epoch')
    .orderBy('rev')
    .limit(limit)
    .execute();
  return rows.map(recorded);
}

/** The changes of one request, of which the last has `rev`; a request makes at most `limit` of them, one behind the other. */
export async function changesOfRequest(
  tx: Tx,
  { epoch, rev, requestId, limit }: { epoch: number; rev: Revision; requestId: string; limit: number },
): Promise<RecordedChange[]> {
  const rows = await select(tx)
    .where('epoch', '=', epoch)
    .where('rev', '<=', BigInt(rev))
    .where('rev', '>', BigInt(rev - limit))
    .where('request_id', '=', requestId)
    .execute();
  return rows.map(recorded);
}

const COLUMNS = [
  'epoch',
  'rev',
  'kind',
  'object_id',
  'object_rev',
  'op',
  'before',
  'after',
  'actor',
  'actor_key',
  'changed_by',
  'request_id',
  'lane',
  'at',
] as const;

function select(tx: Tx) {
  return tx.selectFrom('claviger.change_log').select(COLUMNS);
}

function recorded(row: Awaited<ReturnType<ReturnType<typeof select>['execute']>>[number]): RecordedChange {
  return {
    epoch: row.epoch,
    rev: Number(row.rev),
    kind: row.kind,
    objectId: row.object_id,
    objectRev: Number(row.object_rev),
    op: row.op,
    before: row.before as JsonValue,
    after: row.after as JsonValue,
    actor: row.actor,
    actorKey: row.actor_key,
    changedBy: row.changed_by,
    requestId: row.request_id,
    lane: row.lane as Lane,
    atMs: row.at.getTime(),
  };
}
