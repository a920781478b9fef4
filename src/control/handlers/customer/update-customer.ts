import { updateCustomerRoutes } from '../../../contract/routes/customers.ts';
import { applyObjectFields } from '../../accounts/apply-object-fields.ts';
import { budgetIdFrom } from '../../accounts/budget-objects.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { CUSTOMER_PLAN, lockCustomers } from '../../accounts/customer-objects.ts';
import { budgetsOf, presentCustomer } from '../../accounts/present-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const updateCustomerEndpoints = updateCustomerRoutes.map((route) =>
  endpoint(route, async ({ body, caller, origin }, context) => {
    const moment = momentOf(context, caller);
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      const [stored] = await lockCustomers(write, [body.user_id]);
      const { object } = stored!;
      const budget_id = await budgetIdFrom(write, body, object.budget_id, moment);
      const next = applyObjectFields(object, body, CUSTOMER_PLAN, moment);
      const customer = budget_id === undefined ? next : { ...next, budget_id };
      const op = customer.blocked === object.blocked ? 'updated' : customer.blocked ? 'blocked' : 'unblocked';
      const replaced = await replaceObject(write, 'customer', stored!, customer, op);
      return presentCustomer(replaced, await budgetsOf(write.tx, [replaced]));
    });
    return { json: value, rev };
  }),
);
