import { addTeamModelsRoute, deleteTeamModelsRoute } from '../../../contract/routes/teams.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { Team } from '../../../domain/team.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { membersOf } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { mayChangeTeam } from '../../accounts/rights.ts';
import { applyTeamFields, checkWithinOrganization, lockTeam } from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput, type HandlerResult } from '../handler.ts';

export const addTeamModelsEndpoint = endpoint(addTeamModelsRoute, (input, context) =>
  changeModels(input, context, (team) => [...new Set([...team.models, ...input.body.models])]),
);

export const deleteTeamModelsEndpoint = endpoint(deleteTeamModelsRoute, (input, context) =>
  changeModels(input, context, (team) => {
    const left = team.models.filter((name) => !input.body.models.includes(name));
    if (left.length > 0 || team.models.length === 0) return left;
    throw new ClavigerError(
      'bad_request',
      {
        reason:
          'Without the last of its models a team could use all of them, because an empty list means all. Block the team, or set models to ["no-default-models"].',
      },
      { param: 'models' },
    );
  }),
);

async function changeModels(
  { body, caller, origin }: HandlerInput<unknown, { readonly team_id: string }>,
  context: ControlContext,
  modelsOf: (team: Team) => readonly string[],
): Promise<HandlerResult> {
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const stored = await lockTeam(write, body.team_id);
    await mayChangeTeam(write.tx, caller, stored.object);
    const next = applyTeamFields(stored.object, { models: modelsOf(stored.object) }, moment);
    await checkWithinOrganization(write, next);
    const team = await replaceObject(write, 'team', stored, next);
    return presentTeam(team, await membersOf(write, body.team_id));
  });
  return { json: value, rev };
}
