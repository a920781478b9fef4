import type { Nano } from '../../domain/money.ts';

/** Time constant of the spend rate. */
export const RATE_WINDOW_MS = 10_000;

/** What one gateway process holds of a ledger in one period. Nano-dollars; docs/specs/budget-leases.md. */
export class Pot {
  readonly ledger: string;
  readonly periodStartMs: number;
  /** Clock of the process, like all times in here. */
  startsAtMs: number;
  endsAtMs: number;
  /** Granted and not returned. */
  amountNano: number;
  /** Settled. */
  usedNano = 0;
  /** In flight. */
  reservedNano = 0;
  lastUsedMs: number;
  largestEstimateNano = 0;
  #rateNanoPerMs = 0;
  #ratedAtMs: number;

  constructor(ledger: string, periodStartMs: number, startsAtMs: number, endsAtMs: number, nowMs: number) {
    this.ledger = ledger;
    this.periodStartMs = periodStartMs;
    this.startsAtMs = startsAtMs;
    this.endsAtMs = endsAtMs;
    this.amountNano = 0;
    this.lastUsedMs = nowMs;
    this.#ratedAtMs = nowMs;
  }

  /** Negative after an overdraft, or a call that cost more than its estimate. */
  get roomNano(): number {
    return this.amountNano - this.usedNano - this.reservedNano;
  }

  reserve(estimateNano: Nano, nowMs: number): void {
    this.reservedNano += estimateNano;
    this.lastUsedMs = nowMs;
    if (estimateNano > this.largestEstimateNano) this.largestEstimateNano = estimateNano;
    this.#rateNanoPerMs = this.rateNanoPerMs(nowMs) + estimateNano / RATE_WINDOW_MS;
    this.#ratedAtMs = nowMs;
  }

  settle(estimateNano: Nano, costNano: Nano): void {
    this.reservedNano -= estimateNano;
    this.usedNano += costNano;
  }

  /** Never below what is used or in flight: that is not ours to return any more. Returns whether it became less. */
  lowerTo(amountNano: number): boolean {
    const lowest = Math.max(amountNano, this.usedNano + this.reservedNano);
    if (lowest >= this.amountNano) return false;
    this.amountNano = lowest;
    return true;
  }

  rateNanoPerMs(nowMs: number): number {
    return this.#rateNanoPerMs * Math.exp(-(nowMs - this.#ratedAtMs) / RATE_WINDOW_MS);
  }
}
