import { availableTeamsRoute } from '../../../contract/routes/teams.ts';
import { membershipsOfUsers, membersOfTeams } from '../../../storage/repositories/team-members.ts';
import { teams } from '../../../storage/repositories/teams.ts';
import { availableTeamIds } from '../../accounts/available-teams.ts';
import { TEAM_MEMBERS_MAX } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { endpoint } from '../handler.ts';
import { TEAMS_SHOWN_MAX } from '../user/update-user.ts';

export const availableTeamsEndpoint = endpoint(availableTeamsRoute, async ({ caller }, { db, config }) => ({
  json: await db.read(async (tx) => {
    const own = caller.userId === null ? [] : await membershipsOfUsers(tx, [caller.userId], TEAMS_SHOWN_MAX);
    const joined = new Set(own.map(({ object }) => object.team_id));
    const ids = availableTeamIds(config()).filter((id) => !joined.has(id));
    const found = await teams.findAll(tx, ids.slice(0, TEAMS_SHOWN_MAX));
    const members = await membersOfTeams(tx, ids, TEAM_MEMBERS_MAX);
    return found.map((team) => presentTeam(team, members));
  }),
}));
