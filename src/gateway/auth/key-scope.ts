/**
 * What holds for the calls of a key because of its team, its user and so on: found once per key and change of an account, so that a call pays
 * for one look-up. Customer and tags are those of a call (`accounts-of-call.ts`).
 */
import { type Account, memberId } from '../../domain/account.ts';
import { unknownCriticalAccountField } from '../../domain/critical-fields.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { Limits } from '../../domain/limit.ts';
import { compileModelAccess, type ModelAccess } from '../../domain/model-access.ts';
import { budgetsOfPrincipal, limitsOfPrincipal } from '../../domain/principal-terms.ts';
import type { Principal } from '../../domain/virtual-key.ts';
import type { LedgerUse } from '../limits/lease-table.ts';
import { isWithoutRoom } from '../live/account-map.ts';
import type { Knowledge } from '../live/knowledge.ts';
import { accountText } from './account-text.ts';
import { type CallAccount, chargesOf, filledLimits, withBudgetObject } from './with-budget-object.ts';

export interface KeyScope {
  /** Of the key, filled in from its budget object. */
  readonly limits: Limits;
  readonly charges: readonly LedgerUse[];
  /** All must allow a model, in this order: key, team, team member, user, organization. Those that allow everything are left out. */
  readonly rules: readonly ModelRule[];
  /** Requested name to model group, after the aliases of the key. */
  readonly teamAliases: Readonly<Record<string, string>>;
  /** Of the key, else of its team. */
  readonly organizationId: string | null;
  /** Team, then organizations: with `personal` in the order of `accountsOfCall`. */
  readonly groups: readonly CallAccount[];
  /** User (only of a key without a team) or team member. */
  readonly personal: readonly CallAccount[];
  /** Groups that are served in some regions only. */
  readonly regional: readonly CallAccount[];
  /** Why the owner of the key may not call; null: he may. */
  readonly ownerRefusal: (() => ClavigerError) | null;
  /** The same for team and organization, and for rules that can not be applied here. */
  readonly groupRefusal: (() => ClavigerError) | null;
}

export interface ModelRule {
  readonly object: 'key' | 'team' | 'team member' | 'user' | 'org' | 'customer';
  readonly models: readonly string[];
  readonly access: ModelAccess;
}

interface Known {
  /** Null: no account is involved, so that none can change it. */
  readonly version: number | null;
  readonly scope: KeyScope;
}

/** By principal: a change of the key is a new one. */
const KNOWN = new WeakMap<Principal, Known>();

export function scopeOf(knowledge: Pick<Knowledge, 'account' | 'accountsVersion'>, principal: Principal): KeyScope {
  const known = KNOWN.get(principal);
  if (known !== undefined && (known.version === null || known.version === knowledge.accountsVersion))
    return known.scope;
  const { budgetId, organizationId, teamId, userId } = principal;
  const isAlone = teamId === null && userId === null && organizationId === null && budgetId === undefined;
  const scope = makeScope(knowledge, principal);
  KNOWN.set(principal, { version: isAlone ? null : knowledge.accountsVersion, scope });
  return scope;
}

function makeScope(knowledge: Pick<Knowledge, 'account'>, principal: Principal): KeyScope {
  const { budgetId, teamId, userId } = principal;
  const find = (kind: Account['kind'], id: string | null): CallAccount | null => {
    const account = id === null ? undefined : knowledge.account(kind, id);
    return account === undefined ? null : withBudgetObject(account, knowledge);
  };
  const user = find('user', userId);
  const team = find('team', teamId);
  const member = teamId === null || userId === null ? null : find('team_member', memberId(teamId, userId));
  const organization = find('organization', principal.organizationId);
  const teamOrganization =
    team?.organizationId === principal.organizationId ? null : find('organization', team?.organizationId ?? null);
  const groups = [team, organization, teamOrganization].filter((account) => account !== null);
  const personal = [teamId === null ? user : null, member].filter((account) => account !== null);
  const object = budgetId === undefined ? undefined : knowledge.account('budget', budgetId);
  const limits = limitsOfPrincipal(principal);
  const ofKey = principal.models.length === 0 && object !== undefined ? object.models : principal.models;
  const rules: ModelRule[] = [
    { object: 'key', models: ofKey, access: compileModelAccess(ofKey, team?.models ?? null) },
    ...[team, member, teamId === null ? user : null, organization, teamOrganization]
      .filter((account) => account !== null)
      .map(modelRuleOf),
  ];
  return {
    limits: object === undefined ? limits : filledLimits(limits, object.limits),
    charges: chargesOf('key', principal.token, budgetsOfPrincipal(principal), object),
    rules: rules.filter(({ access }) => !access.everything),
    teamAliases: team?.modelAliases ?? NO_ALIASES,
    organizationId: principal.organizationId ?? team?.organizationId ?? null,
    groups,
    personal,
    regional: groups.filter(({ allowedRegions }) => allowedRegions.length > 0),
    ownerRefusal: user?.blocked ? () => new ClavigerError('blocked_user', { userId: user.id }) : null,
    groupRefusal: firstRefusal(groups, [...groups, ...personal, ...(object === undefined ? [] : [object])]),
  };
}

const NO_ALIASES: Readonly<Record<string, string>> = Object.freeze({});

const RULE_OBJECTS: Readonly<Record<Account['kind'], ModelRule['object']>> = {
  team: 'team',
  team_member: 'team member',
  user: 'user',
  organization: 'org',
  customer: 'customer',
  tag: 'customer',
  budget: 'key',
};

export function modelRuleOf({ kind, models }: Account): ModelRule {
  return { object: RULE_OBJECTS[kind], models, access: compileModelAccess(models) };
}

function firstRefusal(groups: readonly CallAccount[], all: readonly Account[]): (() => ClavigerError) | null {
  for (const { kind, id, blocked } of groups) {
    if (!blocked) continue;
    return kind === 'team'
      ? () => new ClavigerError('blocked_team', { teamId: id })
      : () => new ClavigerError('blocked_organization', { organizationId: id });
  }
  for (const account of all) {
    const refusal = inapplicable(account);
    if (refusal !== null) return () => refusal;
  }
  return null;
}

/** What an account says can not be told, or not be applied. */
export function inapplicable(account: Account): ClavigerError | null {
  if (isWithoutRoom(account)) return new ClavigerError('account_without_room', { account: accountText(account) });
  const field = unknownCriticalAccountField(account);
  return field === null
    ? null
    : new ClavigerError('unsupported_account_rule', { account: accountText(account), field });
}
