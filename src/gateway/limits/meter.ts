import type { Lender } from './lender.ts';
import type { Descriptor } from './limited-subject.ts';
import { WindowCounter } from './window-counter.ts';

export type MeterKind = 'requests' | 'tokens' | 'slots';

/** Use of so long is what a process borrows ahead of need. */
export const BLOCK_MS = 100;
/** Lots of one meter; beyond it the oldest is forgotten, and so stays counted as used. */
const LOTS_MAX = 8;

/** Part of a limit that was borrowed and is not used yet. */
interface Lot {
  amount: number;
  /** Where the lender has counted it. */
  readonly second: number;
  readonly expiresAtMs: number;
}

/**
 * One quantity of one subject in this process. At its authority (this process, when it owns the subject) `window` and `lent` are the truth; at
 * another one `lots` and `idle` are what may be used here without asking.
 */
export class Meter {
  readonly kind: MeterKind;
  /** The same in every process. */
  readonly key: string;
  readonly window: WindowCounter;
  /** Slots: calls of this process that are under way. */
  inUse = 0;
  /** Slots that were borrowed for calls to come. */
  idle = 0;
  /** Slots by borrower; null: none was ever lent. */
  lent: Map<number, number> | null = null;
  /** The lender that knows of our slots; null: this process, undefined: nobody yet. */
  slotLender: Lender | null | undefined = undefined;
  /** A question for a block is under way, at most until then. */
  askingUntilMs = 0;
  /** The lender had nothing: not asked again before. */
  emptyUntilMs = 0;
  /** What the lender last said was left. */
  remaining: number | null = null;
  resetSeconds = 1;
  lastUsedMs = 0;
  /** While Redis is away: no more than this until then, because others may have used the rest of the window. 0: not said yet. */
  cap = 0;
  capUntilMs = 0;
  readonly #lots: Lot[] = [];
  #step = 0;
  #stepUse = 0;
  #stepUseBefore = 0;

  constructor(descriptor: Descriptor, id: string, kind: MeterKind, windowSeconds: number) {
    this.kind = kind;
    this.key = `${descriptor}|${kind}|${id}`;
    this.window = new WindowCounter(kind === 'slots' ? 0 : windowSeconds);
  }

  get lentCount(): number {
    let count = 0;
    if (this.lent !== null) for (const slots of this.lent.values()) count += slots;
    return count;
  }

  /** Borrowed and usable at this moment. */
  held(nowMs: number): number {
    if (this.kind === 'slots') return this.idle;
    let held = 0;
    for (const lot of this.#lots) if (lot.expiresAtMs > nowMs) held += lot.amount;
    return held;
  }

  addLot(amount: number, second: number, expiresAtMs: number): void {
    if (amount <= 0) return;
    if (this.#lots.length >= LOTS_MAX) this.#lots.shift();
    this.#lots.push({ amount, second, expiresAtMs });
  }

  /** Uses `amount` of what is held, oldest first. Returns the second that a correction of it belongs to: the oldest, which leaves the window first. */
  use(amount: number, nowMs: number): number {
    let second = 0;
    let left = amount;
    for (const lot of this.#lots) {
      if (left <= 0) break;
      if (lot.expiresAtMs <= nowMs || lot.amount <= 0) continue;
      if (second === 0) second = lot.second;
      const used = Math.min(left, lot.amount);
      lot.amount -= used;
      left -= used;
    }
    while (this.#lots.length > 0 && this.#lots[0]!.amount <= 0) this.#lots.shift();
    return second;
  }

  /** Takes out what has expired; all of it when `nowMs` is Infinity. */
  expire(nowMs: number, giveBack: (second: number, amount: number) => void): void {
    while (this.#lots.length > 0 && this.#lots[0]!.expiresAtMs <= nowMs) {
      const lot = this.#lots.shift()!;
      if (lot.amount > 0) giveBack(lot.second, lot.amount);
    }
  }

  noteUse(amount: number, nowMs: number): void {
    this.lastUsedMs = nowMs;
    const step = Math.floor(nowMs / BLOCK_MS);
    if (step !== this.#step) {
      this.#stepUseBefore = step === this.#step + 1 ? this.#stepUse : 0;
      this.#stepUse = 0;
      this.#step = step;
    }
    this.#stepUse += amount;
  }

  /** Use in the last tenth of a second or so. */
  get block(): number {
    return Math.max(this.#stepUse, this.#stepUseBefore);
  }

  /** Nothing that another look could need. */
  isIdle(nowMs: number, second: number): boolean {
    return (
      this.inUse === 0 &&
      this.idle === 0 &&
      this.#lots.length === 0 &&
      this.askingUntilMs <= nowMs &&
      this.lentCount === 0 &&
      nowMs - this.lastUsedMs > IDLE_MS &&
      (this.kind === 'slots' || this.window.sumAt(second) <= 0)
    );
  }
}

const IDLE_MS = 2_000;
