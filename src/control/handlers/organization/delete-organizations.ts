import { deleteOrganizationsRoute } from '../../../contract/routes/organizations.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { teamIdsOfOrganizations } from '../../../storage/queries/list-teams.ts';
import { organizations } from '../../../storage/repositories/organizations.ts';
import { teams } from '../../../storage/repositories/teams.ts';
import {
  CASCADE_MAX,
  deleteKeysOf,
  deleteMembersOfOrganizations,
  deleteTeams,
  deletionBy,
} from '../../accounts/cascade.ts';
import { deleteObject } from '../../accounts/change-object.ts';
import { wholeOrganizations } from '../../accounts/whole-organizations.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const deleteOrganizationsEndpoint = endpoint(
  deleteOrganizationsRoute,
  async ({ body, caller, origin }, context) => {
    const ids = [...new Set(body.organization_ids)];
    const deletion = deletionBy(caller, origin, momentOf(context, caller));
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      const found = await organizations.lock(write.tx, ids);
      const known = new Set(found.map(({ object }) => object.organization_id));
      const missing = ids.find((id) => !known.has(id));
      if (missing !== undefined || found.length === 0) {
        const what = `Organization with organization_id=${missing ?? ''}`;
        throw new ClavigerError('object_not_found', { what }, { param: 'organization_ids' });
      }
      const shown = await wholeOrganizations(write.tx, found);
      const teamIds = await teamIdsOfOrganizations(write.tx, ids, CASCADE_MAX + 1);
      if (teamIds.length > CASCADE_MAX) {
        throw new ClavigerError('conflict', {
          reason: `More than ${CASCADE_MAX} teams would be deleted with it. Delete teams with /team/delete first.`,
        });
      }
      await deleteTeams(write, await teams.lock(write.tx, teamIds), deletion);
      // Keys that name it without a team: left alone they would go on without its limits.
      await deleteKeysOf(write, { organizationIds: ids }, deletion);
      await deleteMembersOfOrganizations(write, ids);
      for (const organization of found) await deleteObject(write, 'organization', organization);
      return shown;
    });
    return { json: value, rev };
  },
);
