import { budgetTermsOf, budgetTermsOfKey } from '../../domain/account-from-object.ts';
import { type BudgetTerms, ledgerId, type PayerKind } from '../../domain/budget-terms.ts';
import { bigNanoFromDollars } from '../../domain/money.ts';
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
    maxNano: bigNanoFromDollars(maxBudget),
    extraNano: bigNanoFromDollars(temporaryIncrease?.usd ?? 0),
    extraUntilMs: temporaryIncrease?.untilMs ?? null,
    duration,
    resetAnchorMs: resetAnchorMs ?? 0,
    models,
  };
}
