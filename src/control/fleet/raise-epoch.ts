import type { Position } from '../../domain/change.ts';
import type { Database, Tx } from '../../storage/db.ts';
import { headAt, notifyRevision } from '../../storage/repositories/change-log.ts';
import { lockPositionAndHead, readPositionAndHead, setEpoch } from '../../storage/repositories/installation.ts';

/** A position of this installation, and the audit head (hex) that its holder knows there; null: it does not. */
export interface Held {
  readonly position: Position;
  readonly head: string | null;
}

/** older: of an epoch that is over, or of another installation. forked: the database does not lead there. */
export type Relation = 'continues' | 'older' | 'forked';

/**
 * What a gateway process holds was once committed, so a database that does not lead there has lost or rewritten history: it was restored
 * from a backup, or a failover lost its tail.
 */
export async function relationOf(db: Database, held: Held): Promise<Relation> {
  return db.read(async (tx) => relation(tx, await readPositionAndHead(tx), held));
}

/**
 * Begins a new epoch, in which everybody gets a whole snapshot. Null: the database is not, or not any more, the one that was compared with;
 * when several gateway processes notice the same fork, the first raises the epoch and the others find it raised.
 */
export async function raiseEpoch(db: Database, held: Held): Promise<Position | null> {
  return db.write(async (tx) => {
    const now = await lockPositionAndHead(tx);
    if ((await relation(tx, now, held)) !== 'forked') return null;
    const epoch = Math.max(now.position.epoch, held.position.epoch) + 1;
    await setEpoch(tx, epoch);
    await notifyRevision(tx, now.position.rev);
    return { ...now.position, epoch };
  });
}

async function relation(tx: Tx, now: { position: Position; head: string }, held: Held): Promise<Relation> {
  const { installation, epoch, rev } = held.position;
  if (installation !== now.position.installation || epoch < now.position.epoch) return 'older';
  if (epoch > now.position.epoch || rev > now.position.rev) return 'forked';
  if (held.head === null) return 'continues';
  const there = rev === now.position.rev ? now.head : await headAt(tx, held.position);
  // An entry that the log no longer holds says nothing; then its holder gets a snapshot anyway.
  return there === null || there === held.head ? 'continues' : 'forked';
}
