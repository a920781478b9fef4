import { budgetInfoRoute } from '../../../contract/routes/budgets.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { budgets } from '../../../storage/repositories/budget-objects.ts';
import { presentBudget } from '../../accounts/present-objects.ts';
import { endpoint } from '../handler.ts';

export const budgetInfoEndpoint = endpoint(budgetInfoRoute, async ({ body }, { db }) => {
  if (body.budgets.length === 0) {
    throw new ClavigerError('bad_request', { reason: 'Name at least one budget in `budgets`.' }, { param: 'budgets' });
  }
  const found = await db.read((tx) => budgets.findAll(tx, body.budgets));
  return { json: found.map(presentBudget) };
});
