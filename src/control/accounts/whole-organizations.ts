import type { JsonObject } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import { teamIdsOfOrganizations } from '../../storage/queries/list-teams.ts';
import { membersOfOrganizations, type StoredOrganization } from '../../storage/repositories/organizations.ts';
import { membersOfTeams } from '../../storage/repositories/team-members.ts';
import { teams } from '../../storage/repositories/teams.ts';
import { users } from '../../storage/repositories/users.ts';
import { TEAM_MEMBERS_MAX } from './members.ts';
import { ORGANIZATION_MEMBERS_MAX } from './organization-objects.ts';
import { budgetsOf, presentOrganization, presentTeam, presentUser } from './present-objects.ts';

/** Teams of all organizations of one answer. */
export const ORGANIZATION_TEAMS_SHOWN_MAX = 1_000;

/** Organizations with members and teams; with users too when they are wanted. */
export async function wholeOrganizations(
  tx: Tx,
  stored: readonly StoredOrganization[],
  { withUsers = false }: { readonly withUsers?: boolean } = {},
): Promise<JsonObject[]> {
  const ids = stored.map(({ object }) => object.organization_id);
  const known = await budgetsOf(tx, stored);
  const members = await membersOfOrganizations(tx, ids, ORGANIZATION_MEMBERS_MAX);
  const memberBudgets = await budgetsOf(tx, members);
  const found = await teams.findAll(tx, await teamIdsOfOrganizations(tx, ids, ORGANIZATION_TEAMS_SHOWN_MAX));
  const inTeams = await membersOfTeams(
    tx,
    found.map(({ object }) => object.team_id),
    TEAM_MEMBERS_MAX,
  );
  const people = withUsers ? await users.findAll(tx, [...new Set(members.map(({ object }) => object.user_id))]) : [];
  return stored.map((organization) => {
    const id = organization.object.organization_id;
    const own = members.filter(({ object }) => object.organization_id === id).map(({ object }) => object);
    const userIds = new Set(own.map(({ user_id }) => user_id));
    const whole: JsonObject = {
      ...presentOrganization(organization, known),
      members: own.map((member) => ({
        ...member,
        litellm_budget_table:
          member.budget_id === null ? null : ((memberBudgets.get(member.budget_id) ?? null) as JsonObject | null),
      })),
      teams: found.filter(({ object }) => object.organization_id === id).map((team) => presentTeam(team, inTeams)),
    };
    if (!withUsers) return whole;
    return {
      ...whole,
      users: people.filter(({ object }) => userIds.has(object.user_id)).map((user) => presentUser(user, [])),
    };
  });
}
