import type { Log } from '../../observe/log.ts';
import type { Database } from '../../storage/db.ts';
import { beat, type ControlIdentity, removeOldBeats } from '../../storage/repositories/heartbeat.ts';
import type { Clock } from '../../util/clock.ts';

export interface HeartbeatOptions {
  readonly db: Database;
  readonly identity: ControlIdentity;
  /** Monotonic over a suspension of the machine (`ElapsedClock`). */
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly log: Log;
}

/** A revision that the database had at `readAtMs` or later, and a write that it took after that. */
export interface Beat {
  readonly epoch: number;
  readonly rev: number;
  readonly readAtMs: number;
}

/** Between two removals of old rows, by each control process. */
const CLEANING_INTERVAL_MS = 60 * 60_000;
/** A beat that takes longer may hang in a network that swallows packets: the next one goes its own way. */
const PATIENCE_MS = 2_000;
/** Beats under way at once; each takes a connection of the pool. */
const BEATS_MAX = 2;
/** While the database is away, the next one comes this soon, whatever the interval is. */
const RETRY_MS = 500;

/** Writes to the database again and again, and keeps what that proves about the revision it has. */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #beating = new Set<Promise<void>>();
  #newest: Beat | null = null;
  #timer: NodeJS.Timeout | null = null;
  #cleanedAtMs = Number.NEGATIVE_INFINITY;
  #away = false;
  #stopped = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Null until the first one is committed. */
  get newest(): Beat | null {
    return this.#newest;
  }

  /** Called when the database is open. Resolves after the first beat, whether or not it was taken, or when it hangs. */
  run(): Promise<void> {
    return this.#turn();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await Promise.all(this.#beating);
  }

  /** From start to start, so that a slow database makes beats rarer and never piles them up. */
  async #turn(): Promise<void> {
    const { clock, intervalMs } = this.#options;
    const begunAtMs = clock.monotonicMs();
    if (this.#beating.size < BEATS_MAX) await patiently(this.#begin(begunAtMs));
    if (this.#stopped) return;
    const restMs = Math.max(0, begunAtMs + intervalMs - clock.monotonicMs());
    this.#timer = setTimeout(() => void this.#turn(), this.#away || this.#beating.size > 0 ? RETRY_MS : restMs);
  }

  #begin(begunAtMs: number): Promise<void> {
    const beating = this.#beat(begunAtMs).finally(() => this.#beating.delete(beating));
    this.#beating.add(beating);
    return beating;
  }

  async #beat(begunAtMs: number): Promise<void> {
    const { db, identity, log } = this.#options;
    try {
      const { epoch, rev } = await db.write((tx) => beat(tx, identity));
      // One that hung and came through may be older than one that overtook it.
      if (this.#newest === null || begunAtMs > this.#newest.readAtMs)
        this.#newest = { epoch, rev, readAtMs: begunAtMs };
      if (this.#away) log.info({}, 'the database takes writes again');
      this.#away = false;
    } catch (error) {
      if (!this.#away)
        log.warn({ err: error }, 'the database takes no writes; what gateway processes know grows older');
      this.#away = true;
      return;
    }
    if (begunAtMs - this.#cleanedAtMs < CLEANING_INTERVAL_MS) return;
    this.#cleanedAtMs = begunAtMs;
    await db
      .write(removeOldBeats)
      .catch((error: unknown) => log.debug({ err: error }, 'old heartbeats were not removed'));
  }
}

/** Resolves with the promise, or without it after `PATIENCE_MS`. */
async function patiently(promise: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS);
  });
  await Promise.race([promise, enough]);
  clearTimeout(timer);
}
