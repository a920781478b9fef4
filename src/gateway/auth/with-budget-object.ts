/** Terms and limits that somebody takes over from a budget object (`budget_id`), where it has none of its own. */
import type { Account, AccountKind } from '../../domain/account.ts';
import { type BudgetTerms, ledgerId } from '../../domain/budget-terms.ts';
import type { Limits } from '../../domain/limit.ts';
import type { LedgerUse } from '../limits/lease-table.ts';
import type { Knowledge } from '../live/knowledge.ts';

/** An account as it holds for a call: what its budget object fills in is in `models`, `limits` and `budgets`. */
export interface CallAccount extends Account {
  /** One per budget, in their order. */
  readonly charges: readonly LedgerUse[];
}

export function withBudgetObject(
  account: Account,
  knowledge: Pick<Knowledge, 'account'>,
  defaultBudgetId: string | null = null,
): CallAccount {
  const { kind, id, budgets, limits, models } = account;
  const own = account.budgetId ?? (budgets.length === 0 ? defaultBudgetId : null);
  const object = own === null ? undefined : knowledge.account('budget', own);
  const charges = chargesOf(kind, id, budgets, object);
  return {
    ...account,
    models: models.length === 0 && kind !== 'tag' && object !== undefined ? object.models : models,
    limits: object === undefined ? limits : filledLimits(limits, object.limits),
    budgets: charges.map(({ terms }) => terms),
    charges,
  };
}

/** Own terms first; those of the object only for slots that have none. */
export function chargesOf(
  kind: 'key' | AccountKind,
  id: string,
  budgets: readonly BudgetTerms[],
  object: Account | undefined,
): readonly LedgerUse[] {
  const own = budgets.map((terms): LedgerUse => ({ ledger: ledgerId(kind, id, terms.slot), template: null, terms }));
  if (object === undefined) return own;
  const slots = new Set(budgets.map(({ slot }) => slot));
  const taken = object.budgets
    .filter(({ slot }) => !slots.has(slot))
    .map(
      (terms): LedgerUse => ({
        ledger: ledgerId(kind, id, terms.slot),
        template: ledgerId('budget', object.id, terms.slot),
        terms,
      }),
    );
  return [...own, ...taken];
}

export function filledLimits(own: Limits, object: Limits): Limits {
  return {
    ...own,
    rpm: own.rpm ?? object.rpm,
    tpm: own.tpm ?? object.tpm,
    maxParallelRequests: own.maxParallelRequests ?? object.maxParallelRequests,
    modelRpm: { ...object.modelRpm, ...own.modelRpm },
    modelTpm: { ...object.modelTpm, ...own.modelTpm },
  };
}
