/**
 * What was counted in the last `windowSeconds`, in steps of one second.
 *
 * A window of 60 s that begins at any moment touches 61 of our seconds, so 61 of them are added up: the current one and 60 before it. One more
 * second lies ahead of the current one: what is lent to another process may be used until its end, and is counted as if it were used then.
 */
export class WindowCounter {
  readonly #counts: Float64Array;
  /** The newest second that has a place: the current one and `AHEAD_SECONDS`. */
  #newest = 0;
  #sum = 0;

  constructor(windowSeconds: number) {
    this.#counts = new Float64Array(windowSeconds + 1 + AHEAD_SECONDS);
  }

  /** The sum at `second`, the current one. Time never goes backwards here: an older second counts as the newest that was seen. */
  sumAt(second: number): number {
    if (second + AHEAD_SECONDS > this.#newest) this.#advance(second + AHEAD_SECONDS);
    return this.#sum;
  }

  /** Counts `amount` (negative: takes it back) in a second that `sumAt` has reached. False when that second has left the window. */
  add(second: number, amount: number): boolean {
    const counts = this.#counts;
    const at = second > this.#newest ? this.#newest : second;
    if (at <= this.#newest - counts.length) return false;
    counts[at % counts.length]! += amount;
    this.#sum += amount;
    return true;
  }

  /** Seconds from `second` until `amount` more fits below `limit`, if nothing else comes; a whole window when it never does. */
  secondsUntilFree(second: number, amount: number, limit: number): number {
    const counts = this.#counts;
    let sum = this.sumAt(second);
    const oldest = this.#newest - counts.length + 1;
    for (let age = 0; age < counts.length; age++) {
      if (sum + amount <= limit) return age;
      // In the first minute of the clock there is nothing before its beginning.
      if (oldest + age >= 0) sum -= counts[(oldest + age) % counts.length]!;
    }
    return counts.length - 1 - AHEAD_SECONDS;
  }

  /** `[second, count]` of what is not zero, for the process that takes over. */
  entries(): [number, number][] {
    const counts = this.#counts;
    const entries: [number, number][] = [];
    for (let second = Math.max(0, this.#newest - counts.length + 1); second <= this.#newest; second++) {
      const count = counts[second % counts.length]!;
      if (count !== 0) entries.push([second, count]);
    }
    return entries;
  }

  /** What another process has counted in that second, when it is more than is known here. */
  raise(second: number, count: number): void {
    if (second > this.#newest || second <= this.#newest - this.#counts.length) return;
    const more = count - this.#counts[second % this.#counts.length]!;
    if (more > 0) this.add(second, more);
  }

  #advance(newest: number): void {
    const counts = this.#counts;
    if (newest - this.#newest >= counts.length) {
      counts.fill(0);
      this.#sum = 0;
    } else {
      for (let second = this.#newest + 1; second <= newest; second++) {
        const index = second % counts.length;
        this.#sum -= counts[index]!;
        counts[index] = 0;
      }
    }
    this.#newest = newest;
  }
}

/** What is borrowed may be used for so long. */
export const AHEAD_SECONDS = 1;
