/** Who may do what with teams and organizations. An admin may do everything; what others may do is looked up in the same transaction. */
import { memberId } from '../../domain/account.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { Team } from '../../domain/team.ts';
import type { Tx } from '../../storage/db.ts';
import { organizationMembers, organizationMembershipsOf } from '../../storage/repositories/organizations.ts';
import { membershipsOfUsers, teamMembers } from '../../storage/repositories/team-members.ts';
import { type Caller, isProxyAdmin, seesEverything } from '../auth/caller.ts';

/** Organizations of one user that are looked at. */
export const ORGANIZATIONS_PER_USER_MAX = 1_000;
/** Teams of one user that are looked at. */
export const TEAMS_PER_USER_MAX = 1_000;

export type TeamRole = 'proxy admin' | 'organization admin' | 'team admin' | 'viewer' | 'member' | 'none';

export async function roleInTeam(tx: Tx, caller: Caller, team: Team): Promise<TeamRole> {
  if (isProxyAdmin(caller)) return 'proxy admin';
  if (await isOrganizationAdmin(tx, caller, team.organization_id)) return 'organization admin';
  const member = caller.userId === null ? null : await teamMembers.find(tx, memberId(team.team_id, caller.userId));
  if (member?.object.role === 'admin') return 'team admin';
  if (seesEverything(caller)) return 'viewer';
  return member === null ? 'none' : 'member';
}

/** Throws 403 unless the caller may change the team. */
export async function mayChangeTeam(tx: Tx, caller: Caller, team: Team): Promise<TeamRole> {
  const role = await roleInTeam(tx, caller, team);
  if (role === 'proxy admin' || role === 'organization admin' || role === 'team admin') return role;
  throw new ClavigerError('forbidden', {
    reason: `Only a proxy admin, an admin of its organization or an admin of the team may do this. team_id=${team.team_id}`,
  });
}

/** Throws 403 unless the caller may look at the team. A key of the team sees its team. */
export async function maySeeTeam(tx: Tx, caller: Caller, team: Team): Promise<void> {
  if (caller.kind === 'key' && caller.stored.key.team_id === team.team_id) return;
  if ((await roleInTeam(tx, caller, team)) !== 'none') return;
  throw new ClavigerError('not_your_object', { action: 'view this team' });
}

export async function isOrganizationAdmin(tx: Tx, caller: Caller, organizationId: string | null): Promise<boolean> {
  if (organizationId === null || caller.userId === null) return false;
  const member = await organizationMembers.find(tx, memberId(organizationId, caller.userId));
  return member?.object.user_role === 'org_admin';
}

/** Throws 403 unless the caller may change members of the organization. */
export async function mayChangeOrganization(tx: Tx, caller: Caller, organizationId: string): Promise<void> {
  if (isProxyAdmin(caller) || (await isOrganizationAdmin(tx, caller, organizationId))) return;
  throw new ClavigerError('forbidden', {
    reason: `Only a proxy admin or an admin of the organization may do this. organization_id=${organizationId}`,
  });
}

/** Ids of the teams that the caller administers as one of them; those of its organizations are not in here. */
export async function administeredTeams(tx: Tx, caller: Caller): Promise<string[]> {
  if (caller.userId === null) return [];
  const memberships = await membershipsOfUsers(tx, [caller.userId], TEAMS_PER_USER_MAX);
  return memberships.filter(({ object }) => object.role === 'admin').map(({ object }) => object.team_id);
}

/** Ids of the organizations that the caller administers, or belongs to. */
export async function organizationsOf(
  tx: Tx,
  caller: Caller,
  { onlyAdministered }: { readonly onlyAdministered: boolean },
): Promise<string[]> {
  if (caller.userId === null) return [];
  const memberships = await organizationMembershipsOf(tx, [caller.userId], ORGANIZATIONS_PER_USER_MAX);
  return memberships
    .filter(({ object }) => !onlyAdministered || object.user_role === 'org_admin')
    .map(({ object }) => object.organization_id);
}
