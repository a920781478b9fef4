import { deleteMemberRoute } from '../../../contract/routes/teams.ts';
import { deleteKeysOf, deletionBy } from '../../accounts/cascade.ts';
import { deleteObject } from '../../accounts/change-object.ts';
import { lockMember, membersOf } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { mayChangeTeam } from '../../accounts/rights.ts';
import { lockTeam } from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const deleteMemberEndpoint = endpoint(deleteMemberRoute, async ({ body, caller, origin }, context) => {
  const deletion = deletionBy(caller, origin, momentOf(context, caller));
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const team = await lockTeam(write, body.team_id);
    await mayChangeTeam(write.tx, caller, team.object);
    const member = await lockMember(write, body.team_id, body);
    await deleteObject(write, 'team_member', member);
    await deleteKeysOf(write, { teamIds: [body.team_id], userIds: [member.object.user_id] }, deletion);
    return presentTeam(team, await membersOf(write, body.team_id));
  });
  return { json: value, rev };
});
