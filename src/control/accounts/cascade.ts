/** What goes when a team, user, member or organization goes, in the same transaction. */
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { type KeyOwners, tokensOfOwners } from '../../storage/queries/owned-keys.ts';
import { type Deletion, deleteKey, lockKeys } from '../../storage/repositories/keys.ts';
import {
  membersOfOrganizations,
  organizationMembers,
  organizationMembershipsOf,
} from '../../storage/repositories/organizations.ts';
import {
  membershipsOfUsers,
  membersOfTeams,
  type StoredMember,
  teamMembers,
} from '../../storage/repositories/team-members.ts';
import { keepDeletedTeam, type StoredTeam } from '../../storage/repositories/teams.ts';
import type { Caller } from '../auth/caller.ts';
import type { Origin } from '../config/append-change.ts';
import type { Moment } from './apply-object-fields.ts';
import { deleteObject, type Writing } from './change-object.ts';

/** Each is an entry of the change log, and all of them are one transaction. More are a 409 that says what to delete first. */
export const CASCADE_MAX = 5_000;

export function deletionBy(caller: Caller, origin: Origin, { nowMs }: Moment): Deletion {
  return {
    deletedAt: new Date(nowMs).toISOString(),
    deletedBy: caller.userId,
    deletedByApiKey: caller.token,
    changedBy: origin.changedBy,
  };
}

/** Deleted this way a key is refused everywhere as one that was deleted by itself. */
export async function deleteKeysOf({ tx, changed }: Writing, owners: KeyOwners, deletion: Deletion): Promise<void> {
  const tokens = await tokensOfOwners(tx, owners, CASCADE_MAX + 1);
  refuseMany(tokens.length, 'keys', 'Delete keys with /key/delete first.');
  for (const stored of await lockKeys(tx, tokens)) {
    const objectRev = stored.objectRev + 1;
    await deleteKey(tx, { ...stored, objectRev }, deletion);
    changed({ kind: 'key', objectId: stored.key.token, objectRev, op: 'deleted', before: stored.key, after: null });
  }
}

/** The teams are locked. */
export async function deleteTeams(
  write: Writing,
  teams: readonly StoredTeam[],
  deletion: Deletion,
): Promise<StoredMember[]> {
  const teamIds = teams.map(({ object }) => object.team_id);
  const members = await lockMembers(write, await membersOfTeams(write.tx, teamIds, CASCADE_MAX + 1));
  await deleteKeysOf(write, { teamIds }, deletion);
  for (const member of members) await deleteObject(write, 'team_member', member);
  for (const team of teams) {
    await keepDeletedTeam(write.tx, {
      team: team.object,
      members: members.filter(({ object }) => object.team_id === team.object.team_id).map(({ object }) => object),
      spendNano: team.spendNano,
      deletion,
    });
    await deleteObject(write, 'team', team);
  }
  return members;
}

/** The users are locked. */
export async function deleteMembershipsOf(write: Writing, userIds: readonly string[]): Promise<void> {
  const members = await membershipsOfUsers(write.tx, userIds, CASCADE_MAX + 1);
  for (const member of await lockMembers(write, members)) await deleteObject(write, 'team_member', member);
  const inOrganizations = await organizationMembershipsOf(write.tx, userIds, CASCADE_MAX + 1);
  await deleteOrganizationMembers(
    write,
    inOrganizations.map(({ object }) => organizationMembers.idOf(object)),
  );
}

export async function deleteMembersOfOrganizations(write: Writing, organizationIds: readonly string[]): Promise<void> {
  const members = await membersOfOrganizations(write.tx, organizationIds, CASCADE_MAX + 1);
  await deleteOrganizationMembers(
    write,
    members.map(({ object }) => organizationMembers.idOf(object)),
  );
}

async function deleteOrganizationMembers(write: Writing, ids: readonly string[]): Promise<void> {
  refuseMany(ids.length, 'members of organizations', 'Take members out first.');
  for (const member of await organizationMembers.lock(write.tx, ids)) {
    await deleteObject(write, 'organization_member', member);
  }
}

function lockMembers({ tx }: Writing, members: readonly StoredMember[]): Promise<StoredMember[]> {
  refuseMany(members.length, 'members', 'Take members out with /team/member_delete first.');
  return teamMembers.lock(
    tx,
    members.map(({ object }) => teamMembers.idOf(object)),
  );
}

function refuseMany(count: number, what: string, todo: string): void {
  if (count <= CASCADE_MAX) return;
  throw new ClavigerError('conflict', {
    reason: `More than ${CASCADE_MAX} ${what} would be deleted with it, and at most ${CASCADE_MAX} are possible in one transaction. ${todo}`,
  });
}
