import type { Nano } from '../../domain/money.ts';
import type { SettledCall } from './usage-segment.ts';

/**
 * What this process settled and the database has not counted yet, by key: the difference between the database's total and the
 * spend that is shown.
 */
export class UnshippedSpend {
  readonly #byToken = new Map<string, bigint>();
  #notWritten = 0;
  #shippedSeq = 0;

  /** A settlement counts from the moment in which it is made. */
  settling(token: string, costNano: Nano): void {
    this.#notWritten += 1;
    this.#byToken.set(token, (this.#byToken.get(token) ?? 0n) + BigInt(costNano));
  }

  written(): void {
    this.#notWritten -= 1;
  }

  of(token: string): bigint {
    return this.#byToken.get(token) ?? 0n;
  }

  /** In order of their numbers; a call that was counted off before is not counted off twice. */
  shipped(calls: readonly SettledCall[]): void {
    for (const { seq, intent, settlement } of calls) {
      if (seq <= this.#shippedSeq) continue;
      this.#shippedSeq = seq;
      const left = (this.#byToken.get(intent.token) ?? 0n) - BigInt(settlement.costNano);
      if (left > 0n) this.#byToken.set(intent.token, left);
      else this.#byToken.delete(intent.token);
    }
  }

  /** Nothing written is left to ship: whatever remains is a difference that built up where batches were skipped. */
  allShipped(): void {
    if (this.#notWritten === 0) this.#byToken.clear();
  }
}
