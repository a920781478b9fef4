/**
 * Limits and budgets of a key, on their way through the feed. What an ordinary key has travels in the fields that principals had from the
 * beginning; only what goes beyond them takes room.
 */
import { budgetTermsOfKey, limitsOfKey } from './account-from-object.ts';
import { type BudgetTerms, inOrderOfSlot, PLAIN_TERMS } from './budget-terms.ts';
import { type Limits, NO_LIMITS } from './limit.ts';
import { BUDGET_DOLLARS_MAX } from './money.ts';
import type { LimitExtras, Principal, VirtualKey } from './virtual-key.ts';

/** The optional fields of a principal that are about money and rates. */
export type PrincipalTerms = Pick<Principal, 'limits' | 'budgets' | 'budgetId'>;

export function termsOfKey(key: VirtualKey): PrincipalTerms {
  const limits = extrasOf(limitsOfKey(key));
  const budgets = inOrderOfSlot(budgetTermsOfKey(key));
  const { budget_id } = key;
  return {
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(budgets.every(isImplied) ? {} : { budgets }),
    ...(typeof budget_id === 'string' && budget_id !== '' ? { budgetId: budget_id } : {}),
  };
}

export function limitsOfPrincipal({
  rpmLimit,
  tpmLimit,
  maxParallelRequests,
  limits,
}: Pick<Principal, 'rpmLimit' | 'tpmLimit' | 'maxParallelRequests' | 'limits'>): Limits {
  if (rpmLimit === null && tpmLimit === null && maxParallelRequests === null && limits === undefined) return NO_LIMITS;
  return { ...NO_LIMITS, ...limits, rpm: rpmLimit, tpm: tpmLimit, maxParallelRequests };
}

export function budgetsOfPrincipal({
  maxBudget,
  budgets,
}: Pick<Principal, 'maxBudget' | 'budgets'>): readonly BudgetTerms[] {
  if (budgets !== undefined) return budgets;
  return maxBudget === null || maxBudget > BUDGET_DOLLARS_MAX
    ? NONE
    : [{ ...PLAIN_TERMS, maxBudget: Math.max(0, maxBudget) }];
}

const NONE: readonly BudgetTerms[] = Object.freeze([]);

function isImplied(terms: BudgetTerms): boolean {
  return Object.entries(terms).every(
    ([name, value]) =>
      name === 'maxBudget' || value === undefined || value === PLAIN_TERMS[name as keyof typeof PLAIN_TERMS],
  );
}

function extrasOf({ modelRpm, modelTpm, rpmType, tpmType, scope }: Limits): LimitExtras {
  return {
    ...(Object.keys(modelRpm).length === 0 ? {} : { modelRpm }),
    ...(Object.keys(modelTpm).length === 0 ? {} : { modelTpm }),
    ...(rpmType === NO_LIMITS.rpmType ? {} : { rpmType }),
    ...(tpmType === NO_LIMITS.tpmType ? {} : { tpmType }),
    ...(scope === NO_LIMITS.scope ? {} : { scope }),
  };
}
