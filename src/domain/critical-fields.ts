import type { Account } from './account.ts';
import type { Principal } from './virtual-key.ts';

/**
 * Fields of a principal that restrict what a key may do and that version 0.1.0 did not have. One that does not understand such a field must
 * refuse the key: leaving a rule out would allow what it forbids. Every new restriction on keys gets its name here and in `criticalFieldsOf`.
 */
export const CRITICAL_FIELDS: ReadonlySet<string> = new Set([
  'allowedRegions',
  'fence',
  'limits',
  'budgets',
  'budgetId',
]);

/** The names that travel with a principal as `crit`; empty for one that any version understands. */
export function criticalFieldsOf({
  allowedRegions,
  fence,
  limits,
  budgets,
  budgetId,
}: Pick<Principal, 'allowedRegions' | 'fence' | 'limits' | 'budgets' | 'budgetId'>): string[] {
  const names: string[] = [];
  if (allowedRegions.length > 0) names.push('allowedRegions');
  if (fence !== 'normal') names.push('fence');
  if (limits?.modelRpm !== undefined || limits?.modelTpm !== undefined || limits?.scope === 'global')
    names.push('limits');
  // A plain budget is in `maxBudget` too: who knows only that restricts no less.
  if (budgets?.some(({ slot, mode }) => slot !== '' || mode === 'strict')) names.push('budgets');
  if (budgetId !== undefined) names.push('budgetId');
  return names;
}

/** The first rule of a key that this version does not know, or null. */
export function unknownCriticalField({ crit }: Pick<Principal, 'crit'>): string | null {
  return crit === undefined ? null : (crit.find((name) => !CRITICAL_FIELDS.has(name)) ?? null);
}

/** The same for accounts. Every rule of an account that the first version with accounts did not have gets its name here. */
export const CRITICAL_ACCOUNT_FIELDS: ReadonlySet<string> = new Set();

/** The first rule of an account that this version does not know, or null. */
export function unknownCriticalAccountField({ crit }: Pick<Account, 'crit'>): string | null {
  return crit === undefined ? null : (crit.find((name) => !CRITICAL_ACCOUNT_FIELDS.has(name)) ?? null);
}
