import { updateBudgetRoute } from '../../../contract/routes/budgets.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { budgets } from '../../../storage/repositories/budget-objects.ts';
import { applyObjectFields } from '../../accounts/apply-object-fields.ts';
import { BUDGET_PLAN, budgetNotFound } from '../../accounts/budget-objects.ts';
import { replaceObject } from '../../accounts/change-object.ts';
import { presentBudget } from '../../accounts/present-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const updateBudgetEndpoint = endpoint(updateBudgetRoute, async ({ body, caller, origin }, context) => {
  const id = body.budget_id;
  if (!id) throw new ClavigerError('bad_request', { reason: 'budget_id is required.' }, { param: 'budget_id' });
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const [stored] = await budgets.lock(write.tx, [id]);
    if (stored === undefined) throw budgetNotFound(id);
    return replaceObject(write, 'budget', stored, applyObjectFields(stored.object, body, BUDGET_PLAN, moment));
  });
  return { json: presentBudget(value), rev };
});
