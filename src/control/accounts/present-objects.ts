/** Users, teams, members and the rest as every answer shows them: LiteLLM's column names, spend in dollars, secrets masked. */
import type { BudgetObject } from '../../domain/budget-object.ts';
import { dollarsFromNano } from '../../domain/money.ts';
import type { TeamMember } from '../../domain/team-member.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import { budgets, type StoredBudget } from '../../storage/repositories/budget-objects.ts';
import type { StoredCustomer } from '../../storage/repositories/customers.ts';
import type { StoredObject } from '../../storage/repositories/object-table.ts';
import type { StoredOrganization } from '../../storage/repositories/organizations.ts';
import type { StoredTag } from '../../storage/repositories/tags.ts';
import type { StoredMember } from '../../storage/repositories/team-members.ts';
import type { DeletedTeam, StoredTeam } from '../../storage/repositories/teams.ts';
import type { StoredUser } from '../../storage/repositories/users.ts';
import { maskSecrets } from '../config/key-secrets.ts';

export type BudgetsById = ReadonlyMap<string, BudgetObject>;

/** The budget objects that some objects name. */
export async function budgetsOf(
  tx: Tx,
  stored: readonly StoredObject<{ readonly budget_id: string | null }>[],
): Promise<BudgetsById> {
  const ids = [...new Set(stored.flatMap(({ object }) => (object.budget_id === null ? [] : [object.budget_id])))];
  return new Map((await budgets.findAll(tx, ids)).map(({ object }) => [object.budget_id, object]));
}

export function presentUser({ object, spendNano }: StoredUser, teamIds: readonly string[]): JsonObject {
  return { ...json(maskSecrets(object)), spend: dollarsFromNano(spendNano), teams: [...teamIds] };
}

export function presentTeam({ object, spendNano }: StoredTeam, members: readonly StoredMember[]): JsonObject {
  const { team_id, model_aliases } = object;
  const own = members.filter((member) => member.object.team_id === team_id).map((member) => member.object);
  const hasAliases = Object.keys(model_aliases).length > 0;
  return {
    ...json(maskSecrets(object)),
    spend: dollarsFromNano(spendNano),
    admins: own.filter(({ role }) => role === 'admin').map(({ user_id }) => user_id),
    members: own.map(({ user_id }) => user_id),
    members_with_roles: own.map(({ role, user_id, user_email }) => ({ role, user_id, user_email })),
    model_id: null,
    litellm_model_table: hasAliases ? { model_aliases } : null,
  };
}

export function presentDeletedTeam({ team, members, spendNano, deletion }: DeletedTeam): JsonObject {
  const stored = members.map((object) => ({ object, objectRev: 0, spendNano: 0n }));
  return {
    ...presentTeam({ object: team, objectRev: 0, spendNano }, stored),
    deleted_at: deletion.deletedAt,
    deleted_by: deletion.deletedBy,
    deleted_by_api_key: deletion.deletedByApiKey,
    litellm_changed_by: deletion.changedBy,
  };
}

export function presentMember({ object, spendNano }: StoredMember, known: BudgetsById): JsonObject {
  return {
    user_id: object.user_id,
    team_id: object.team_id,
    user_email: object.user_email,
    role: object.role,
    spend: dollarsFromNano(spendNano),
    total_spend: dollarsFromNano(spendNano),
    budget_id: object.budget_id,
    litellm_budget_table: memberBudget(object, known),
    created_at: object.created_at,
    updated_at: object.updated_at,
  };
}

/** What a member set for itself, and of the rest what its budget object says. Null: neither. */
export function memberBudget(member: TeamMember, known: BudgetsById): JsonObject | null {
  const shared = member.budget_id === null ? undefined : known.get(member.budget_id);
  const own: JsonObject = {};
  for (const name of ['max_budget', 'budget_duration', 'budget_reset_at', 'rpm_limit', 'tpm_limit'] as const) {
    if (member[name] !== null) own[name] = member[name];
  }
  if (member.models.length > 0) own.allowed_models = [...member.models];
  if (shared === undefined && Object.keys(own).length === 0) return null;
  return { ...(shared === undefined ? NO_BUDGET : json(shared)), ...own };
}

const NO_BUDGET: JsonObject = {
  budget_id: null,
  max_budget: null,
  soft_budget: null,
  max_parallel_requests: null,
  tpm_limit: null,
  rpm_limit: null,
  model_max_budget: {},
  budget_duration: null,
  budget_reset_at: null,
  allowed_models: [],
};

export function presentOrganization({ object, spendNano }: StoredOrganization, known: BudgetsById): JsonObject {
  return {
    ...json(maskSecrets(object)),
    spend: dollarsFromNano(spendNano),
    litellm_budget_table: budgetTable(object.budget_id, known),
  };
}

export function presentBudget({ object }: StoredBudget): JsonObject {
  return json(maskSecrets(object));
}

export function presentCustomer({ object, spendNano }: StoredCustomer, known: BudgetsById): JsonObject {
  return {
    ...json(maskSecrets(object)),
    spend: dollarsFromNano(spendNano),
    object_permission_id: null,
    litellm_budget_table: budgetTable(object.budget_id, known),
  };
}

export function presentTag({ object, spendNano }: StoredTag, known: BudgetsById): JsonObject {
  return {
    ...json(maskSecrets(object)),
    spend: dollarsFromNano(spendNano),
    litellm_budget_table: budgetTable(object.budget_id, known),
  };
}

function budgetTable(id: string | null, known: BudgetsById): JsonObject | null {
  const budget = id === null ? undefined : known.get(id);
  return budget === undefined ? null : json(maskSecrets(budget));
}

function json(object: object): JsonObject {
  return { ...(object as unknown as JsonObject) };
}
