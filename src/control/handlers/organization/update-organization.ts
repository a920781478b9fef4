import { updateOrganizationRoute } from '../../../contract/routes/organizations.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { applyObjectFields } from '../../accounts/apply-object-fields.ts';
import { budgetIdFrom, newBudget } from '../../accounts/budget-objects.ts';
import { createObject, replaceObject } from '../../accounts/change-object.ts';
import { lockOrganization, ORGANIZATION_PLAN } from '../../accounts/organization-objects.ts';
import { mayChangeOrganization } from '../../accounts/rights.ts';
import { wholeOrganizations } from '../../accounts/whole-organizations.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { isProxyAdmin } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';

/** What an organization admin may change. */
const HARMLESS: ReadonlySet<string> = new Set(['organization_id', 'organization_alias']);

export const updateOrganizationEndpoint = endpoint(
  updateOrganizationRoute,
  async ({ body, caller, origin }, context) => {
    const moment = momentOf(context, caller);
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      const stored = await lockOrganization(write, body.organization_id);
      await mayChangeOrganization(write.tx, caller, body.organization_id);
      const others = Object.entries(body).filter(([name, value]) => value !== undefined && !HARMLESS.has(name));
      if (!isProxyAdmin(caller) && others.length > 0) {
        const names = others.map(([name]) => name).join(', ');
        throw new ClavigerError('forbidden', { reason: `Only a proxy admin can change ${names} of an organization.` });
      }
      const { object } = stored;
      const found = await budgetIdFrom(write, body, object.budget_id, moment);
      const budget_id =
        found === null
          ? (await createObject(write, 'budget', newBudget(null, {}, moment))).object.budget_id
          : (found ?? object.budget_id);
      const next = applyObjectFields(object, body, ORGANIZATION_PLAN, moment);
      const op = next.blocked === object.blocked ? 'updated' : next.blocked ? 'blocked' : 'unblocked';
      const replaced = await replaceObject(write, 'organization', stored, { ...next, budget_id }, op);
      return (await wholeOrganizations(write.tx, [replaced]))[0]!;
    });
    return { json: value, rev };
  },
);
