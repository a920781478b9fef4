import type { Meter } from './meter.ts';

export interface Want {
  readonly meter: Meter;
  /** As the borrower knows it; in force at once. */
  readonly limit: number;
  /** Less than this is of no use; 0: a block ahead of need. */
  readonly need: number;
  /** At most this. */
  readonly want: number;
}

/** What a lender answers. */
export interface Loan {
  readonly granted: number;
  /** Where it is counted until it leaves the window. */
  readonly second: number;
  /** What is left after it. */
  readonly remaining: number;
  /** Seconds until what was needed fits, when it was not granted. */
  readonly resetSeconds: number;
}

/** Nobody was there to ask, or it is not the one to ask any more. */
export const NO_LOAN: Loan = { granted: 0, second: 0, remaining: 0, resetSeconds: 1 };

/** Whoever has the truth about a meter when it is not this process: another gateway process of the instance, or Redis. */
export interface Lender {
  /** How long a call may wait for its answer. */
  readonly waitMs: number;
  /** `done` is called at most once; late answers count. */
  ask(want: Want, done: (loan: Loan) => void): void;
  /** What was borrowed and not used, or reserved and not needed. Of slots `second` means nothing. */
  giveBack(meter: Meter, second: number, amount: number): void;
  /** What was used beyond what was borrowed; counted whatever the limit says. */
  charge(meter: Meter, amount: number): void;
  /** All slots that this process has, to a lender that does not know. */
  claim(meter: Meter, slots: number): void;
}

/** How much of what is left goes to a borrower: what it needs, if it fits; ahead of need only its part, so that nobody starves at the end. */
export function grantOf(remaining: number, need: number, want: number, sharers: number): number {
  if (remaining < need || remaining <= 0) return 0;
  const part = Math.floor(remaining / (2 * Math.max(1, sharers)));
  return Math.max(need, Math.min(want, part));
}
