import {
  addOrganizationMemberRoute,
  deleteOrganizationMemberRoute,
  updateOrganizationMemberRoute,
} from '../../../contract/routes/organizations.ts';
import { users } from '../../../storage/repositories/users.ts';
import { budgetIdFrom } from '../../accounts/budget-objects.ts';
import { deleteObject, replaceObject } from '../../accounts/change-object.ts';
import { checkMoneyFields } from '../../accounts/check-money-fields.ts';
import { addToOrganization, lockOrganization, lockOrganizationMember } from '../../accounts/organization-objects.ts';
import { presentUser } from '../../accounts/present-objects.ts';
import { mayChangeOrganization } from '../../accounts/rights.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const addOrganizationMemberEndpoint = endpoint(
  addOrganizationMemberRoute,
  async ({ body, caller, origin }, context) => {
    const moment = momentOf(context, caller);
    const { organization_id, member, max_budget_in_organization = null } = body;
    const requested = Array.isArray(member) ? member : [member];
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      await lockOrganization(write, organization_id);
      await mayChangeOrganization(write.tx, caller, organization_id);
      const { users: named, added } = await addToOrganization(
        write,
        organization_id,
        requested,
        max_budget_in_organization,
        moment,
      );
      const stored = await users.findAll(
        write.tx,
        named.map(({ user_id }) => user_id),
      );
      return {
        organization_id,
        updated_users: stored.map((user) => presentUser(user, [])),
        updated_organization_memberships: added.map(({ object }) => object),
      };
    });
    return { json: value, rev };
  },
);

export const updateOrganizationMemberEndpoint = endpoint(
  updateOrganizationMemberRoute,
  async ({ body, caller, origin }, context) => {
    const moment = momentOf(context, caller);
    const max_budget = body.max_budget_in_organization;
    checkMoneyFields({ max_budget });
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      await lockOrganization(write, body.organization_id);
      await mayChangeOrganization(write.tx, caller, body.organization_id);
      const stored = await lockOrganizationMember(write, body.organization_id, body);
      const budgetId = await budgetIdFrom(write, { max_budget }, stored.object.budget_id, moment);
      return replaceObject(write, 'organization_member', stored, {
        ...stored.object,
        user_role: body.role ?? stored.object.user_role,
        budget_id: budgetId === undefined ? stored.object.budget_id : budgetId,
        updated_at: new Date(moment.nowMs).toISOString(),
      });
    });
    return { json: value.object, rev };
  },
);

export const deleteOrganizationMemberEndpoint = endpoint(
  deleteOrganizationMemberRoute,
  async ({ body, caller, origin }, context) => {
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      await lockOrganization(write, body.organization_id);
      await mayChangeOrganization(write.tx, caller, body.organization_id);
      const stored = await lockOrganizationMember(write, body.organization_id, body);
      await deleteObject(write, 'organization_member', stored);
      return stored.object;
    });
    return { json: value, rev };
  },
);
