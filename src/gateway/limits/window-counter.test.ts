import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WindowCounter } from './window-counter.ts';

const WINDOW_SECONDS = 5;

describe('a window counter', () => {
  it('adds up exactly what a list of all events says, whatever the order of steps, corrections and pauses', () => {
    const step = fc.record({
      pause: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 4, max: 40 })),
      amount: fc.integer({ min: 1, max: 50 }),
      correctAge: fc.option(fc.integer({ min: 0, max: 9 })),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3e9 }), fc.array(step, { maxLength: 60 }), (start, steps) => {
        const counter = new WindowCounter(WINDOW_SECONDS);
        const events: { second: number; amount: number }[] = [];
        let now = start;
        for (const { pause, amount, correctAge } of steps) {
          now += pause;
          const expected = (): number =>
            events.reduce((sum, event) => (event.second >= now - WINDOW_SECONDS ? sum + event.amount : sum), 0);
          expect(counter.sumAt(now)).toBe(expected());
          counter.add(now, amount);
          events.push({ second: now, amount });
          if (correctAge !== null && now - correctAge >= 0) {
            const second = now - correctAge;
            if (counter.add(second, -1)) events.push({ second, amount: -1 });
            else expect(correctAge).toBeGreaterThan(WINDOW_SECONDS);
          }
          expect(counter.sumAt(now)).toBe(expected());
        }
      }),
      { numRuns: 500 },
    );
  });

  it('says when something fits again', () => {
    const counter = new WindowCounter(WINDOW_SECONDS);
    counter.sumAt(100);
    counter.add(100, 3);
    counter.sumAt(102);
    counter.add(102, 7);
    const seconds = counter.secondsUntilFree(102, 3, 10);
    expect(counter.sumAt(102 + seconds) + 3).toBeLessThanOrEqual(10);
    expect(seconds).toBe(4);
    expect(counter.secondsUntilFree(102, 100, 10)).toBe(WINDOW_SECONDS);
  });

  it('counts what is lent in the second in which it can be used last', () => {
    const counter = new WindowCounter(WINDOW_SECONDS);
    counter.sumAt(10);
    counter.add(11, 4);
    expect(counter.sumAt(16)).toBe(4);
    expect(counter.sumAt(17)).toBe(0);
  });

  it('takes from another process only what is more than it knows', () => {
    const counter = new WindowCounter(WINDOW_SECONDS);
    counter.sumAt(10);
    counter.add(10, 4);
    for (const [second, count] of [
      [10, 3],
      [9, 2],
      [11, 1],
      [1, 100],
    ] as const)
      counter.raise(second, count);
    expect(counter.sumAt(10)).toBe(7);
    expect(counter.entries()).toEqual([
      [9, 2],
      [10, 4],
      [11, 1],
    ]);
  });

  it('knows when there is room again, also for what was counted when the clock began', () => {
    for (const counted of [0, 1, 30, 100]) {
      const counter = new WindowCounter(60);
      counter.sumAt(counted);
      counter.add(counted, 2);
      expect(counter.secondsUntilFree(counted, 1, 2)).toBe(61);
    }
  });
});
