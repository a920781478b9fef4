import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countFailure, HEALTHY_AFTER_MS, RESTART_DELAY_MAX_MS, restartDelayMs } from './restart-backoff.ts';

describe('restarts', () => {
  it('are immediate the first time and never later than the maximum', () => {
    expect(restartDelayMs(1, 0.99)).toBe(0);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e9 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (failures, random) => {
          const delayMs = restartDelayMs(failures, random);
          return delayMs >= 0 && delayMs < RESTART_DELAY_MAX_MS;
        },
      ),
    );
  });

  it('come later with each failure in a row, until they come at the maximum', () => {
    const ceilings = [2, 3, 4, 5, 6, 7, 8, 20].map((failures) => restartDelayMs(failures, 1));
    expect(ceilings).toEqual([200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
  });

  it('start anew after a process was healthy for a while', () => {
    expect(countFailure(7, HEALTHY_AFTER_MS)).toBe(1);
    expect(countFailure(7, HEALTHY_AFTER_MS - 1)).toBe(8);
  });
});
