import type { Nano } from '../../domain/money.ts';
import type { Clock } from '../../util/clock.ts';
import type { Lack, LeaseTable, LedgerUse, Reservation } from './lease-table.ts';

/** A call that lacks money waits so long for the control plane, once. */
export const LEASE_WAIT_MS = 300;
/** Calls that wait at the same time. One more is refused at once as not reachable. */
export const LEASE_WAITERS_MAX = 10_000;

/** Called back once; an object and not a closure, because there is one per attempt. */
export interface BudgetWaiter {
  onReserved(reservation: Reservation): void;
  /** `unreachable`: the control plane did not say in time. */
  onLacking(lack: Lack, unreachable: boolean): void;
}

export interface BudgetsOptions {
  readonly table: LeaseTable;
  readonly client: { readonly isAnswered: boolean; askNow(): void };
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Runs `callback` after `delayMs`; returns what cancels it. */
  readonly schedule?: (callback: () => void, delayMs: number) => () => void;
}

/** Counted since the process started. */
export interface BudgetCounts {
  reserved: number;
  waited: number;
  spent: number;
  short: number;
  unreachable: number;
  overdraft: number;
}

/** What the request path sees of budgets: an estimate is reserved at once or after one short wait, or it is said which budget lacks. */
export class Budgets {
  readonly counts: BudgetCounts = { reserved: 0, waited: 0, spent: 0, short: 0, unreachable: 0, overdraft: 0 };
  readonly #options: BudgetsOptions;
  readonly #waiting = new Set<Waiting>();
  readonly #schedule: NonNullable<BudgetsOptions['schedule']>;

  constructor(options: BudgetsOptions) {
    this.#options = options;
    this.#schedule = options.schedule ?? scheduleTimer;
  }

  /** Synchronous. Null: `waiter` is called back, never before this returns. */
  reserve(uses: readonly LedgerUse[], estimateNano: Nano, waiter: BudgetWaiter): Reservation | Lack | null {
    const { table, client, clock } = this.#options;
    const result = table.reserve(uses, estimateNano, clock.monotonicMs());
    if ('pots' in result) {
      this.counts.reserved += 1;
      return result;
    }
    if (result.reason !== 'unasked') return this.#refused(result);
    if (!client.isAnswered || this.#waiting.size >= LEASE_WAITERS_MAX) {
      const beyond = this.#overdraw(uses, estimateNano);
      if ('pots' in beyond) return beyond;
      this.counts.unreachable += 1;
      return result;
    }
    this.#wait(uses, estimateNano, waiter);
    return null;
  }

  /** The client of a call that waits is gone. */
  abandon(waiter: BudgetWaiter): void {
    for (const waiting of this.#waiting) if (waiting.waiter === waiter) this.#end(waiting);
  }

  /** Clock of all times in reservations and lacks. */
  nowMs(): number {
    return this.#options.clock.monotonicMs();
  }

  settle(reservation: Reservation, costNano: Nano): void {
    this.#options.table.settle(reservation, costNano);
  }

  /** An ask was answered, or could not be. */
  progressed(): void {
    const { table, client, clock } = this.#options;
    for (const waiting of this.#waiting) {
      const result = table.reserve(waiting.uses, waiting.estimateNano, clock.monotonicMs());
      if ('pots' in result) {
        this.#end(waiting);
        this.counts.reserved += 1;
        waiting.waiter.onReserved(result);
      } else if (result.reason !== 'unasked') {
        this.#end(waiting);
        waiting.waiter.onLacking(this.#refused(result), result.reason === 'learning' || result.reason === 'terms');
      } else if (!client.isAnswered) this.#giveUp(waiting);
    }
    if (this.#waiting.size > 0) client.askNow();
  }

  #wait(uses: readonly LedgerUse[], estimateNano: Nano, waiter: BudgetWaiter): void {
    const { table, client } = this.#options;
    const waiting: Waiting = { uses, estimateNano, waiter, cancel: () => undefined };
    waiting.cancel = this.#schedule(() => this.#giveUp(waiting), LEASE_WAIT_MS);
    this.#waiting.add(waiting);
    this.counts.waited += 1;
    for (const use of uses) table.startWaiting(use, estimateNano);
    client.askNow();
  }

  #giveUp(waiting: Waiting): void {
    this.#end(waiting);
    const result = this.#overdraw(waiting.uses, waiting.estimateNano);
    if ('pots' in result) {
      waiting.waiter.onReserved(result);
      return;
    }
    this.counts.unreachable += 1;
    waiting.waiter.onLacking(result, true);
  }

  /** The control plane is away: what the budgets declare for that counts. */
  #overdraw(uses: readonly LedgerUse[], estimateNano: Nano): Reservation | Lack {
    const result = this.#options.table.reserve(uses, estimateNano, this.#options.clock.monotonicMs(), true);
    if ('pots' in result) this.counts.overdraft += 1;
    return result;
  }

  #end(waiting: Waiting): void {
    if (!this.#waiting.delete(waiting)) return;
    waiting.cancel();
    for (const use of waiting.uses) this.#options.table.stopWaiting(use, waiting.estimateNano);
  }

  #refused(lack: Lack): Lack {
    if (lack.reason === 'spent') this.counts.spent += 1;
    else if (lack.reason === 'short') this.counts.short += 1;
    else this.counts.unreachable += 1;
    return lack;
  }
}

interface Waiting {
  readonly uses: readonly LedgerUse[];
  readonly estimateNano: Nano;
  readonly waiter: BudgetWaiter;
  cancel: () => void;
}

function scheduleTimer(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
}
