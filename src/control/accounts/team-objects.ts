import { TEAM_METADATA_FIELDS } from '../../contract/schemas/team.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { textOf } from '../../domain/json-fields.ts';
import { compileModelAccess } from '../../domain/model-access.ts';
import type { Team } from '../../domain/team.ts';
import type { Tx } from '../../storage/db.ts';
import { budgets } from '../../storage/repositories/budget-objects.ts';
import { organizations } from '../../storage/repositories/organizations.ts';
import { membersOfTeams, teamMembers } from '../../storage/repositories/team-members.ts';
import { type StoredTeam, teams } from '../../storage/repositories/teams.ts';
import { applyObjectFields, created, type FieldPlan, type Moment } from './apply-object-fields.ts';
import { BUDGET_PLAN, newBudget } from './budget-objects.ts';
import { createObject, replaceObject, type Writing } from './change-object.ts';
import { TEAM_MEMBERS_MAX } from './members.ts';

export const TEAM_PLAN: FieldPlan<Team> = {
  plain: [
    'team_alias',
    'organization_id',
    'max_budget',
    'soft_budget',
    'budget_limits',
    'max_parallel_requests',
    'rpm_limit',
    'tpm_limit',
    'router_settings',
    'object_permission',
  ],
  lists: [
    'models',
    'team_member_permissions',
    'default_team_member_models',
    'access_group_ids',
    'policies',
    'allowed_regions',
  ],
  objects: ['model_aliases', 'model_max_budget'],
  flags: ['blocked'],
  inMetadata: TEAM_METADATA_FIELDS,
  hasPeriod: true,
};

/** Where the id of the budget of all members is kept. */
export const MEMBER_BUDGET = 'team_member_budget_id';
/** What members may do with keys unless the team says otherwise, and all that it can say. */
export const DEFAULT_MEMBER_PERMISSIONS: readonly string[] = ['/key/info', '/key/health'];
export const MEMBER_PERMISSIONS: readonly string[] = [
  ...DEFAULT_MEMBER_PERMISSIONS,
  '/key/list',
  '/key/generate',
  '/key/service-account/generate',
  '/key/update',
  '/key/delete',
  '/key/regenerate',
  '/key/block',
  '/key/unblock',
  '/team/daily/activity',
  '/spend/logs',
];

type Fields = Readonly<Record<string, unknown>>;

export function newTeamObject(id: string | null | undefined, fields: Fields, moment: Moment): Team {
  const empty: Team = {
    team_id: id || moment.newId(),
    team_alias: null,
    organization_id: null,
    models: [],
    model_aliases: {},
    max_budget: null,
    soft_budget: null,
    budget_duration: null,
    budget_reset_at: null,
    budget_limits: null,
    model_max_budget: {},
    max_parallel_requests: null,
    rpm_limit: null,
    tpm_limit: null,
    blocked: false,
    team_member_permissions: [],
    default_team_member_models: [],
    router_settings: null,
    access_group_ids: [],
    policies: [],
    object_permission: null,
    metadata: {},
    allowed_regions: [],
    ...created(moment),
  };
  return applyTeamFields(empty, fields, moment);
}

export function applyTeamFields(team: Team, fields: Fields, moment: Moment): Team {
  refuseUnknownPermissions(fields.team_member_permissions);
  const next = applyObjectFields(team, fields, TEAM_PLAN, moment);
  // Replacing `metadata` must not lose the budget of the members.
  const kept = team.metadata[MEMBER_BUDGET];
  const metadata = kept === undefined ? next.metadata : { ...next.metadata, [MEMBER_BUDGET]: kept };
  return { ...next, metadata, organization_id: next.organization_id || null };
}

export function refuseUnknownPermissions(value: unknown): void {
  if (!Array.isArray(value)) return;
  const unknown = value.filter((name) => !MEMBER_PERMISSIONS.includes(name as string));
  if (unknown.length === 0) return;
  throw new ClavigerError(
    'bad_request',
    {
      reason: `These are no permissions of team members: ${unknown.join(', ')}. Possible: ${MEMBER_PERMISSIONS.join(', ')}`,
    },
    { param: 'team_member_permissions' },
  );
}

/** Locked until the transaction ends. Throws 404. */
export async function lockTeam({ tx }: Pick<Writing, 'tx'>, teamId: string): Promise<StoredTeam> {
  const [stored] = await teams.lock(tx, [teamId]);
  if (stored === undefined) throw teamNotFound(teamId);
  return stored;
}

export async function findTeam(tx: Tx, teamId: string): Promise<StoredTeam> {
  const stored = await teams.find(tx, teamId);
  if (stored === null) throw teamNotFound(teamId);
  return stored;
}

function teamNotFound(teamId: string): ClavigerError {
  return new ClavigerError('object_not_found', { what: `Team with team_id=${teamId}` }, { param: 'team_id' });
}

