import { deleteTeamsRoute } from '../../../contract/routes/teams.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { teams } from '../../../storage/repositories/teams.ts';
import { deleteTeams, deletionBy } from '../../accounts/cascade.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { mayChangeTeam } from '../../accounts/rights.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const deleteTeamsEndpoint = endpoint(deleteTeamsRoute, async ({ body, caller, origin }, context) => {
  const teamIds = [...new Set(body.team_ids)];
  const deletion = deletionBy(caller, origin, momentOf(context, caller));
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const found = await teams.lock(write.tx, teamIds);
    const known = new Set(found.map(({ object }) => object.team_id));
    const missing = teamIds.find((id) => !known.has(id));
    if (missing !== undefined || found.length === 0) {
      throw new ClavigerError(
        'object_not_found',
        { what: `Team with team_id=${missing ?? ''}` },
        { param: 'team_ids' },
      );
    }
    for (const { object } of found) await mayChangeTeam(write.tx, caller, object);
    const members = await deleteTeams(write, found, deletion);
    return found.map((team) => presentTeam(team, members));
  });
  return { json: value, rev };
});
