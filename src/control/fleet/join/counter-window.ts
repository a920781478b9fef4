/** How far a counter may be behind the newest one. At most eight requests of a gateway process are under way. */
export const COUNTER_WINDOW = 64;

/** Which counters of a session were used: each counts once, in whatever order they come; what is far behind the newest was used as far as we know. */
export class CounterWindow {
  /** By remainder: the newest counter that has it. */
  readonly #used = new Float64Array(COUNTER_WINDOW);
  #newest = 0;

  isNew(counter: number): boolean {
    return counter > this.#newest - COUNTER_WINDOW && this.#used[counter % COUNTER_WINDOW] !== counter;
  }

  /** False: it is not new. */
  use(counter: number): boolean {
    if (!this.isNew(counter)) return false;
    this.#used[counter % COUNTER_WINDOW] = counter;
    this.#newest = Math.max(this.#newest, counter);
    return true;
  }
}
