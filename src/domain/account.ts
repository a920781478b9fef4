/**
 * Who a call is counted for besides its key: user, team, team member, organization, customer (end user), tag. An `Account` is what a gateway
 * process needs to know of one; it travels in the feed. The whole objects are in `team.ts`, `internal-user.ts` and so on.
 */
import type { BudgetTerms } from './budget-terms.ts';
import type { Limits } from './limit.ts';

/** `budget` is a budget object (`/budget/new`): terms and limits that others take over by `budget_id`. */
export type AccountKind = 'user' | 'team' | 'team_member' | 'organization' | 'customer' | 'tag' | 'budget';

export const ACCOUNT_KINDS: ReadonlySet<string> = new Set<AccountKind>([
  'user',
  'team',
  'team_member',
  'organization',
  'customer',
  'tag',
  'budget',
]);

export function isAccountKind(kind: string): kind is AccountKind {
  return ACCOUNT_KINDS.has(kind);
}

export interface Account {
  readonly kind: AccountKind;
  /** `user_id`, `team_id`, ...; of a team member `memberId(team, user)`. */
  readonly id: string;
  readonly alias: string | null;
  readonly blocked: boolean;
  /** Model groups, access groups, wildcards; empty = every model. Of a team member: within the team's. */
  readonly models: readonly string[];
  /** Of a team: requested name to model group. */
  readonly modelAliases: Readonly<Record<string, string>>;
  /** Empty = every region. */
  readonly allowedRegions: readonly string[];
  readonly organizationId: string | null;
  readonly limits: Limits;
  /** Own budgets; empty = none. */
  readonly budgets: readonly BudgetTerms[];
  /** Budget object whose terms and limits fill in what this account has none of. */
  readonly budgetId: string | null;
  /** Fields that must be understood, or calls for this account are refused (`critical-fields.ts`); absent when there are none. */
  readonly crit?: readonly string[];
}

/** Id of a team member: one text of two ids, whatever they contain. */
export function memberId(teamId: string, userId: string): string {
  return `${encodeURIComponent(teamId)}/${encodeURIComponent(userId)}`;
}

/** Key of an account among all of them, and its object id in the change log's feed form. */
export function accountKey(kind: AccountKind, id: string): string {
  return `${kind}:${id}`;
}

/** How denials name what a change is about: a key by its digest, which holds no colon, an account by its `accountKey`. */
export function denialName({ kind, id }: { readonly kind: string; readonly id: string }): string {
  return isAccountKind(kind) ? accountKey(kind, id) : id;
}

/** The reverse of `accountKey`; null for what is none. */
export function parseAccountKey(key: string): { kind: AccountKind; id: string } | null {
  const colon = key.indexOf(':');
  const kind = key.slice(0, Math.max(0, colon));
  return isAccountKind(kind) && colon < key.length - 1 ? { kind, id: key.slice(colon + 1) } : null;
}