/** Throws when the organization does not exist, or allows less than the team would. What the team leaves open is the organization's. */
export async function checkWithinOrganization({ tx }: Pick<Writing, 'tx'>, team: Team): Promise<void> {
  if (team.organization_id === null) return;
  const [organization] = await organizations.lock(tx, [team.organization_id], 'share');
  if (organization === undefined) {
    throw new ClavigerError(
      'bad_request',
      { reason: `Organization with organization_id=${team.organization_id} does not exist.` },
      { param: 'organization_id' },
    );
  }
  const { organization_id, models, budget_id } = organization.object;
  const access = compileModelAccess(models);
  const tooMany = team.models.filter((name) => !isSpecial(name) && !access.allows({ name, accessGroups: [] }));
  if (!access.everything && tooMany.length > 0) {
    throw exceeds('models', tooMany.join(', '), `organization ${organization_id} allows ${models.join(', ')}`);
  }
  const budget = (await budgets.find(tx, budget_id))?.object;
  for (const name of ['max_budget', 'rpm_limit', 'tpm_limit', 'max_parallel_requests'] as const) {
    const bound = budget?.[name] ?? null;
    const value = team[name];
    if (bound !== null && value !== null && value > bound) {
      throw exceeds(name, value, `organization ${organization_id} has ${bound}`);
    }
  }
}

/** `all-proxy-models` and the like stand for whatever is allowed. */
function isSpecial(name: string): boolean {
  return name === 'all-proxy-models' || name === 'all-team-models' || name === 'no-default-models' || name === '*';
}

function exceeds(field: string, value: string | number, bound: string): ClavigerError {
  return new ClavigerError(
    'forbidden',
    { reason: `${field} of a team must stay within its organization: ${value} was asked for, and ${bound}.` },
    { param: field },
  );
}

/** Requested for the team, kept in a budget object that its members share. */
const MEMBER_FIELDS: Readonly<Record<string, string>> = {
  team_member_budget: 'max_budget',
  team_member_budget_duration: 'budget_duration',
  team_member_rpm_limit: 'rpm_limit',
  team_member_tpm_limit: 'tpm_limit',
  team_member_model_max_budget: 'model_max_budget',
};

/**
 * The team with the budget of its members made or changed, when the request is about it. Members that have none of their own get a new one;
 * each has the whole of it for itself. The team is stored by the caller.
 */
export async function withMemberBudget(write: Writing, team: Team, fields: Fields, moment: Moment): Promise<Team> {
  const given: Record<string, unknown> = {};
  for (const [from, to] of Object.entries(MEMBER_FIELDS)) if (fields[from] !== undefined) given[to] = fields[from];
  if (Object.keys(given).length === 0) return team;
  const id = textOf(team.metadata[MEMBER_BUDGET]);
  const [stored] = id === null ? [] : await budgets.lock(write.tx, [id]);
  if (stored !== undefined) {
    await replaceObject(write, 'budget', stored, applyObjectFields(stored.object, given, BUDGET_PLAN, moment));
    return team;
  }
  if (Object.values(given).every((value) => value === null)) return team;
  const { object } = await createObject(write, 'budget', newBudget(null, given, moment));
  const members = await membersOfTeams(write.tx, [team.team_id], TEAM_MEMBERS_MAX);
  const without = members.filter((member) => member.object.budget_id === null && member.object.max_budget === null);
  const ids = without.map((member) => teamMembers.idOf(member.object));
  for (const member of await teamMembers.lock(write.tx, ids)) {
    await replaceObject(write, 'team_member', member, { ...member.object, budget_id: object.budget_id });
  }
  return { ...team, metadata: { ...team.metadata, [MEMBER_BUDGET]: object.budget_id } };
}

/** Fields with which a team admin would give its own team more. */
export function refuseRaise(now: Team, next: Team): void {
  for (const name of ['max_budget', 'rpm_limit', 'tpm_limit', 'max_parallel_requests'] as const) {
    const [had, gets] = [now[name], next[name]];
    if (had !== null && (gets === null || gets > had)) throw notYours(name);
  }
  for (const name of [
    'budget_duration',
    'budget_limits',
    'model_max_budget',
    'allowed_regions',
    'organization_id',
    'blocked',
  ] as const) {
    if (JSON.stringify(now[name]) !== JSON.stringify(next[name])) throw notYours(name);
  }
  for (const name of MONEY_IN_METADATA) {
    if (JSON.stringify(now.metadata[name]) !== JSON.stringify(next.metadata[name])) throw notYours(`metadata.${name}`);
  }
}

/** Nor more to each member of it. */
export function refuseMemberBudget(fields: Fields): void {
  const given = Object.keys(MEMBER_FIELDS).find((name) => fields[name] !== undefined);
  if (given !== undefined) throw notYours(given);
}

const MONEY_IN_METADATA = [
  'model_rpm_limit',
  'model_tpm_limit',
  'rpm_limit_type',
  'tpm_limit_type',
  'budget_mode',
  'strict_inject_max_tokens',
  'offline_reserve',
  'offline_overdraft_usd',
  'limit_scope',
] as const;

function notYours(field: string): ClavigerError {
  return new ClavigerError(
    'forbidden',
    {
      reason: `A team admin can not give its own team more: ${field}. Ask a proxy admin or an admin of the organization.`,
    },
    { param: field },
  );
}
