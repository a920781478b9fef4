import type { Change, Position } from '../../domain/change.ts';
import { ENTITIES_PER_FRAME_MAX } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import type { Database } from '../../storage/db.ts';
import { readTail } from '../../storage/queries/read-tail.ts';
import type { Clock } from '../../util/clock.ts';
import { changesFromLog } from './change-from-log.ts';

/** A contiguous stretch of history: the changes of revisions `from`+1 .. `to`. */
export interface Stretch {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  /** What gateway processes get to know of them, in order of revision. */
  readonly changes: readonly Change[];
  /** Audit head (hex) at `to`. */
  readonly head: string;
}

export interface ChangeTailOptions {
  readonly db: Pick<Database, 'ask'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly pollIntervalMs?: number;
  /** The history is not the one that we followed: the database was restored, or is another one. */
  readonly onHistoryReplaced: (before: Position, now: Position) => void;
}

/** The truth about changes of other instances; a NOTIFY only makes the next poll come at once. */
export const POLL_INTERVAL_MS = 250;
/** Changes read at once, and so in one stretch; a tail that is further behind reads again. */
export const CHANGES_PER_POLL_MAX = ENTITIES_PER_FRAME_MAX;
/** Local changes that wait for an earlier one of another instance. Beyond it they are dropped: the poll finds them. */
const EARLY_STRETCHES_MAX = 1_000;

/**
 * Follows the history of the database and hands each change on once, in order, without gaps. Changes of this process arrive by `publish`
 * right after their commit; those of others by polling.
 */
export class ChangeTail {
  readonly #options: ChangeTailOptions;
  readonly #listeners = new Set<(stretch: Stretch) => void>();
  readonly #early = new Map<number, Stretch>();
  #position: Position | null = null;
  #head: string | null = null;
  /** Monotonic time before the newest read that succeeded. */
  #readAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #polling: Promise<void> | null = null;
  #pollAgain = false;
  #stopped = false;
  #away = false;

  constructor(options: ChangeTailOptions) {
    this.#options = options;
  }

  /** Null until `start`. */
  get position(): Position | null {
    return this.#position;
  }

  /** Audit head (hex) at `position`; null until it has been read. */
  get head(): string | null {
    return this.#head;
  }

  /** How long ago the database confirmed `position`. Grows while it is away; never NaN, at most what a frame can carry. */
  dbAgeMs(): number {
    const age = this.#options.clock.monotonicMs() - this.#readAtMs;
    return Number.isFinite(age) ? Math.max(0, age) : Number.MAX_SAFE_INTEGER;
  }

  /** `readAtMs` is the monotonic time at which `position` was asked for. */
  start(position: Position, readAtMs: number, head: string | null = null): void {
    this.#position = position;
    this.#head = head;
    this.#readAtMs = readAtMs;
    this.#schedule();
  }

  /** A poll that is under way is left to end. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#polling;
  }

  onStretch(listener: (stretch: Stretch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Changes that this process has committed. When an earlier revision is still missing they wait for it, and a poll fetches it now. */
  publish(stretch: Stretch): void {
    const position = this.#position;
    if (position === null || stretch.epoch !== position.epoch || stretch.to <= position.rev) return;
    if (this.#early.size < EARLY_STRETCHES_MAX) this.#early.set(stretch.from, stretch);
    this.#advanceOverEarly();
    if (this.#early.size > 0) void this.poll();
  }

  /** Reads what is new beside a poll that is under way, for somebody who waits. Rejects when the database does not answer. */
  async readNow(): Promise<void> {
    if (this.#stopped || this.#position === null) return;
    while (await this.#readOnce());
  }

  /** Reads what is new, now. While a read is under way, another one follows it. */
  poll(): Promise<void> {
    if (this.#polling !== null) {
      this.#pollAgain = true;
      return this.#polling;
    }
    if (this.#stopped || this.#position === null) return Promise.resolve();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#polling = this.#readUntilCurrent().finally(() => {
      this.#polling = null;
      this.#schedule();
    });
    return this.#polling;
  }

  #schedule(): void {
    if (this.#stopped) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.poll(), this.#options.pollIntervalMs ?? POLL_INTERVAL_MS);
  }

  async #readUntilCurrent(): Promise<void> {
    const { log } = this.#options;
    try {
      do {
        this.#pollAgain = false;
        while (await this.#readOnce());
      } while (this.#pollAgain && !this.#stopped);
      if (this.#away) log.info({}, 'the database answers again');
      this.#away = false;
    } catch (error) {
      if (!this.#away)
        log.warn({ err: error }, 'the database can not be read; gateway processes go on with what they have');
      this.#away = true;
    }
  }

  /** True when there is more to read. */
  async #readOnce(): Promise<boolean> {
    const { db, clock } = this.#options;
    const known = this.#position!;
    const askedAtMs = clock.monotonicMs();
    const knownHead = this.#head;
    const { now, head, logged, headThere } = await readTail(db, known, CHANGES_PER_POLL_MAX);
    const before = this.#position!;
    // A restored database that has moved on since has our revision too, with another head.
    const isForked = knownHead !== null && headThere !== null && headThere !== knownHead;
    // What was published while we read may be newer than what we read, which is not a history that went back.
    if (now.installation !== known.installation || now.epoch !== known.epoch || now.rev < known.rev || isForked) {
      this.#options.onHistoryReplaced(before, now);
      return false;
    }
    const fresh = logged.filter(({ rev }) => rev > before.rev);
    const newest = fresh.at(-1);
    if (newest !== undefined) {
      const { rev: to, head } = newest;
      this.#advance({ epoch: before.epoch, from: before.rev, to, changes: changesFromLog(fresh), head });
    }
    this.#advanceOverEarly();
    const isCurrent = this.#position!.rev >= now.rev;
    // An age is claimed only for a position that the read has confirmed.
    if (isCurrent) this.#readAtMs = Math.max(this.#readAtMs, askedAtMs);
    if (this.#position!.rev === now.rev) this.#head = head;
    return !isCurrent && newest !== undefined;
  }

  #advanceOverEarly(): void {
    for (;;) {
      const rev = this.#position!.rev;
      for (const [from, { to }] of this.#early) if (to <= rev) this.#early.delete(from);
      const next = this.#early.get(rev);
      if (next === undefined) return;
      this.#early.delete(rev);
      this.#advance(next);
    }
  }

  #advance(stretch: Stretch): void {
    this.#position = { ...this.#position!, rev: stretch.to };
    this.#head = stretch.head;
    for (const listener of this.#listeners) listener(stretch);
  }
}
