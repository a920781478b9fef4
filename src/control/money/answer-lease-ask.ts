import { budgetPeriod, type ResetRules } from '../../domain/budget-period.ts';
import type { LeaseAsk, LeaseGrant, LeaseRefusal, LeaseReply, LeaseWish } from '../../feed/protocol.ts';
import type { Database } from '../../storage/db.ts';
import {
  type LedgerWish,
  ledgersToStart,
  type SpentLedger,
  type StoredGrant,
  takeLeaseAsk,
} from '../../storage/repositories/budgets.ts';

/** Starter leases in one answer. The longest unused ledgers wait for the next minute. */
export const STARTERS_MAX = 1_000;
/** A ledger that nobody has spent from for longer gets no starter leases. */
export const STARTER_DAYS = 7;

export interface LeaseAnswersOptions {
  readonly db: Database;
  readonly rules: () => ResetRules;
  readonly wallMs: () => number;
  readonly onAnswered?: (reply: LeaseReply) => void;
}

/** Answers asks of gateway processes; docs/specs/budget-leases.md. Says which period is current, by the clock of the database. */
export class LeaseAnswers {
  readonly #options: LeaseAnswersOptions;
  /** The clock of the database less ours; null before it has been read. */
  #databaseAheadMs: number | null = null;

  constructor(options: LeaseAnswersOptions) {
    this.#options = options;
  }

  async answer(ask: LeaseAsk): Promise<LeaseReply> {
    const { db, wallMs, onAnswered } = this.#options;
    if (this.#databaseAheadMs === null) await this.#readClock();
    const { gatewayId, incarnation } = ask;
    const starters = ask.starters
      ? await db.read((tx) => ledgersToStart(tx, { gatewayId, incarnation, days: STARTER_DAYS, limit: STARTERS_MAX }))
      : [];
    const sentAtMs = wallMs();
    const { reply, nowMs } = await takeLeaseAsk(db, {
      gatewayId,
      incarnation,
      ask: ask.ask,
      wishes: [...ask.wishes.map((wish) => this.#wishFor(wish)), ...starters.map((ledger) => this.#starterFor(ledger))],
      returns: ask.returns,
      declares: ask.declares ?? null,
    });
    // In the middle of the round trip.
    this.#databaseAheadMs = nowMs - (sentAtMs + wallMs()) / 2;
    const answered: LeaseReply = reply.ok
      ? { ...reply, grants: reply.grants.map((grant) => grantFrom(grant, nowMs)) }
      : reply;
    onAnswered?.(answered);
    return answered;
  }

  #wishFor(wish: LeaseWish): LedgerWish {
    const { ledger, template, duration, anchorMs, terms, needNano, wantNano, ratePerMinuteNano, offlineNano } = wish;
    return {
      ...placeOf(ledger),
      template,
      models: null,
      duration,
      ...this.#periodOf(duration, anchorMs, wish.next),
      needNano,
      wantNano,
      ratePerMinuteNano,
      offlineNano,
      termsMaxNano: terms?.maxNano ?? null,
      averageNano: null,
    };
  }

  #starterFor({ ledger, payer, slot, models, duration, resetAnchorMs, averageNano }: SpentLedger): LedgerWish {
    return {
      ledger,
      payer,
      slot,
      template: null,
      models,
      duration,
      ...this.#periodOf(duration, resetAnchorMs, false),
      needNano: '0',
      wantNano: String(Number.MAX_SAFE_INTEGER),
      ratePerMinuteNano: '0',
      offlineNano: '0',
      termsMaxNano: null,
      averageNano: String(averageNano),
    };
  }

  #periodOf(duration: string | null, anchorMs: number, next: boolean) {
    const { rules, wallMs } = this.#options;
    const nowMs = wallMs() + (this.#databaseAheadMs ?? 0);
    const current = budgetPeriod(duration, nowMs, rules(), anchorMs);
    const period = next && current.endMs !== null ? budgetPeriod(duration, current.endMs, rules(), anchorMs) : current;
    return { periodStartMs: period.startMs, periodEndMs: period.endMs };
  }

  async #readClock(): Promise<void> {
    const { db, wallMs } = this.#options;
    const sentAtMs = wallMs();
    const [rows] = await db.ask(['select (extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms']);
    this.#databaseAheadMs = Number(rows![0]!['now_ms']) - (sentAtMs + wallMs()) / 2;
  }
}

function placeOf(ledger: string): { ledger: string; payer: string; slot: string } {
  const hash = ledger.indexOf('#');
  return hash === -1
    ? { ledger, payer: ledger, slot: '' }
    : { ledger, payer: ledger.slice(0, hash), slot: ledger.slice(hash + 1) };
}

function grantFrom(grant: StoredGrant, nowMs: number): LeaseGrant {
  const { ledger, periodStartMs, periodEndMs, grantedNano, refusal, maxNano, settledNano } = grant;
  return {
    ledger,
    periodStartMs,
    endsInMs: periodEndMs === null ? null : periodEndMs - nowMs,
    startsInMs: Math.max(0, periodStartMs - nowMs),
    grantedNano,
    refusal: refusal as LeaseRefusal | null,
    maxNano,
    settledNano,
  };
}
