import { type BudgetTerms, PLAIN_TERMS } from '../../domain/budget-terms.ts';
import { bigNanoFromDollars, NANO_PER_DOLLAR, type Nano } from '../../domain/money.ts';
import type { Charge } from '../../domain/usage.ts';
import type { LeaseGrant, LeaseRefusal, LeaseReply, LeaseWish, PotAmount } from '../../feed/protocol.ts';
import { Pot } from './pot.ts';

/** A pot is filled up to what its process spends in this time, unless `offline_reserve` says more. */
export const TARGET_MS = 20_000;
/** Of the target; with less room a pot is filled ahead of need. */
export const REFILL_BELOW = 0.3;
/** A pot that nobody has used for this long is returned. */
export const IDLE_RETURN_MS = 60_000;
/** The pot of the next period is asked for this long before the current one ends. */
export const PREGRANT_AHEAD_MS = 300_000;
/** So long a refusal answers for its ledger: a spent budget under load is one ask per second, not one per call. */
export const REFUSAL_MEMORY_MS = 1_000;
/** A starter lease is at most this part of what is free. */
export const STARTER_SHARE_DIVISOR = 1_000;
/** Period of a charge that no lease stands behind (overdraft without a pot): the database settles it in the current one. */
export const NO_PERIOD = -1;

/** One budget that a call may be paid from; `terms.models` says whether it is. */
export interface LedgerUse {
  readonly ledger: string;
  readonly terms: BudgetTerms;
  /** For terms of a budget object: the ledger id of that object's terms, where they are stored. */
  readonly template: string | null;
  /** The terms are configured in a file of this instance; the control plane hears of them with each wish. */
  readonly isConfigured?: boolean;
}

/** What a call holds from its reservation to its settlement. */
export interface Reservation {
  readonly pots: readonly Pot[];
  readonly charges: readonly Charge[];
  readonly estimateNano: Nano;
}

/** Why a ledger can not pay. unasked: not known yet, an ask may help. */
export interface Lack {
  readonly use: LedgerUse;
  readonly reason: 'unasked' | LeaseRefusal;
  readonly maxNano: bigint;
  readonly settledNano: bigint;
  /** Clock of the process; null = no reset. */
  readonly resetsAtMs: number | null;
}

interface Refusal {
  readonly kind: LeaseRefusal;
  readonly untilMs: number;
  readonly maxNano: bigint;
  readonly settledNano: bigint;
  readonly resetsAtMs: number | null;
}

/** What is known of one ledger. */
class Ledger {
  use: LedgerUse;
  current: Pot | null = null;
  next: Pot | null = null;
  /** Periods that are over, with calls in flight. */
  readonly ended: Pot[] = [];
  refusal: Refusal | null = null;
  /** Sum of the estimates of calls that wait now. */
  waitingNano = 0;
  recalled = false;

  constructor(use: LedgerUse) {
    this.use = use;
  }

  pot(nowMs: number): Pot | null {
    const { current, next } = this;
    if (current !== null && nowMs < current.endsAtMs) return current;
    if (current !== null) {
      if (current.reservedNano > 0) this.ended.push(current);
      this.current = null;
    }
    if (next !== null && nowMs >= next.startsAtMs) {
      this.current = next;
      this.next = null;
      return this.pot(nowMs);
    }
    return null;
  }

  potOf(periodStartMs: number): Pot | undefined {
    for (const pot of [this.current, this.next, ...this.ended]) if (pot?.periodStartMs === periodStartMs) return pot;
    return undefined;
  }
}

/** The wishes and returns of one ask. */
export interface AskContents {
  readonly wishes: LeaseWish[];
  readonly returns: PotAmount[];
}

export interface PotState {
  readonly ledger: string;
  readonly periodStartMs: number;
  readonly startsAtMs: number;
  readonly endsAtMs: number | null;
  readonly amountNano: number;
  readonly usedNano: number;
}

/**
 * The pots of one gateway process. Synchronous and without I/O: what it believes to hold is changed by `reserve`, `settle` and replies only, and
 * is at no moment more than the control plane has granted.
 */
export class LeaseTable {
  readonly #ledgers = new Map<string, Ledger>();
  /** Ledgers that calls wait for; they come first in an ask. */
  readonly #waiting = new Set<Ledger>();

