/** A process that dies is restarted at once the first time, then later and later. */
export const RESTART_DELAY_MAX_MS = 5_000;
/** A process that was healthy for this long starts the count anew when it dies. */
export const HEALTHY_AFTER_MS = 60_000;
const RESTART_DELAY_BASE_MS = 100;

/**
 * How long to wait before the next start, after `failures` deaths in a row. `random` is in [0, 1): full jitter, so that
 * processes that die of the same cause do not come back in step.
 */
export function restartDelayMs(failures: number, random: number): number {
  if (failures <= 1) return 0;
  // The exponent is capped so that a long row of failures stays a finite number.
  const ceiling = Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_BASE_MS * 2 ** Math.min(failures - 1, 16));
  return Math.floor(ceiling * random);
}

/** The count of failures in a row after another death. */
export function countFailure(failures: number, healthyMs: number): number {
  return healthyMs >= HEALTHY_AFTER_MS ? 1 : failures + 1;
}
