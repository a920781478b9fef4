import { bulkAddMembersRoute } from '../../../contract/routes/teams.ts';
import { MEMBERS_PER_REQUEST_MAX, type RequestedMember } from '../../../contract/schemas/team.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { Tx } from '../../../storage/db.ts';
import { allUserIds } from '../../../storage/queries/list-users.ts';
import { addMembers, membersOf } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { mayChangeTeam } from '../../accounts/rights.ts';
import { lockTeam } from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { isProxyAdmin } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';

export const bulkAddMembersEndpoint = endpoint(bulkAddMembersRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const team = await lockTeam(write, body.team_id);
    await mayChangeTeam(write.tx, caller, team.object);
    if (body.all_users && !isProxyAdmin(caller)) {
      throw new ClavigerError('forbidden', { reason: 'Only a proxy admin can add all users to a team.' });
    }
    const requested = body.all_users ? await everybody(write.tx) : (body.members ?? []);
    if (requested.length === 0) throw new ClavigerError('bad_request', { reason: 'Pass `members` or `all_users`.' });
    const { users, already } = await addMembers(write, team.object, requested, { ...body, lettingPass: true }, moment);
    const results = users.map(({ user_id, user_email }) => ({
      user_id,
      user_email,
      success: !already.includes(user_id),
      error: already.includes(user_id) ? `User ${user_id} is already in team ${body.team_id}.` : null,
    }));
    return {
      team_id: body.team_id,
      results,
      total_requested: requested.length,
      successful_additions: results.length - already.length,
      failed_additions: already.length,
      updated_team: presentTeam(team, await membersOf(write, body.team_id)),
    };
  });
  return { json: value, rev };
});

async function everybody(tx: Tx): Promise<RequestedMember[]> {
  const ids = await allUserIds(tx, MEMBERS_PER_REQUEST_MAX + 1);
  if (ids.length > MEMBERS_PER_REQUEST_MAX) {
    throw new ClavigerError('bad_request', {
      reason: `There are more than ${MEMBERS_PER_REQUEST_MAX} users. Pass them as \`members\`, at most ${MEMBERS_PER_REQUEST_MAX} at once.`,
    });
  }
  return ids.map((user_id) => ({ role: 'user', user_id }));
}
