import { budgetTermsOf, budgetTermsOfKey } from '../../domain/account-from-object.ts';
import { type BudgetTerms, ledgerId, type PayerKind } from '../../domain/budget-terms.ts';
import { NANO_PER_DOLLAR } from '../../domain/money.ts';
import type { JsonObject, VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import { type StoredTerms, storeBudgetTerms } from '../../storage/repositories/budgets.ts';
import type { Edit } from '../config/append-change.ts';

/** Kinds of objects that have budgets; the others of `Edit` have none. */
const PAYERS: ReadonlySet<string> = new Set<PayerKind & Edit['kind']>([
  'key',
  'user',
  'team',
  'team_member',
  'organization',
  'customer',
  'tag',
  'budget',
]);

/** What the database grants by follows from keys and accounts, and is written in the transaction that writes these. */
export async function writeBudgetTerms(tx: Tx, edits: readonly Edit[]): Promise<void> {
  for (const { kind, objectId, before, after } of edits) {
    if (!PAYERS.has(kind)) continue;
    const payerKind = kind as PayerKind;
    const terms = termsOf(kind, after);
    // Most keys have no budget and never had one.
    if (terms.length === 0 && termsOf(kind, before).length === 0) continue;
    const stored = terms.map((term) => storedTerms(payerKind, objectId, term));
    await storeBudgetTerms(tx, ledgerId(payerKind, objectId, ''), stored);
  }
}

function termsOf(kind: string, object: Edit['after']): BudgetTerms[] {
  if (object === null) return [];
  return kind === 'key' ? budgetTermsOfKey(object as VirtualKey) : budgetTermsOf(object as unknown as JsonObject);
}

function storedTerms(kind: PayerKind, id: string, terms: BudgetTerms): StoredTerms {
  const { slot, maxBudget, duration, resetAnchorMs, models, temporaryIncrease } = terms;
  return {
    ledger: ledgerId(kind, id, slot),
    slot,
    maxNano: nano(maxBudget),
    extraNano: nano(temporaryIncrease?.usd ?? 0),
    extraUntilMs: temporaryIncrease?.untilMs ?? null,
    duration,
    resetAnchorMs: resetAnchorMs ?? 0,
    models,
  };
}

/** Terms are at most `BUDGET_DOLLARS_MAX`, which is beyond the safe integers and within 64 bits. */
function nano(dollars: number): bigint {
  const whole = Math.floor(dollars);
  return BigInt(whole) * BigInt(NANO_PER_DOLLAR) + BigInt(Math.round((dollars - whole) * NANO_PER_DOLLAR));
}