  /**
   * Takes the estimate from each budget, or from none: then it says what lacks. `overdraft`: the control plane can not be reached, so that the declared
   * `offline_overdraft_usd` counts as room.
   */
  reserve(uses: readonly LedgerUse[], estimateNano: Nano, nowMs: number, overdraft = false): Reservation | Lack {
    const pots: Pot[] = [];
    for (const use of uses) {
      const ledger = this.#ledgerOf(use);
      const pot =
        ledger.pot(nowMs) ?? (overdraft && use.terms.offlineOverdraftUsd > 0 ? openUnleased(ledger, nowMs) : null);
      const extraNano = overdraft ? use.terms.offlineOverdraftUsd * NANO_PER_DOLLAR : 0;
      if (pot === null || pot.roomNano + extraNano < estimateNano || blocksAll(use.terms)) {
        return lackOf(ledger, nowMs);
      }
      pots.push(pot);
    }
    for (const pot of pots) pot.reserve(estimateNano, nowMs);
    return { pots, charges: pots.map((pot) => [pot.ledger, pot.periodStartMs]), estimateNano };
  }

  settle({ pots, estimateNano }: Reservation, costNano: Nano): void {
    for (const pot of pots) {
      pot.settle(estimateNano, costNano);
      if (pot.reservedNano === 0) this.#forgetEnded(pot);
    }
  }

  /** Calls wait for this ledger, and what they need is part of the next ask. Call `stopWaiting` with the same amount. */
  startWaiting(use: LedgerUse, estimateNano: Nano): void {
    const ledger = this.#ledgerOf(use);
    ledger.waitingNano += estimateNano;
    this.#waiting.add(ledger);
  }

  stopWaiting(use: LedgerUse, estimateNano: Nano): void {
    const ledger = this.#ledgerOf(use);
    ledger.waitingNano -= estimateNano;
    if (ledger.waitingNano <= 0) this.#waiting.delete(ledger);
  }

  /** The terms of these ledgers changed or are gone: what was refused may be allowed now. */
  termsChanged(ledgers: Iterable<string>): void {
    for (const id of ledgers) {
      const ledger = this.#ledgers.get(id);
      if (ledger !== undefined) ledger.refusal = null;
    }
  }

  /** What is to be said to the control plane now; lowers the pots that it returns, all of them when the process is leaving. Null: nothing. */
  composeAsk(nowMs: number, itemsMax: number, leaving = false): AskContents | null {
    const wishes: LeaseWish[] = [];
    const returns: PotAmount[] = [];
    for (const ledger of this.#waiting) {
      if (wishes.length >= itemsMax) break;
      const wish = wishFor(ledger, ledger.pot(nowMs), nowMs);
      if (wish !== null) wishes.push(wish);
    }
    for (const ledger of this.#ledgers.values()) {
      // Two are left for the wishes of the last one.
      if (wishes.length + returns.length + 2 > itemsMax) break;
      const pot = ledger.pot(nowMs);
      this.#return(ledger, pot, nowMs, returns, leaving);
      if (leaving) continue;
      const wish = this.#waiting.has(ledger) ? null : wishFor(ledger, pot, nowMs);
      if (wish !== null) wishes.push(wish);
      const ahead = wishAhead(ledger, pot, nowMs);
      if (ahead !== null) wishes.push(ahead);
      if (isForgettable(ledger, nowMs)) this.#ledgers.delete(ledger.use.ledger);
    }
    return wishes.length === 0 && returns.length === 0 ? null : { wishes, returns };
  }

  /** Takes in a reply. `receivedAtMs`: on the clock of the process. */
  applyReply(reply: Extract<LeaseReply, { ok: true }>, wishes: readonly LeaseWish[], receivedAtMs: number): void {
    for (const [index, grant] of reply.grants.entries()) this.#grant(grant, wishes[index] ?? null, receivedAtMs);
    for (const { ledger } of reply.recalled) {
      const known = this.#ledgers.get(ledger);
      if (known !== undefined) known.recalled = true;
    }
    for (const { ledger, periodStartMs } of reply.closed) this.#ledgers.get(ledger)?.potOf(periodStartMs)?.lowerTo(0);
  }

  pots(): PotState[] {
    const states: PotState[] = [];
    for (const { current, next, ended } of this.#ledgers.values()) {
      for (const pot of [current, next, ...ended]) if (pot !== null) states.push(stateOf(pot));
    }
    return states;
  }

