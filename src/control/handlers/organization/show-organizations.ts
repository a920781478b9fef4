import {
  listOrganizationsRoute,
  organizationInfoRoute,
  organizationInfosRoute,
} from '../../../contract/routes/organizations.ts';
import { memberId } from '../../../domain/account.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { listOrganizations } from '../../../storage/queries/list-organizations.ts';
import { organizationMembers, organizations } from '../../../storage/repositories/organizations.ts';
import { findOrganization } from '../../accounts/organization-objects.ts';
import { organizationsOf } from '../../accounts/rights.ts';
import { wholeOrganizations } from '../../accounts/whole-organizations.ts';
import { seesEverything } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';

/** The route has no pages. `x-claviger-truncated: true` says that there are more; its filters reach them. */
export const ORGANIZATIONS_LISTED_MAX = 1_000;

export const listOrganizationsEndpoint = endpoint(listOrganizationsRoute, async ({ query, caller }, context) =>
  context.staleReads.read(async (tx) => {
    const own = seesEverything(caller) ? null : await organizationsOf(tx, caller, { onlyAdministered: false });
    const { rows, total } = await listOrganizations(tx, {
      ids: own,
      id: query.org_id,
      alias: query.org_alias,
      limit: ORGANIZATIONS_LISTED_MAX,
    });
    const json = await wholeOrganizations(tx, rows);
    return { json, headers: total > rows.length ? { 'x-claviger-truncated': 'true' } : {} };
  }, context.tail.position?.rev),
);

export const organizationInfoEndpoint = endpoint(organizationInfoRoute, async ({ query, caller }, { db }) => ({
  json: await db.read(async (tx) => {
    const id = query.organization_id;
    const stored = await findOrganization(tx, id);
    const member = caller.userId === null ? null : await organizationMembers.find(tx, memberId(id, caller.userId));
    if (member === null && !seesEverything(caller)) {
      throw new ClavigerError('not_your_object', { action: 'view this organization' });
    }
    return (await wholeOrganizations(tx, [stored], { withUsers: true }))[0];
  }),
}));

export const organizationInfosEndpoint = endpoint(organizationInfosRoute, async ({ body }, { db }) => {
  if (body.organizations.length === 0) {
    throw new ClavigerError('bad_request', { reason: 'Name at least one organization in `organizations`.' });
  }
  return {
    json: await db.read(async (tx) =>
      wholeOrganizations(tx, await organizations.findAll(tx, body.organizations), { withUsers: true }),
    ),
  };
});
