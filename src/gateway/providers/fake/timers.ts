/** A pending callback. `cancel` after it ran does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time as the fake provider sees it; a parameter, so that tests move it by hand. */
export interface Timers {
  nowMs(): number;
  /** Runs `callback` once after `delayMs`; never inside this call, also when `delayMs` is 0. */
  after(delayMs: number, callback: () => void): Timer;
}

/** The timers of this process. A delay of 0 is the next turn of the event loop and not Node's minimum of 1 ms. */
export const systemTimers: Timers = {
  nowMs: () => Date.now(),
  after(delayMs, callback) {
    if (delayMs <= 0) {
      const immediate = setImmediate(callback);
      return { cancel: () => clearImmediate(immediate) };
    }
    const timeout = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  },
};
