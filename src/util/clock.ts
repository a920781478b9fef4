/** Time as a parameter: whatever makes a promise about time receives a clock, so that tests can move it. */
export interface Clock {
  /** Wall clock: milliseconds since the epoch. May jump. */
  nowMs(): number;
  /** Never goes backwards and knows nothing of the date; for ages and time-outs. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
