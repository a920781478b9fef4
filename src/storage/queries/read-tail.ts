import type { Position } from '../../domain/change.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import type { Database } from '../db.ts';
import type { LoggedChange } from '../repositories/change-log.ts';
import { epochsLookedAt } from '../repositories/change-log.ts';

export interface TailReading {
  readonly now: Position;
  /** Audit head (hex) at `now`. */
  readonly head: string;
  /** Behind the known revision, in order, at most as many as asked for; may go beyond `now`. */
  readonly logged: readonly LoggedChange[];
  /** Audit head (hex) that this database has at the known revision; null: it does not say. */
  readonly headThere: string | null;
}

/** Where the database stands and what it has behind `known`, in one round trip: a poll from another continent is as long as that. */
export async function readTail(db: Pick<Database, 'ask'>, known: Position, limit: number): Promise<TailReading> {
  const [epoch, rev, rows] = [known.epoch, known.rev, limit].map(wholeNumber);
  const [installations, changes, heads] = await db.ask([
    'select installation_id, epoch, rev, audit_head from claviger.installation',
    `select rev, kind, object_id, after, hash from claviger.change_log
      where epoch = ${epoch} and rev > ${rev} order by rev limit ${rows}`,
    `select hash from claviger.change_log
      where epoch in (${epochsLookedAt(known.epoch).join(', ')}) and rev = ${rev} order by epoch desc limit 1`,
  ]);
  const installation = installations?.[0];
  if (installation === undefined) throw new Error('the database has no installation');
  const now = {
    installation: String(installation.installation_id),
    epoch: Number(installation.epoch),
    rev: Number(installation.rev),
  };
  const head = hex(installation.audit_head);
  const isNew = now.epoch === known.epoch && now.rev > known.rev;
  const there = heads?.[0] === undefined ? null : hex(heads[0].hash);
  return {
    now,
    head,
    logged: isNew ? (changes ?? []).map(loggedChange) : [],
    headThere: isNew ? there : now.rev === known.rev ? head : null,
  };
}

function loggedChange(row: Readonly<Record<string, unknown>>): LoggedChange {
  return {
    rev: Number(row.rev),
    kind: String(row.kind),
    objectId: String(row.object_id),
    after: row.after as JsonValue,
    head: hex(row.hash),
  };
}

function hex(value: unknown): string {
  return (value as Buffer).toString('hex');
}

/** The statements have no parameters: nothing but digits may go into them. */
function wholeNumber(value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole number: ${value}`);
  return value;
}
