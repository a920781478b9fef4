import { newBudgetRoute } from '../../../contract/routes/budgets.ts';
import { newBudget } from '../../accounts/budget-objects.ts';
import { createObject } from '../../accounts/change-object.ts';
import { presentBudget } from '../../accounts/present-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const newBudgetEndpoint = endpoint(newBudgetRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, (write) =>
    createObject(write, 'budget', newBudget(body.budget_id, body, moment)),
  );
  return { json: presentBudget(value), rev };
});
