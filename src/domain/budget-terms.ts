/**
 * Terms of one budget: what somebody may spend in a period. Somebody may have several: a plain one, one per window of `budget_limits`, one
 * per model of `model_max_budget`. Each has a ledger of its own in the database, named by `ledgerId`.
 */
import type { AccountKind } from './account.ts';

/** expected: a call reserves what it will probably cost. strict: what it can cost at most. See docs/specs/budget-leases.md. */
export type BudgetMode = 'expected' | 'strict';

export interface BudgetTerms {
  /** Which of somebody's budgets: '' (the plain one), `window:<duration>` or `model:<name>`. */
  readonly slot: string;
  /** Dollars per period; 0 blocks at once. Never null: no maximum, no terms. */
  readonly maxBudget: number;
  /** `budget_duration` as given; null = never reset. */
  readonly duration: string | null;
  /** A reset moment, milliseconds since the epoch, that periods of several days are counted from (`budget_reset_at`); absent = the epoch. */
  readonly resetAnchorMs?: number;
  /** Added to the maximum until a moment. */
  readonly temporaryIncrease?: { readonly usd: number; readonly untilMs: number };
  /** Only calls to these model groups are charged; null = all calls. */
  readonly models: readonly string[] | null;
  readonly mode: BudgetMode;
  /** In mode strict, a call without `max_tokens` gets what the lease affords. */
  readonly strictInjectMaxTokens: boolean;
  /** How long a gateway process should be able to go on without the control plane, milliseconds; its leases are larger accordingly. */
  readonly offlineReserveMs: number;
  /** What one gateway process may spend beyond its leases while it is cut off, dollars. A declared bound, 0 by default. */
  readonly offlineOverdraftUsd: number;
}

/** A budget of which nothing was said but its amount. */
export const PLAIN_TERMS: Omit<BudgetTerms, 'maxBudget'> = Object.freeze({
  slot: '',
  duration: null,
  models: null,
  mode: 'expected',
  strictInjectMaxTokens: false,
  offlineReserveMs: 0,
  offlineOverdraftUsd: 0,
});

/** Whom a ledger belongs to: keys by digest, accounts by kind and id, and what is configured rather than stored. */
export type PayerKind = 'key' | AccountKind | 'provider' | 'deployment' | 'global';

/** Name of a ledger: `<kind>:<id>`, or `<kind>:<id>#<slot>`. Ids may contain anything; what would be ambiguous in them is escaped. */
export function ledgerId(kind: PayerKind, id: string, slot: string): string {
  const payer = `${kind}:${id.replaceAll('%', '%25').replaceAll('#', '%23')}`;
  return slot === '' ? payer : `${payer}#${slot}`;
}

/** The reverse of `ledgerId`; null for what is none. */
export function parseLedgerId(text: string): { kind: PayerKind; id: string; slot: string } | null {
  const colon = text.indexOf(':');
  if (colon <= 0) return null;
  const hash = text.indexOf('#');
  const escaped = hash === -1 ? text.slice(colon + 1) : text.slice(colon + 1, hash);
  const id = escaped.replaceAll('%23', '#').replaceAll('%25', '%');
  return { kind: text.slice(0, colon) as PayerKind, id, slot: hash === -1 ? '' : text.slice(hash + 1) };
}

/** Terms that come from names of a JSON object come in another order from the database than from a request. */
export function inOrderOfSlot(budgets: readonly BudgetTerms[]): readonly BudgetTerms[] {
  return budgets.length < 2 ? budgets : [...budgets].sort((a, b) => (a.slot < b.slot ? -1 : a.slot > b.slot ? 1 : 0));
}
