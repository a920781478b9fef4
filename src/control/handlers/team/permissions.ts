import {
  bulkTeamPermissionsRoute,
  teamPermissionsRoute,
  updateTeamPermissionsRoute,
} from '../../../contract/routes/teams.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { allTeamIds } from '../../../storage/queries/list-teams.ts';
import { teams } from '../../../storage/repositories/teams.ts';
import { CASCADE_MAX } from '../../accounts/cascade.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { membersOf } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { mayChangeTeam } from '../../accounts/rights.ts';
import {
  applyTeamFields,
  DEFAULT_MEMBER_PERMISSIONS,
  findTeam,
  lockTeam,
  MEMBER_PERMISSIONS,
} from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const teamPermissionsEndpoint = endpoint(teamPermissionsRoute, async ({ query, caller }, { db }) => ({
  json: await db.read(async (tx) => {
    const { object: team } = await findTeam(tx, query.team_id);
    await mayChangeTeam(tx, caller, team);
    const own = team.team_member_permissions;
    return {
      team_id: team.team_id,
      team_member_permissions: own.length === 0 ? DEFAULT_MEMBER_PERMISSIONS : own,
      all_available_permissions: MEMBER_PERMISSIONS,
    };
  }),
}));

export const updateTeamPermissionsEndpoint = endpoint(
  updateTeamPermissionsRoute,
  async ({ body, caller, origin }, context) => {
    const moment = momentOf(context, caller);
    const { team_id, team_member_permissions } = body;
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      const stored = await lockTeam(write, team_id);
      await mayChangeTeam(write.tx, caller, stored.object);
      const next = applyTeamFields(stored.object, { team_member_permissions }, moment);
      return presentTeam(await replaceObject(write, 'team', stored, next), await membersOf(write, team_id));
    });
    return { json: value, rev };
  },
);

export const bulkTeamPermissionsEndpoint = endpoint(
  bulkTeamPermissionsRoute,
  async ({ body, caller, origin }, context) => {
    const moment = momentOf(context, caller);
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      const ids = body.apply_to_all_teams ? await allTeamIds(write.tx, CASCADE_MAX + 1) : [...new Set(body.team_ids)];
      if (ids.length > CASCADE_MAX) {
        throw new ClavigerError('conflict', {
          reason: `There are more than ${CASCADE_MAX} teams. Pass them as team_ids.`,
        });
      }
      const found = await teams.lock(write.tx, ids);
      if (found.length === 0 || found.length < ids.length) {
        if (ids.length === 0)
          throw new ClavigerError('bad_request', { reason: 'Pass `team_ids` or `apply_to_all_teams`.' });
        const known = new Set(found.map(({ object }) => object.team_id));
        const what = `Team with team_id=${ids.find((id) => !known.has(id))}`;
        throw new ClavigerError('object_not_found', { what }, { param: 'team_ids' });
      }
      for (const team of found) {
        const next = applyTeamFields(team.object, { team_member_permissions: body.permissions }, moment);
        await replaceObject(write, 'team', team, next);
      }
      return found.length;
    });
    return { json: { message: `Permissions of ${value} teams were set`, teams_updated: value }, rev };
  },
);
