import { describe, expect, it } from 'vitest';
import { CLOCK_DISAGREEMENT_MAX_MS, ElapsedClock } from './elapsed-clock.ts';

class Clocks {
  wallMs = 1.7e12;
  monotonic = 5_000;
  nowMs = () => this.wallMs;
  monotonicMs = () => this.monotonic;

  pass(wallMs: number, monotonicMs = wallMs): void {
    this.wallMs += wallMs;
    this.monotonic += monotonicMs;
  }
}

function start() {
  const clocks = new Clocks();
  return { clocks, clock: new ElapsedClock(clocks) };
}

describe('ElapsedClock', () => {
  it('is the monotonic clock while both go evenly, however long a process is stopped', () => {
    const { clocks, clock } = start();
    for (const ms of [1, 250, 86_400_000]) {
      clocks.pass(ms);
      expect(clock.monotonicMs()).toBe(clocks.monotonic);
    }
    expect(clock.disagreedAtMs).toBe(Number.NEGATIVE_INFINITY);
  });

  it('counts a suspension of the machine, once', () => {
    const { clocks, clock } = start();
    clocks.pass(3_600_100, 100);
    expect(clock.monotonicMs()).toBe(clocks.monotonic + 3_600_000);
    expect(clock.disagreedAtMs).toBe(clock.monotonicMs());
    clocks.pass(1_000);
    expect(clock.monotonicMs()).toBe(clocks.monotonic + 3_600_000);
    expect(clock.disagreedAtMs).toBe(clock.monotonicMs() - 1_000);
  });

  it('never goes back when the wall clock does, and says that they disagree', () => {
    const { clocks, clock } = start();
    clocks.pass(-3_600_000, 100);
    expect(clock.monotonicMs()).toBe(clocks.monotonic);
    expect(clock.disagreedAtMs).toBe(clocks.monotonic);
  });

  it('takes small differences for what they are: one reading after the other, and a clock that is slewed', () => {
    const { clocks, clock } = start();
    for (let second = 0; second < 86_400; second++) {
      clocks.pass(1_000.5, 1_000);
      clock.monotonicMs();
    }
    clocks.pass(CLOCK_DISAGREEMENT_MAX_MS, 0);
    expect(clock.monotonicMs()).toBe(clocks.monotonic);
    expect(clock.disagreedAtMs).toBe(Number.NEGATIVE_INFINITY);
  });
});
