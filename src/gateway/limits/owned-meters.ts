import { grantOf, type Loan } from './lender.ts';
import type { Meter } from './meter.ts';
import type { MeterBook } from './meter-book.ts';
import { AHEAD_SECONDS } from './window-counter.ts';

/** What a ring holds: `[second, count]` of each second that is not empty. */
export type Ring = readonly (readonly [number, number])[];

/** The lending side of the meters that this process owns: other gateway processes of the instance borrow from them. */
export class OwnedMeters {
  readonly #book: MeterBook;
  readonly #monotonicMs: () => number;
  /** What the process that would take over has not heard of yet. */
  readonly #changed = new Set<Meter>();

  constructor(book: MeterBook, monotonicMs: () => number) {
    this.#book = book;
    this.#monotonicMs = monotonicMs;
  }

  lend(borrower: number, key: string, limit: number, need: number, want: number, sharers: number): Loan {
    const meter = this.#used(key);
    const second = this.#second();
    if (meter.kind === 'slots') {
      const remaining = limit - meter.inUse - meter.lentCount;
      const granted = grantOf(remaining, need, want, sharers);
      if (granted > 0) {
        meter.lent ??= new Map();
        meter.lent.set(borrower, (meter.lent.get(borrower) ?? 0) + granted);
      }
      return { granted, second: 0, remaining: Math.max(0, remaining - granted), resetSeconds: 1 };
    }
    const remaining = limit - meter.window.sumAt(second);
    const granted = grantOf(remaining, need, want, sharers);
    // Until it expires at the borrower it may be used at any moment: counted as late as that.
    if (granted > 0) meter.window.add(second + AHEAD_SECONDS, granted);
    const resetSeconds = granted > 0 ? 1 : Math.max(1, meter.window.secondsUntilFree(second, Math.max(1, need), limit));
    return { granted, second: second + AHEAD_SECONDS, remaining: Math.max(0, remaining - granted), resetSeconds };
  }

  takeBack(borrower: number, key: string, second: number, amount: number): void {
    const meter = this.#used(key);
    if (meter.kind !== 'slots') {
      meter.window.sumAt(this.#second());
      meter.window.add(second, -amount);
      return;
    }
    this.claim(borrower, key, Math.max(0, (meter.lent?.get(borrower) ?? 0) - amount));
  }

  charge(key: string, amount: number): void {
    const meter = this.#used(key);
    const second = this.#second();
    meter.window.sumAt(second);
    meter.window.add(second, amount);
  }

  /** The slots that a borrower has, whoever lent them. */
  claim(borrower: number, key: string, slots: number): void {
    const meter = this.#used(key);
    if (slots > 0) {
      meter.lent ??= new Map();
      meter.lent.set(borrower, slots);
    } else meter.lent?.delete(borrower);
  }

  /** Its socket is closed: its calls are over, so are its slots. What it may have used of a window stays counted. */
  forget(borrower: number): void {
    for (const meter of this.#book.meters()) meter.lent?.delete(borrower);
  }

  /** Another process has the truth about this meter from now on. */
  handOver(meter: Meter): Ring {
    meter.lent = null;
    this.#changed.delete(meter);
    return meter.window.entries();
  }

  /** What another owner knew, or knows more than is known here. */
  takeOver(key: string, ring: Ring): void {
    const meter = this.#book.meterOfKey(key);
    meter.lastUsedMs = this.#monotonicMs();
    meter.window.sumAt(this.#second());
    for (const [second, count] of ring) meter.window.raise(second, count);
  }

  noteChange(meter: Meter): void {
    this.#changed.add(meter);
  }

  /** Meters whose windows have changed since it was last asked. */
  takeChanged(): readonly Meter[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  #used(key: string): Meter {
    const meter = this.#book.meterOfKey(key);
    meter.lastUsedMs = this.#monotonicMs();
    if (meter.kind !== 'slots') this.#changed.add(meter);
    return meter;
  }

  #second(): number {
    return Math.floor(this.#monotonicMs() / 1_000);
  }
}
