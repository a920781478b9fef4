import { teamInfoRoute } from '../../../contract/routes/teams.ts';
import { textOf } from '../../../domain/json-fields.ts';
import { keysOfOwners } from '../../../storage/queries/owned-keys.ts';
import { budgets } from '../../../storage/repositories/budget-objects.ts';
import { membersOf } from '../../accounts/members.ts';
import { budgetsOf, presentBudget, presentMember, presentTeam } from '../../accounts/present-objects.ts';
import { maySeeTeam } from '../../accounts/rights.ts';
import { findTeam, MEMBER_BUDGET } from '../../accounts/team-objects.ts';
import { endpoint } from '../handler.ts';
import { presentKey } from '../key/present-key.ts';
import { KEYS_SHOWN_MAX } from '../user/user-info.ts';

export const teamInfoEndpoint = endpoint(teamInfoRoute, async ({ query, caller }, { db }) => ({
  json: await db.read(async (tx) => {
    const team = await findTeam(tx, query.team_id);
    await maySeeTeam(tx, caller, team.object);
    const members = await membersOf({ tx }, query.team_id);
    const limit = Math.min(query.key_limit ?? KEYS_SHOWN_MAX, KEYS_SHOWN_MAX);
    const keys = await keysOfOwners(tx, { teamIds: [query.team_id] }, limit);
    const known = await budgetsOf(tx, members);
    const budgetId = textOf(team.object.metadata[MEMBER_BUDGET]);
    const ofMembers = budgetId === null ? null : await budgets.find(tx, budgetId);
    return {
      team_id: query.team_id,
      team_info: {
        ...presentTeam(team, members),
        team_member_budget_table: ofMembers === null ? null : presentBudget(ofMembers),
      },
      keys: keys.map(({ key, spendNano }) => presentKey(key, spendNano)),
      team_memberships: members.map((member) => presentMember(member, known)),
    };
  }),
}));
