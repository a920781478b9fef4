import { listBudgetsRoute } from '../../../contract/routes/budgets.ts';
import { budgets } from '../../../storage/repositories/budget-objects.ts';
import { onlyAdmins } from '../../accounts/budget-objects.ts';
import { presentBudget } from '../../accounts/present-objects.ts';
import { seesEverything } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';

/** The route has no pages. `x-claviger-truncated: true` says that there are more; `/budget/info` shows any by id. */
export const BUDGETS_LISTED_MAX = 1_000;

export const listBudgetsEndpoint = endpoint(listBudgetsRoute, async ({ caller }, { staleReads, tail }) => {
  if (!seesEverything(caller)) throw onlyAdmins('list budgets');
  const { rows, total } = await staleReads.read((tx) => budgets.newest(tx, BUDGETS_LISTED_MAX), tail.position?.rev);
  return { json: rows.map(presentBudget), headers: total > rows.length ? { 'x-claviger-truncated': 'true' } : {} };
});
