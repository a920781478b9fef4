import { newCustomerRoutes } from '../../../contract/routes/customers.ts';
import { applyObjectFields } from '../../accounts/apply-object-fields.ts';
import { budgetIdFrom } from '../../accounts/budget-objects.ts';
import { createObject } from '../../accounts/change-object.ts';
import { CUSTOMER_PLAN, emptyCustomer } from '../../accounts/customer-objects.ts';
import { budgetsOf, presentCustomer } from '../../accounts/present-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';
import { spendFrom } from '../key/store-key.ts';

export const newCustomerEndpoints = newCustomerRoutes.map((route) =>
  endpoint(route, async ({ body, caller, origin }, context) => {
    const moment = momentOf(context, caller);
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      const customer = applyObjectFields(emptyCustomer(body.user_id, moment), body, CUSTOMER_PLAN, moment);
      const budget_id = (await budgetIdFrom(write, body, null, moment)) ?? null;
      const stored = await createObject(write, 'customer', { ...customer, budget_id }, spendFrom(body.spend ?? 0));
      return presentCustomer(stored, await budgetsOf(write.tx, [stored]));
    });
    return { json: value, rev };
  }),
);
