import type { Change, Position, Revision } from '../../domain/change.ts';
import { ENTITIES_PER_FRAME_MAX } from '../../feed/protocol.ts';
import type { Database } from '../../storage/db.ts';
import { readChanges } from '../../storage/repositories/change-log.ts';
import { changesFromLog } from './change-from-log.ts';
import type { ChangeTail, Stretch } from './change-tail.ts';

/** Revisions kept; who is further behind gets a snapshot. */
export const RECENT_REVISIONS_MAX = 1_000;

/**
 * The newest revisions in memory, so that a fleet that comes back together costs the database one read and not one for each. What the tail
 * hands on is added; what lies before it is read once, by the first who asks.
 */
export class RecentChanges {
  readonly #db: Database;
  readonly #tail: ChangeTail;
  /** Contiguous, oldest first, up to where the tail stands; mostly of one revision each. */
  #kept: Stretch[] = [];
  #filling: Promise<void> | null = null;
  #filled = false;

  constructor(db: Database, tail: ChangeTail) {
    this.#db = db;
    this.#tail = tail;
    tail.onStretch((stretch) => {
      this.#kept.push(stretch);
      this.#forget(stretch.to);
    });
  }

  /**
   * What leads from a position to where the tail stands, in stretches that fit into a frame each. Null: not known here, or `head` is not the
   * audit head at that position as far as it is known here; then the database has to say.
   */
  async since({ epoch, rev }: Pick<Position, 'epoch' | 'rev'>, head: string | null): Promise<Stretch[] | null> {
    if (!this.#filled) {
      this.#filling ??= this.#fill().finally(() => {
        this.#filling = null;
      });
      await this.#filling;
    }
    const { position } = this.#tail;
    if (position === null || epoch !== position.epoch || rev > position.rev) return null;
    if (position.rev - rev > RECENT_REVISIONS_MAX) return null;
    if (rev === position.rev) return head === null || head === this.#tail.head ? [] : null;
    const index = this.#indexBehind(rev);
    if (index === null) return null;
    const headThere = index === 0 ? null : this.#kept[index - 1]!.head;
    if (head !== null && head !== headThere) return null;
    return joined(this.#kept.slice(index));
  }

  async #fill(): Promise<void> {
    const end = this.#kept[0]?.from ?? this.#tail.position?.rev;
    const epoch = this.#tail.position?.epoch;
    if (end === undefined || epoch === undefined) return;
    // One more than is served, for the head at the oldest position.
    const after = Math.max(0, end - RECENT_REVISIONS_MAX - 1);
    const logged = await this.#db.read((tx) => readChanges(tx, { epoch, after, limit: end - after }));
    const older: Stretch[] = [];
    for (const entry of logged.reverse()) {
      // A hole in the log ends what can be served.
      if (entry.rev !== (older[0]?.from ?? end)) break;
      older.unshift({ epoch, from: entry.rev - 1, to: entry.rev, changes: changesFromLog([entry]), head: entry.head });
    }
    this.#kept = [...older, ...this.#kept];
    this.#filled = true;
  }

  #forget(newest: Revision): void {
    const oldest = newest - RECENT_REVISIONS_MAX - 1;
    let stale = 0;
    while (stale < this.#kept.length && this.#kept[stale]!.to < oldest) stale += 1;
    // In batches, so that each addition does not move all of them.
    if (stale >= RECENT_REVISIONS_MAX / 4) this.#kept.splice(0, stale);
  }

  /** The first stretch that begins at `rev`; null when none does. */
  #indexBehind(rev: Revision): number | null {
    let low = 0;
    let high = this.#kept.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#kept[middle]!.from < rev) low = middle + 1;
      else high = middle;
    }
    return this.#kept[low]?.from === rev ? low : null;
  }
}

function joined(stretches: readonly Stretch[]): Stretch[] {
  const result: Stretch[] = [];
  let changes: Change[] = [];
  let first: Stretch | null = null;
  for (const [index, stretch] of stretches.entries()) {
    first ??= stretch;
    changes.push(...stretch.changes);
    const next = stretches[index + 1];
    if (next !== undefined && changes.length + next.changes.length <= ENTITIES_PER_FRAME_MAX) continue;
    const { epoch, to, head } = stretch;
    result.push({ epoch, from: first.from, to, changes, head });
    changes = [];
    first = null;
  }
  return result;
}
