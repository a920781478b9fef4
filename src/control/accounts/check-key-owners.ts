import { memberId } from '../../domain/account.ts';
import { limitsOf, limitsOfKey } from '../../domain/account-from-object.ts';
import { ClavigerError, listText } from '../../domain/error-catalogue.ts';
import type { Limits } from '../../domain/limit.ts';
import { compileModelAccess } from '../../domain/model-access.ts';
import type { Team } from '../../domain/team.ts';
import type { JsonObject, VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import { type Guaranteed, guaranteedTo } from '../../storage/queries/owned-keys.ts';
import { budgets } from '../../storage/repositories/budget-objects.ts';
import { organizations } from '../../storage/repositories/organizations.ts';
import { teamMembers } from '../../storage/repositories/team-members.ts';
import { teams } from '../../storage/repositories/teams.ts';

/**
 * Whether a key fits the team and organization that it names. Owners that do not exist (yet) are let pass, as in LiteLLM. The team stays locked,
 * so that it can not be deleted, nor guaranteed to somebody else, before the key is committed. `before` null: the key is new.
 */
export async function checkKeyOwners(tx: Tx, key: VirtualKey, before: VirtualKey | null): Promise<void> {
  const limits = limitsOfKey(key);
  const isGuaranteed = limits.rpmType === 'guaranteed_throughput' || limits.tpmType === 'guaranteed_throughput';
  const team = await teamOf(tx, key, isGuaranteed);
  if (team !== null) {
    checkModels(key, team);
    if (before !== null && before.team_id !== key.team_id) await checkMove(tx, key, team);
    if (isGuaranteed)
      checkGuaranteed(
        limits,
        limitsOf(asJson(team)),
        await guaranteedTo(tx, 'team_id', team.team_id, key.token),
        `team ${team.team_id}`,
      );
  }
  const organizationId = key.organization_id ?? team?.organization_id ?? null;
  if (isGuaranteed && organizationId !== null) await checkOrganization(tx, key, limits, organizationId);
}

async function teamOf(tx: Tx, { team_id }: VirtualKey, isGuaranteed: boolean): Promise<Team | null> {
  if (team_id === null || team_id === '') return null;
  const [stored] = await teams.lock(tx, [team_id], isGuaranteed ? 'update' : 'share');
  return stored?.object ?? null;
}

/** An empty list means what the team may use, and so does `all-team-models`. */
function checkModels(key: VirtualKey, team: Team): void {
  const access = compileModelAccess(team.models);
  const denied = key.models.find((name) => !LIKE_TEAM.has(name) && !access.allows({ name, accessGroups: [] }));
  if (access.everything || denied === undefined) return;
  throw new ClavigerError('team_model_access_denied', { object: 'team', models: listText(team.models), model: denied });
}

/** With these a key may use no more than its team, whatever that is. */
const LIKE_TEAM: ReadonlySet<string> = new Set(['all-team-models', 'all-proxy-models', 'no-default-models', '*']);

/** A key that moves into a team must not bring more than the team has, nor an owner who is not in it. */
async function checkMove(tx: Tx, key: VirtualKey, team: Team): Promise<void> {
  for (const name of ['max_budget', 'rpm_limit', 'tpm_limit'] as const) {
    const [bound, value] = [team[name], key[name]];
    if (bound !== null && value !== null && value > bound) {
      throw new ClavigerError(
        'forbidden',
        { reason: `${name} of the key is ${value}, and team ${team.team_id} has ${bound}. Lower it first.` },
        { param: name },
      );
    }
  }
  if (key.user_id === null) return;
  if ((await teamMembers.find(tx, memberId(team.team_id, key.user_id))) !== null) return;
  throw new ClavigerError('forbidden', {
    reason: `User ${key.user_id} owns the key and is not in team ${team.team_id}. Add it with /team/member_add first.`,
  });
}

async function checkOrganization(tx: Tx, key: VirtualKey, limits: Limits, organizationId: string): Promise<void> {
  const [organization] = await organizations.lock(tx, [organizationId], 'update');
  if (organization === undefined) return;
  const { metadata, budget_id } = organization.object;
  const budget = (await budgets.find(tx, budget_id))?.object;
  const bound = limitsOf({ ...(budget === undefined ? {} : asJson(budget)), metadata });
  const others = await guaranteedTo(tx, 'organization_id', organizationId, key.token);
  checkGuaranteed(limits, bound, others, `organization ${organizationId}`);
}

function checkGuaranteed(limits: Limits, bound: Limits, others: Guaranteed, owner: string): void {
  if (limits.rpmType === 'guaranteed_throughput') {
    checkSum('rpm_limit', limits.rpm, others.rpm, bound.rpm, owner);
    checkPerModel('model_rpm_limit', limits.modelRpm, others.modelRpm, bound.modelRpm, bound.rpm, owner);
  }
  if (limits.tpmType === 'guaranteed_throughput') {
    checkSum('tpm_limit', limits.tpm, others.tpm, bound.tpm, owner);
    checkPerModel('model_tpm_limit', limits.modelTpm, others.modelTpm, bound.modelTpm, bound.tpm, owner);
  }
}

/** Where the owner has no limit for the model, its limit for all holds. */
function checkPerModel(
  field: string,
  wanted: Readonly<Record<string, number>>,
  others: Readonly<Record<string, number>>,
  bounds: Readonly<Record<string, number>>,
  boundOfAll: number | null,
  owner: string,
): void {
  for (const [model, limit] of Object.entries(wanted)) {
    checkSum(`${field}.${model}`, limit, others[model] ?? null, bounds[model] ?? boundOfAll, owner);
  }
}

function checkSum(
  field: string,
  wanted: number | null,
  others: number | null,
  bound: number | null,
  owner: string,
): void {
  if (wanted === null || bound === null || wanted + (others ?? 0) <= bound) return;
  throw new ClavigerError(
    'bad_request',
    {
      reason: `${field} with guaranteed_throughput does not fit ${owner}: ${wanted} was asked for, other keys are guaranteed ${others ?? 0}, and the limit is ${bound}.`,
    },
    { param: field },
  );
}

function asJson(object: object): JsonObject {
  return object as unknown as JsonObject;
}
