import type { Account } from '../../domain/account.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { NO_LIMITS } from '../../domain/limit.ts';
import type { Knowledge } from '../live/knowledge.ts';
import { inapplicable, type KeyScope, type ModelRule, modelRuleOf } from './key-scope.ts';
import { type CallAccount, withBudgetObject } from './with-budget-object.ts';

export interface AccountsOfCall {
  /** In this order: team, organization (two when key and team name different ones), tags, user or team member, customer. */
  readonly accounts: readonly CallAccount[];
  /** Which models the customer may be served with; null: every one. */
  readonly customerRule: ModelRule | null;
}

/**
 * The accounts that a call is counted for and limited by, besides its key. Throws when customer or tags may not call. A call without customer
 * and tags that anybody knows of costs nothing here.
 */
export function accountsOfCall(
  knowledge: Pick<Knowledge, 'account' | 'configuration'>,
  { groups, personal }: KeyScope,
  customerId: string | null,
  tags: readonly string[],
): AccountsOfCall {
  const customer = customerId === null ? null : customerOf(knowledge, customerId);
  const tagged = tags.length === 0 ? NONE : tagsOf(knowledge, tags);
  if (customer === null && tagged.length === 0) {
    if (personal.length === 0) return groups.length === 0 ? NOBODY : { accounts: groups, customerRule: null };
    return { accounts: groups.length === 0 ? personal : [...groups, ...personal], customerRule: null };
  }
  const rule = customer === null ? null : modelRuleOf(customer);
  return {
    accounts: [...groups, ...tagged, ...personal, ...(customer === null ? [] : [customer])],
    customerRule: rule === null || rule.access.everything ? null : rule,
  };
}

const NONE: readonly CallAccount[] = Object.freeze([]);
const NOBODY: AccountsOfCall = Object.freeze({ accounts: NONE, customerRule: null });

/** Null: nothing is known of it, and customers have no budget by default. */
function customerOf(knowledge: Pick<Knowledge, 'account' | 'configuration'>, id: string): CallAccount | null {
  const defaultBudgetId = knowledge.configuration.general.defaultCustomerBudgetId;
  const account = knowledge.account('customer', id);
  if (account === undefined && defaultBudgetId === null) return null;
  if (account?.blocked) throw new ClavigerError('blocked_customer', { customerId: id });
  return applicable(withBudgetObject(account ?? unknownCustomer(id), knowledge, defaultBudgetId));
}

function unknownCustomer(id: string): Account {
  return { ...NOTHING, id };
}

const NOTHING: Omit<Account, 'id'> = {
  kind: 'customer',
  alias: null,
  blocked: false,
  models: [],
  modelAliases: {},
  allowedRegions: [],
  organizationId: null,
  limits: NO_LIMITS,
  budgets: [],
  budgetId: null,
};

function tagsOf(knowledge: Pick<Knowledge, 'account'>, tags: readonly string[]): readonly CallAccount[] {
  let found: CallAccount[] | null = null;
  for (const tag of tags) {
    const account = knowledge.account('tag', tag);
    if (account === undefined) continue;
    if (account.blocked) throw new ClavigerError('blocked_tag', { tag });
    found ??= [];
    found.push(applicable(withBudgetObject(account, knowledge)));
  }
  return found ?? NONE;
}

function applicable(account: CallAccount): CallAccount {
  const refusal = inapplicable(account);
  if (refusal !== null) throw refusal;
  return account;
}
