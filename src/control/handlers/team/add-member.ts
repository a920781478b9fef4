import { addMemberRoute } from '../../../contract/routes/teams.ts';
import { users } from '../../../storage/repositories/users.ts';
import { mayAddMembers } from '../../accounts/available-teams.ts';
import { addMembers, membersOf } from '../../accounts/members.ts';
import { budgetsOf, presentMember, presentTeam, presentUser } from '../../accounts/present-objects.ts';
import { lockTeam } from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const addMemberEndpoint = endpoint(addMemberRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const requested = Array.isArray(body.member) ? body.member : [body.member];
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const team = await lockTeam(write, body.team_id);
    await mayAddMembers(write.tx, caller, team.object, requested, body, context.config());
    const { users: named, added } = await addMembers(write, team.object, requested, body, moment);
    const known = await budgetsOf(write.tx, added);
    const stored = await users.findAll(
      write.tx,
      named.map(({ user_id }) => user_id),
    );
    return {
      ...presentTeam(team, await membersOf(write, body.team_id)),
      updated_users: stored.map((user) => presentUser(user, [body.team_id])),
      updated_team_memberships: added.map((member) => presentMember(member, known)),
    };
  });
  return { json: value, rev };
});
