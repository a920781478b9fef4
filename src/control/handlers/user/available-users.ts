import { availableUsersRoute } from '../../../contract/routes/users.ts';
import { countUsersAndTeams } from '../../../storage/queries/list-users.ts';
import { endpoint } from '../handler.ts';

/** LiteLLM's counters of a licence; there is no limit here. */
export const availableUsersEndpoint = endpoint(availableUsersRoute, async (_input, { db }) => {
  const { users, teams } = await db.read(countUsersAndTeams);
  return {
    json: {
      total_users: null,
      total_users_used: users,
      total_users_remaining: null,
      total_teams: null,
      total_teams_used: teams,
      total_teams_remaining: null,
    },
  };
});
