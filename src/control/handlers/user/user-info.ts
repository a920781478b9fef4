import { userInfoRoute, userInfoV2Route } from '../../../contract/routes/users.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import type { Tx } from '../../../storage/db.ts';
import { newestTeams } from '../../../storage/queries/list-teams.ts';
import { keysOfOwners } from '../../../storage/queries/owned-keys.ts';
import { membershipsOfUsers, membersOfTeams } from '../../../storage/repositories/team-members.ts';
import { teams } from '../../../storage/repositories/teams.ts';
import { users } from '../../../storage/repositories/users.ts';
import { TEAM_MEMBERS_MAX } from '../../accounts/members.ts';
import { maySeeUser } from '../../accounts/own-record.ts';
import { presentTeam, presentUser } from '../../accounts/present-objects.ts';
import { type Caller, seesEverything } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';
import { presentKey } from '../key/present-key.ts';
import { TEAMS_SHOWN_MAX } from './update-user.ts';

/** Keys in an answer about a user or a team, newest first; `/key/list` has them all. */
export const KEYS_SHOWN_MAX = 1_000;

export const userInfoEndpoint = endpoint(userInfoRoute, async ({ query, caller }, { db }) => {
  const userId = query.user_id ?? caller.userId;
  maySeeUser(caller, userId);
  // An admin that names nobody gets everything, for the console.
  const everything = query.user_id === undefined && seesEverything(caller);
  return {
    json: await db.read(async (tx) => {
      const user = userId === null ? null : await userRow(tx, userId);
      if (user === null && query.user_id !== undefined) throw notFound(query.user_id);
      const keys = await keysOfOwners(tx, everything ? {} : { userIds: [userId ?? ''] }, KEYS_SHOWN_MAX);
      const memberships = userId === null ? [] : await membershipsOfUsers(tx, [userId], TEAMS_SHOWN_MAX);
      const own = memberships.map(({ object }) => object.team_id);
      const shownTeams = everything ? await newestTeams(tx, TEAMS_SHOWN_MAX) : await teams.findAll(tx, own);
      const members = await membersOfTeams(
        tx,
        shownTeams.map(({ object }) => object.team_id),
        TEAM_MEMBERS_MAX,
      );
      return {
        user_id: userId,
        user_info: user,
        keys: keys.map(({ key, spendNano }) => presentKey(key, spendNano)),
        teams: shownTeams.map((team) => presentTeam(team, members)),
      };
    }),
  };
});

export const userInfoV2Endpoint = endpoint(userInfoV2Route, async ({ query, caller }, { db }) => {
  const userId = query.user_id ?? caller.userId;
  maySeeUser(caller, userId);
  const user = userId === null ? null : await db.read((tx) => userRow(tx, userId));
  if (user === null) throw notFound(userId ?? idOf(caller));
  return { json: user };
});

async function userRow(tx: Tx, userId: string): Promise<JsonObject | null> {
  const stored = await users.find(tx, userId);
  if (stored === null) return null;
  const memberships = await membershipsOfUsers(tx, [userId], TEAMS_SHOWN_MAX);
  return presentUser(
    stored,
    memberships.map(({ object }) => object.team_id),
  );
}

function idOf(caller: Caller): string {
  return caller.userId ?? 'None';
}

function notFound(userId: string): ClavigerError {
  return new ClavigerError('object_not_found', { what: `User with user_id=${userId}` }, { param: 'user_id' });
}