  /** A pot that was there before the process was. Its terms come with the first call that uses it. */
  restore(state: PotState, use: LedgerUse, nowMs: number): void {
    const ledger = this.#ledgerOf(use);
    const endsAtMs = state.endsAtMs ?? Number.POSITIVE_INFINITY;
    const pot = new Pot(state.ledger, state.periodStartMs, state.startsAtMs, endsAtMs, nowMs);
    pot.amountNano = state.amountNano;
    pot.usedNano = state.usedNano;
    if (state.startsAtMs > nowMs) ledger.next = pot;
    else ledger.current = pot;
  }

  lower(ledger: string, periodStartMs: number, amountNano: number): void {
    this.#ledgers.get(ledger)?.potOf(periodStartMs)?.lowerTo(amountNano);
  }

  /** Less is spent than could be, never more. */
  takeAsSpent(): void {
    for (const { current, next } of this.#ledgers.values()) {
      for (const pot of [current, next]) if (pot !== null) pot.usedNano = Math.max(pot.usedNano, pot.amountNano);
    }
  }

  /** Spend of an earlier process that its last checkpoint did not have. */
  addUsed(charges: readonly Charge[], costNano: Nano): void {
    for (const [ledger, periodStartMs] of charges) {
      const pot = this.#ledgers.get(ledger)?.potOf(periodStartMs);
      if (pot !== undefined) pot.usedNano += costNano;
    }
  }

  #ledgerOf(use: LedgerUse): Ledger {
    let ledger = this.#ledgers.get(use.ledger);
    if (ledger === undefined) {
      ledger = new Ledger(use);
      this.#ledgers.set(use.ledger, ledger);
    } else if (ledger.use !== use) {
      if (ledger.use.terms !== use.terms) ledger.refusal = null;
      ledger.use = use;
    }
    return ledger;
  }

  #grant(grant: LeaseGrant, wish: LeaseWish | null, receivedAtMs: number): void {
    const known = this.#ledgers.get(grant.ledger);
    const ledger = known ?? this.#ledgerOf(unknownUse(grant.ledger, wish?.duration));
    const endsAtMs = grant.endsInMs === null ? Number.POSITIVE_INFINITY : receivedAtMs + grant.endsInMs;
    if (grant.refusal !== null) {
      if (wish?.next === true) return;
      ledger.refusal = {
        kind: grant.refusal,
        untilMs: Math.min(receivedAtMs + REFUSAL_MEMORY_MS, endsAtMs),
        maxNano: BigInt(grant.maxNano),
        settledNano: BigInt(grant.settledNano),
        resetsAtMs: grant.endsInMs === null ? null : endsAtMs,
      };
      return;
    }
    if (wish?.next !== true) ledger.refusal = null;
    let pot = ledger.potOf(grant.periodStartMs);
    if (pot === undefined) {
      pot = new Pot(grant.ledger, grant.periodStartMs, receivedAtMs + grant.startsInMs, endsAtMs, receivedAtMs);
      // A period that the control plane has begun ends the one before, whatever our clock says.
      if (grant.startsInMs > 0) ledger.next = pot;
      else {
        if (ledger.current !== null && ledger.current.reservedNano > 0) ledger.ended.push(ledger.current);
        ledger.current = pot;
      }
    }
    pot.amountNano += Number(grant.grantedNano);
    pot.endsAtMs = endsAtMs;
  }

  /**
   * Of an idle pot as much is kept as a starter lease would give back a minute later, of a recalled one what its process needs in a second.
   */
  #return(ledger: Ledger, pot: Pot | null, nowMs: number, returns: PotAmount[], leaving: boolean): void {
    if (pot === null) return;
    const idle = nowMs - pot.lastUsedMs >= IDLE_RETURN_MS && ledger.use.terms.offlineReserveMs === 0;
    const { recalled } = ledger;
    ledger.recalled = false;
    if (!(idle || recalled || leaving) || pot.roomNano <= 0) return;
    const keptNano = leaving
      ? 0
      : idle
        ? (ledger.use.terms.maxBudget * NANO_PER_DOLLAR) / STARTER_SHARE_DIVISOR
        : Math.ceil(pot.rateNanoPerMs(nowMs) * 1_000);
    if (!pot.lowerTo(pot.usedNano + pot.reservedNano + keptNano)) return;
    returns.push({ ledger: pot.ledger, periodStartMs: pot.periodStartMs, amountNano: String(pot.amountNano) });
  }

  #forgetEnded(pot: Pot): void {
    const ended = this.#ledgers.get(pot.ledger)?.ended;
    const at = ended?.indexOf(pot) ?? -1;
    if (at !== -1) ended!.splice(at, 1);
  }
}

