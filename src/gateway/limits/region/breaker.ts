/** Failures in a row after which nothing is asked any more but whether it is back. */
export const FAILURES_MAX = 5;

/** A circuit breaker: closed, open after `FAILURES_MAX` failures in a row, closed again by the first success of a probe. */
export class Breaker {
  #failures = 0;

  get isOpen(): boolean {
    return this.#failures >= FAILURES_MAX;
  }

  /** True when this closed it. */
  succeeded(): boolean {
    const wasOpen = this.isOpen;
    this.#failures = 0;
    return wasOpen;
  }

  /** True when this opened it. */
  failed(): boolean {
    if (this.isOpen) return false;
    this.#failures++;
    return this.isOpen;
  }
}
