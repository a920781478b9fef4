import type { Lender } from './lender.ts';
import type { LimitedSubject } from './limited-subject.ts';
import type { Meter } from './meter.ts';
import type { SubjectMeters } from './meter-book.ts';
import type { TokenEstimate } from './token-estimate.ts';

/** What a call took of one meter. */
export interface Charge {
  readonly meter: Meter;
  readonly lender: Lender | null;
  /** Where it is counted; 0: it can not be taken back. */
  readonly second: number;
  readonly reserved: number;
}

/** A call was admitted. `RateLimits.settle` ends it. */
export class Permit {
  readonly subjects: readonly LimitedSubject[];
  readonly second: number;
  readonly estimate: TokenEstimate;
  /** Null when all of it was counted here, in `second`. */
  readonly charges: readonly Charge[] | null;
  /** Of the subjects, in their order, when all was counted here. */
  readonly meters: readonly SubjectMeters[];
  settled = false;

  constructor(
    subjects: readonly LimitedSubject[],
    second: number,
    estimate: TokenEstimate,
    charges: readonly Charge[] | null,
    meters: readonly SubjectMeters[],
  ) {
    this.subjects = subjects;
    this.second = second;
    this.estimate = estimate;
    this.charges = charges;
    this.meters = meters;
  }
}
