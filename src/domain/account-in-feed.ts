import type { Account, AccountKind } from './account.ts';
import { accountFromObject } from './account-from-object.ts';
import { inOrderOfSlot } from './budget-terms.ts';
import type { JsonObject } from './virtual-key.ts';

/**
 * A stored object as gateway processes get to know it. Null: a customer or a tag that restricts nothing. Clients name both as they like, so
 * there may be millions of them; what says nothing takes no room in any gateway process.
 */
export function accountInFeed(kind: AccountKind, object: JsonObject): Account | null {
  const whole = accountFromObject(kind, object);
  const account = { ...whole, budgets: inOrderOfSlot(whole.budgets) };
  return (kind === 'customer' || kind === 'tag') && !restricts(account) ? null : account;
}

/** Whether there is anything in it that could refuse or limit a call. */
export function restricts(account: Account): boolean {
  const { blocked, models, allowedRegions, budgets, budgetId, crit } = account;
  return (
    blocked ||
    models.length > 0 ||
    allowedRegions.length > 0 ||
    budgets.length > 0 ||
    budgetId !== null ||
    crit !== undefined ||
    limitsAnything(account)
  );
}

function limitsAnything({ limits }: Account): boolean {
  const { rpm, tpm, maxParallelRequests, modelRpm, modelTpm } = limits;
  if (rpm !== null || tpm !== null || maxParallelRequests !== null) return true;
  return Object.keys(modelRpm).length > 0 || Object.keys(modelTpm).length > 0;
}
