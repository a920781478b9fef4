import { blockTeamRoute, unblockTeamRoute } from '../../../contract/routes/teams.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { membersOf } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { lockTeam } from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput, type HandlerResult } from '../handler.ts';

export const blockTeamEndpoint = endpoint(blockTeamRoute, (input, context) => setBlocked(true, input, context));
export const unblockTeamEndpoint = endpoint(unblockTeamRoute, (input, context) => setBlocked(false, input, context));

/** Blocking a blocked team is a change too: it says in the log who wanted it. */
async function setBlocked(
  blocked: boolean,
  { body, caller, origin }: HandlerInput<unknown, { readonly team_id: string }>,
  context: ControlContext,
): Promise<HandlerResult> {
  const { nowMs, by } = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const stored = await lockTeam(write, body.team_id);
    const next = { ...stored.object, blocked, updated_at: new Date(nowMs).toISOString(), updated_by: by };
    const team = await replaceObject(write, 'team', stored, next, blocked ? 'blocked' : 'unblocked');
    return presentTeam(team, await membersOf(write, body.team_id));
  });
  return { json: value, rev };
}
