import type { Nano } from '../../domain/money.ts';

/**
 * What this process settled and the database has not counted yet, by key: the difference between the database's total and the
 * spend that is shown.
 */
export class UnshippedSpend {
  readonly #byToken = new Map<string, bigint>();
  #notWritten = 0;
  #shippedSeq: number;

  /** Settlements after `ownAfterSeq` are this process's own. */
  constructor(ownAfterSeq: number) {
    this.#shippedSeq = ownAfterSeq;
  }

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

  /** Whether a settlement is still counted here. One that was shipped before, and is sent again, is not. */
  counts(seq: number): boolean {
    return seq > this.#shippedSeq;
  }

  /** The database has counted everything up to `seq`; `spendNano` is how much of it was counted here. */
  shipped(seq: number, spendNano: ReadonlyMap<string, bigint>): void {
    if (seq <= this.#shippedSeq) return;
    this.#shippedSeq = seq;
    for (const [token, nano] of spendNano) {
      const left = (this.#byToken.get(token) ?? 0n) - nano;
      if (left > 0n) this.#byToken.set(token, left);
      else this.#byToken.delete(token);
    }
  }

  /** Nothing written is left to ship: whatever remains is a difference that built up where batches were skipped. */
  allShipped(): void {
    if (this.#notWritten === 0) this.#byToken.clear();
  }
}
