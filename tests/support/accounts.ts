import type { Account, AccountKind } from '../../src/domain/account.ts';
import type { BudgetTerms } from '../../src/domain/budget-terms.ts';
import type { AccountChange } from '../../src/domain/change.ts';
import { NO_LIMITS } from '../../src/domain/limit.ts';

/** An account that restricts nothing, but for `fields`. */
export function accountOf(kind: AccountKind, id: string, fields: Partial<Account> = {}): Account {
  return {
    kind,
    id,
    alias: null,
    blocked: false,
    models: [],
    modelAliases: {},
    allowedRegions: [],
    organizationId: null,
    limits: NO_LIMITS,
    budgets: [],
    budgetId: null,
    ...fields,
  };
}

export function accountChange(
  rev: number,
  kind: AccountKind,
  id: string,
  fields: Partial<Account> | null = {},
): AccountChange {
  return { rev, kind, id, value: fields === null ? null : accountOf(kind, id, fields) };
}

export function termsOf(maxBudget: number, fields: Partial<BudgetTerms> = {}): BudgetTerms {
  return {
    slot: '',
    maxBudget,
    duration: null,
    models: null,
    mode: 'expected',
    strictInjectMaxTokens: false,
    offlineReserveMs: 0,
    offlineOverdraftUsd: 0,
    ...fields,
  };
}
