/** Of one turn of the event loop. */
export const LOOP_SHARE_MS = 5;

/**
 * The part of the event loop that work for many may take, so that whoever comes with something small is served between two turns of it, however
 * much is waiting here. What waits is as many pieces as were handed in: who hands them in has the bound.
 */
export class LoopShare {
  readonly #nowMs: () => number;
  readonly #nextTurn: (run: () => void) => void;
  readonly #short: (() => void)[] = [];
  readonly #long: (() => void)[] = [];
  #usedMs = 0;
  #scheduled = false;

  constructor(
    nowMs: () => number = () => performance.now(),
    nextTurn: (run: () => void) => void = (run) => void setImmediate(run),
  ) {
    this.#nowMs = nowMs;
    this.#nextTurn = nextTurn;
  }

  /** Does what is done when it returns: now, or when its turn comes; ahead of `turn`, in order. Settles as the work does. */
  run(work: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const piece = (): void => {
        try {
          work();
          resolve();
        } catch (error) {
          reject(error);
        }
      };
      if (this.#short.length === 0 && this.#usedMs < LOOP_SHARE_MS) this.#spend(piece);
      else this.#short.push(piece);
      this.#schedule();
    });
  }

  /** Resolves in a turn of the event loop in which nothing else of this share begins: for work of a length that nobody knows. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#short.length === 0 && this.#long.length === 0 && this.#usedMs === 0) this.#give(resolve);
      else this.#long.push(resolve);
      this.#schedule();
    });
  }

  #spend(work: () => void): void {
    const startedAtMs = this.#nowMs();
    work();
    // Never nothing: what was done is done in this turn.
    this.#usedMs += Math.max(Number.MIN_VALUE, this.#nowMs() - startedAtMs);
  }

  #give(resolve: () => void): void {
    this.#usedMs = LOOP_SHARE_MS;
    resolve();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#nextTurn(() => {
      this.#scheduled = false;
      this.#usedMs = 0;
      while (this.#usedMs < LOOP_SHARE_MS && this.#short.length > 0) this.#spend(this.#short.shift()!);
      if (this.#usedMs === 0 && this.#long.length > 0) this.#give(this.#long.shift()!);
      if (this.#usedMs > 0) this.#schedule();
    });
  }
}