function lackOf(ledger: Ledger, nowMs: number): Lack {
  const { use, refusal } = ledger;
  if (blocksAll(use.terms)) {
    return { use, reason: 'spent', maxNano: 0n, settledNano: 0n, resetsAtMs: null };
  }
  if (refusal === null || nowMs >= refusal.untilMs) {
    return { use, reason: 'unasked', maxNano: 0n, settledNano: 0n, resetsAtMs: null };
  }
  const { kind, maxNano, settledNano, resetsAtMs } = refusal;
  return { use, reason: kind, maxNano, settledNano, resetsAtMs };
}

/** Nobody needs to be asked. */
function blocksAll({ maxBudget, temporaryIncrease }: BudgetTerms): boolean {
  return maxBudget === 0 && temporaryIncrease === undefined;
}

function openUnleased(ledger: Ledger, nowMs: number): Pot {
  const pot = new Pot(ledger.use.ledger, NO_PERIOD, nowMs, Number.POSITIVE_INFINITY, nowMs);
  ledger.current = pot;
  return pot;
}

function wishFor(ledger: Ledger, pot: Pot | null, nowMs: number): LeaseWish | null {
  const { use, waitingNano, refusal } = ledger;
  if (blocksAll(use.terms)) return null;
  const rate = pot?.rateNanoPerMs(nowMs) ?? 0;
  const { offlineReserveMs } = use.terms;
  const targetNano = Math.ceil(rate * Math.max(TARGET_MS, offlineReserveMs)) + (pot?.largestEstimateNano ?? 0);
  const room = pot?.roomNano ?? 0;
  const isAsked = waitingNano > room;
  if (!isAsked) {
    const isLow = pot !== null && rate > 0 && room < targetNano * REFILL_BELOW;
    if (!isLow || (refusal !== null && nowMs < refusal.untilMs)) return null;
  }
  const needNano = isAsked ? Math.ceil(waitingNano - Math.min(room, waitingNano)) : 0;
  return wish(use, false, needNano, Math.max(needNano, Math.ceil(targetNano - room)), rate);
}

/** The pot of the next period, when the present one will end soon and is used. */
function wishAhead(ledger: Ledger, pot: Pot | null, nowMs: number): LeaseWish | null {
  if (pot === null || ledger.next !== null || pot.endsAtMs - nowMs > PREGRANT_AHEAD_MS) return null;
  const rate = pot.rateNanoPerMs(nowMs);
  if (rate <= 0 || pot.largestEstimateNano === 0) return null;
  return wish(ledger.use, true, 0, Math.ceil(rate * TARGET_MS) + pot.largestEstimateNano, rate);
}

function wish(use: LedgerUse, next: boolean, needNano: number, wantNano: number, rateNanoPerMs: number): LeaseWish {
  const { ledger, template, terms, isConfigured = false } = use;
  const base = {
    ledger,
    duration: terms.duration,
    anchorMs: terms.resetAnchorMs ?? 0,
    template,
    next,
    needNano: amount(needNano),
    wantNano: amount(wantNano),
    ratePerMinuteNano: amount(rateNanoPerMs * 60_000),
    offlineNano: amount(rateNanoPerMs * terms.offlineReserveMs),
  };
  return isConfigured ? { ...base, terms: { maxNano: String(bigNanoFromDollars(terms.maxBudget)) } } : base;
}

/** Sums of a pot stay safe integers: nobody gets $9 million at once. */
function amount(nano: number): string {
  return String(Math.min(Math.ceil(nano), Number.MAX_SAFE_INTEGER));
}

function isForgettable({ current, next, ended, refusal, waitingNano }: Ledger, nowMs: number): boolean {
  if (current !== null || next !== null || ended.length > 0) return false;
  return waitingNano <= 0 && (refusal === null || nowMs >= refusal.untilMs);
}

function stateOf({ ledger, periodStartMs, startsAtMs, endsAtMs, amountNano, usedNano }: Pot): PotState {
  return {
    ledger,
    periodStartMs,
    startsAtMs,
    endsAtMs: Number.isFinite(endsAtMs) ? endsAtMs : null,
    amountNano,
    usedNano,
  };
}

/** Of a ledger that no call has used here yet: the first one brings its terms. */
export function unknownUse(ledger: string, duration: string | null = null): LedgerUse {
  const terms = { ...PLAIN_TERMS, duration, maxBudget: Number.POSITIVE_INFINITY };
  return { ledger, terms, template: null };
}
