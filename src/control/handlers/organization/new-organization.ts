import { newOrganizationRoute } from '../../../contract/routes/organizations.ts';
import type { Organization } from '../../../domain/organization.ts';
import { applyObjectFields, created } from '../../accounts/apply-object-fields.ts';
import { budgetIdFrom, newBudget } from '../../accounts/budget-objects.ts';
import { createObject } from '../../accounts/change-object.ts';
import { ORGANIZATION_PLAN } from '../../accounts/organization-objects.ts';
import { budgetsOf, presentOrganization } from '../../accounts/present-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const newOrganizationEndpoint = endpoint(newOrganizationRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const budget_id =
      (await budgetIdFrom(write, body, null, moment)) ??
      (await createObject(write, 'budget', newBudget(null, {}, moment))).object.budget_id;
    const empty: Organization = {
      organization_id: body.organization_id || moment.newId(),
      organization_alias: body.organization_alias,
      budget_id,
      models: [],
      blocked: false,
      object_permission: null,
      metadata: {},
      allowed_regions: [],
      ...created(moment),
    };
    const organization = applyObjectFields(empty, body, ORGANIZATION_PLAN, moment);
    const stored = await createObject(write, 'organization', organization);
    return presentOrganization(stored, await budgetsOf(write.tx, [stored]));
  });
  return { json: value, rev };
});
