/** A well-formed key that is not known may have been made a moment ago: how long a request waits to hear that it was not, and how many may. */
export const UNKNOWN_KEY_WAIT_MS = 300;
/** Waiting at once from one source address; one more is answered at once. */
export const WAITS_PER_ADDRESS_MAX = 32;
/** Waiting at once in this process, from wherever; one more is answered at once. */
export const WAITS_MAX = 4_096;

export interface UnknownKeyWaitsOptions {
  /** The clock of the times that `dated` is called with. */
  readonly nowMs: () => number;
  /** Has the database asked after `sinceMs`; what it answers comes back as `dated`. Many calls at once are one question. */
  readonly askNow: (sinceMs: number) => void;
  readonly waitMs?: number;
}

/** How a wait ended: the key came, or the database was read after the request had arrived; or neither in time. */
export type WaitOutcome = 'confirmed' | 'not in time';

interface Waiting {
  readonly arrivedAtMs: number;
  readonly isKnown: () => boolean;
  readonly end: (outcome: WaitOutcome) => void;
}

/** Requests with unknown keys, each until knowledge is dated after its arrival. One question to the database serves all that wait. */
export class UnknownKeyWaits {
  readonly #options: UnknownKeyWaitsOptions;
  /** In order of arrival. */
  readonly #waiting = new Set<Waiting>();
  readonly #perAddress = new Map<string, number>();
  #newestArrivalMs = 0;

  constructor(options: UnknownKeyWaitsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** `isKnown`: the key has come meanwhile. Null: too many wait already, in all or from this address. */
  begin(address: string, isKnown: () => boolean): Promise<WaitOutcome> | null {
    const { nowMs, askNow, waitMs = UNKNOWN_KEY_WAIT_MS } = this.#options;
    const arrivedAtMs = nowMs();
    const ofAddress = this.#perAddress.get(address) ?? 0;
    if (ofAddress >= WAITS_PER_ADDRESS_MAX || this.#waiting.size >= WAITS_MAX) return null;
    this.#perAddress.set(address, ofAddress + 1);
    const wait = new Promise<WaitOutcome>((resolve) => {
      const waiting: Waiting = {
        arrivedAtMs,
        isKnown,
        end: (outcome) => {
          clearTimeout(timer);
          this.#waiting.delete(waiting);
          this.#release(address);
          resolve(outcome);
        },
      };
      const timer = setTimeout(() => waiting.end('not in time'), waitMs);
      this.#waiting.add(waiting);
    });
    this.#newestArrivalMs = arrivedAtMs;
    askNow(arrivedAtMs);
    return wait;
  }

  /** Knowledge has changed, and contains everything that was committed before `readAtMs`. */
  dated(readAtMs: number): void {
    for (const waiting of this.#waiting) {
      if (waiting.arrivedAtMs <= readAtMs || waiting.isKnown()) waiting.end('confirmed');
    }
    // Whoever came while the question was under way needs another one.
    if (this.#waiting.size > 0) this.#options.askNow(this.#newestArrivalMs);
  }

  #release(address: string): void {
    const count = this.#perAddress.get(address)! - 1;
    if (count === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, count);
  }
}
