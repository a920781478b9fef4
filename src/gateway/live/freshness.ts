/**
 * How old knowledge is, as something that can be proved: times of this process's own clock before which every committed change is applied.
 * Bookkeeping on numbers that the caller reads, and nothing else. The claim, its proof and its assumptions: docs/specs/fence.md.
 */
import type { FenceClass } from '../../domain/virtual-key.ts';
import type { PingReply } from '../../feed/protocol.ts';

/** A point of the history of an installation. */
export interface Point {
  readonly epoch: number;
  readonly rev: number;
}

/** A ping and what came back. Times are of one clock of this process (`ElapsedClock`). */
export interface Echo {
  /** Read before the ping was sent. */
  readonly sentAtMs: number;
  /** The database was read for this answer, after the ping had arrived. */
  readonly fresh: boolean;
  readonly reply: Pick<PingReply, 'epoch' | 'rev' | 'dbAgeMs' | 'witnessRev' | 'witnessAgeMs'>;
}

/** Everything that was committed before `atMs` is contained in (`epoch`, `rev`). */
export interface Witness extends Point {
  readonly atMs: number;
  /** Nothing says otherwise than that the clock ran evenly since. If not, only `normal` keys are admitted by it. */
  readonly certain: boolean;
}

export class Freshness {
  /** For "is this key new?": any read of the database will do, but only what was asked from here says when it was made. */
  readonly #read = new Dating();
  /** The same by pings from above. One that was held up on its way looks younger than it is. */
  #heardReadAtMs = Number.NEGATIVE_INFINITY;
  /** Of what was asked since the clocks last disagreed. */
  readonly #certain = new Dating();
  /** The best guess while there is none of those. */
  readonly #guess = new Dating();
  #disagreedAtMs = Number.NEGATIVE_INFINITY;
  #applied: Point | null;

  /** `restored`: of an earlier process; `applied` has reached it. */
  constructor(applied: Point | null = null, restored: Witness | null = null) {
    this.#applied = applied;
    if (restored === null) return;
    (restored.certain ? this.#certain : this.#guess).take(restored);
  }

  /** Called when a point is in force, not before. */
  applied(point: Point): void {
    this.#applied = point;
    this.#read.reach(point);
    this.#certain.reach(point);
    this.#guess.reach(point);
  }

  /** An answer counts from when its revision is applied, which may be later. */
  answered({ sentAtMs, fresh, reply }: Echo): void {
    const { epoch, rev, dbAgeMs, witnessRev, witnessAgeMs } = reply;
    this.#read.offer({ epoch, rev, atMs: fresh ? sentAtMs : sentAtMs - dbAgeMs }, this.#applied);
    const witness = { epoch, rev: witnessRev, atMs: sentAtMs - witnessAgeMs };
    (sentAtMs >= this.#disagreedAtMs ? this.#certain : this.#guess).offer(witness, this.#applied);
  }

  /**
   * The one-way `ping` of protocol 1, whose revision is applied. Nobody knows when it was sent, so it says about how old knowledge is, and proves
   * nothing: neither the witness nor that a key was not made a moment ago.
   */
  confirmed(readAtMs: number): void {
    this.#heardReadAtMs = Math.max(this.#heardReadAtMs, readAtMs);
  }

  /** Wall and monotonic clock were found in disagreement at `atMs`: what is known may be older than it seems. */
  disagreed(atMs: number): void {
    this.#disagreedAtMs = atMs;
    this.#guess.replaceBy(this.#certain);
    this.#certain.forget();
  }

  /** Time of the newest read of the database that is applied, as far as can be told; null: none yet in this process. */
  get readAtMs(): number | null {
    const atMs = Math.max(this.#heardReadAtMs, this.provedReadAtMs ?? Number.NEGATIVE_INFINITY);
    return atMs === Number.NEGATIVE_INFINITY ? null : atMs;
  }

  /** Everything that was committed before is applied, whatever was held up on its way; null: nothing is proved in this process yet. */
  get provedReadAtMs(): number | null {
    return this.#read.newest?.atMs ?? null;
  }

  /** Age of the witness for a class of keys; infinite when there is none. */
  stalenessMs(fence: FenceClass, nowMs: number): number {
    const dated = this.#certain.newest ?? (fence === 'strict' ? null : this.#guess.newest);
    return dated === null ? Number.POSITIVE_INFINITY : nowMs - dated.atMs;
  }

  /** What a later process may go on from; null: nothing yet. */
  get witness(): Witness | null {
    const certain = this.#certain.newest;
    const dated = certain ?? this.#guess.newest;
    return dated === null ? null : { ...dated, certain: certain !== null };
  }
}

interface Dated extends Point {
  readonly atMs: number;
}

/**
 * The newest time that counts, and those that wait for their revision: the first, which is sure to be reached soonest, and the last, which is
 * worth most. With only the last one, a process that is always a little behind would wait for ever.
 */
class Dating {
  newest: Dated | null = null;
  #first: Dated | null = null;
  #last: Dated | null = null;

  offer(dated: Dated, applied: Point | null): void {
    if (applied !== null && contains(applied, dated)) this.take(dated);
    // An answer about a history that was left says nothing about this one.
    else if (applied !== null && dated.epoch < applied.epoch) return;
    else if (this.#first === null) this.#first = dated;
    else this.#last = dated;
  }

  reach(applied: Point): void {
    const first = this.#first;
    if (first === null || applied.epoch < first.epoch || (applied.epoch === first.epoch && applied.rev < first.rev)) {
      return;
    }
    const last = this.#last;
    this.#first = null;
    this.#last = null;
    this.offer(first, applied);
    if (last !== null) this.offer(last, applied);
  }

  /** Times never go back. */
  take(dated: Dated): void {
    if (this.newest === null || dated.atMs > this.newest.atMs) this.newest = dated;
  }

  /** With nothing to replace it by, what is there stays. */
  replaceBy(other: Dating): void {
    if (other.newest !== null) this.newest = other.newest;
    this.#first = other.#first ?? this.#first;
    this.#last = other.#last ?? this.#last;
  }

  forget(): void {
    this.newest = null;
    this.#first = null;
    this.#last = null;
  }
}

/** Revisions of another epoch are another history: nothing is contained in them. */
function contains(applied: Point, point: Point): boolean {
  return applied.epoch === point.epoch && applied.rev >= point.rev;
}
