import type { RequestedMember } from '../../contract/schemas/team.ts';
import { memberId } from '../../domain/account.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { InternalUser } from '../../domain/internal-user.ts';
import { textOf } from '../../domain/json-fields.ts';
import type { Team } from '../../domain/team.ts';
import type { TeamMember, TeamRole } from '../../domain/team-member.ts';
import { membersOfTeams, type StoredMember, teamMembers } from '../../storage/repositories/team-members.ts';
import { created, type Moment } from './apply-object-fields.ts';
import { budgetMustExist } from './budget-objects.ts';
import { createObject, type Writing } from './change-object.ts';
import { checkMoneyFields } from './check-money-fields.ts';
import { existingUserId, type NamedUser, namedUsers } from './user-objects.ts';

/** More in one team are a 400: every answer about a team lists them. */
export const TEAM_MEMBERS_MAX = 10_000;

export interface MemberLimits {
  readonly max_budget_in_team?: number | null | undefined;
  readonly budget_id?: string | null | undefined;
}

export interface AddedMembers {
  readonly users: readonly InternalUser[];
  readonly added: readonly StoredMember[];
  /** Those that were members before, when they are let pass. */
  readonly already: readonly string[];
}

/** Puts users into a team that is locked. A user that does not exist is made; one that is a member already is a 400, or let pass. */
export async function addMembers(
  write: Writing,
  team: Team,
  requested: readonly RequestedMember[],
  limits: MemberLimits & { readonly lettingPass?: boolean },
  moment: Moment,
): Promise<AddedMembers> {
  checkMoneyFields({ max_budget_in_team: limits.max_budget_in_team });
  if (limits.budget_id) await budgetMustExist(write, limits.budget_id);
  const users = await namedUsers(write, requested, moment);
  const existing = new Set((await membersOf(write, team.team_id)).map(({ object }) => object.user_id));
  const added: StoredMember[] = [];
  const already: string[] = [];
  for (const [index, user] of users.entries()) {
    if (existing.has(user.user_id)) {
      if (!limits.lettingPass) throw alreadyIn(user.user_id, team.team_id);
      already.push(user.user_id);
      continue;
    }
    if (existing.size >= TEAM_MEMBERS_MAX) {
      throw new ClavigerError('bad_request', { reason: `A team has at most ${TEAM_MEMBERS_MAX} members.` });
    }
    existing.add(user.user_id);
    const member = newMember(team, user, requested[index]!.role, limits, moment);
    added.push(await createObject(write, 'team_member', member));
  }
  return { users, added, already };
}

export function membersOf({ tx }: Pick<Writing, 'tx'>, teamId: string): Promise<StoredMember[]> {
  return membersOfTeams(tx, [teamId], TEAM_MEMBERS_MAX);
}

/** A member that is named by id or address, locked. Throws 400 when there is none. */
export async function lockMember(write: Pick<Writing, 'tx'>, teamId: string, named: NamedUser): Promise<StoredMember> {
  const userId = await existingUserId(write, named);
  const [member] = userId === null ? [] : await teamMembers.lock(write.tx, [memberId(teamId, userId)]);
  if (member !== undefined) return member;
  throw new ClavigerError(
    'bad_request',
    { reason: `User ${named.user_id || named.user_email} is not in team ${teamId}.` },
    { param: named.user_id ? 'user_id' : 'user_email' },
  );
}

function newMember(
  team: Team,
  user: InternalUser,
  role: TeamRole,
  { max_budget_in_team, budget_id }: MemberLimits,
  moment: Moment,
): TeamMember {
  const ofAll = textOf(team.metadata.team_member_budget_id);
  return {
    team_id: team.team_id,
    user_id: user.user_id,
    user_email: user.user_email,
    role,
    max_budget: max_budget_in_team ?? null,
    budget_duration: null,
    budget_reset_at: null,
    rpm_limit: null,
    tpm_limit: null,
    models: [...team.default_team_member_models],
    budget_id: budget_id || ofAll,
    ...created(moment),
  };
}

function alreadyIn(userId: string, teamId: string): ClavigerError {
  return new ClavigerError(
    'bad_request',
    { reason: `User ${userId} is already in team ${teamId}.` },
    { type: 'team_member_already_in_team', param: 'user_id' },
  );
}
