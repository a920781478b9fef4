import type { Clock } from './clock.ts';

/** Wall and monotonic clock may disagree by so much between two readings; more is a clock that was set or a machine that was suspended. */
export const CLOCK_DISAGREEMENT_MAX_MS = 1_000;

/**
 * A clock whose monotonic time also counts a suspension of the machine, during which the operating system's stands still. It is read off the
 * wall clock: when that has advanced by more than the monotonic one since the last reading, the difference is added. A wall clock that was
 * merely set forward looks the same and makes ages larger than they are; one that was set back is never believed.
 */
export class ElapsedClock implements Clock {
  readonly #clock: Clock;
  #lastWallMs: number;
  #lastMonotonicMs: number;
  #suspendedMs = 0;
  #disagreedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastWallMs = clock.nowMs();
    this.#lastMonotonicMs = clock.monotonicMs();
  }

  // Functions that may be handed on without the object, as those of `systemClock` are.
  readonly nowMs = (): number => this.#clock.nowMs();

  readonly monotonicMs = (): number => {
    const wallMs = this.#clock.nowMs();
    const monotonicMs = this.#clock.monotonicMs();
    const aheadMs = wallMs - this.#lastWallMs - (monotonicMs - this.#lastMonotonicMs);
    this.#lastWallMs = wallMs;
    this.#lastMonotonicMs = monotonicMs;
    if (aheadMs > CLOCK_DISAGREEMENT_MAX_MS) this.#suspendedMs += aheadMs;
    const nowMs = monotonicMs + this.#suspendedMs;
    if (aheadMs > CLOCK_DISAGREEMENT_MAX_MS || aheadMs < -CLOCK_DISAGREEMENT_MAX_MS) this.#disagreedAtMs = nowMs;
    return nowMs;
  };

  /** `monotonicMs` of the last reading that found the two clocks in disagreement; before the first, minus infinity. */
  get disagreedAtMs(): number {
    return this.#disagreedAtMs;
  }
}
