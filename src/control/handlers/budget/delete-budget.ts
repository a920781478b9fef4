import { deleteBudgetRoute } from '../../../contract/routes/budgets.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { budgets, usersOfBudget } from '../../../storage/repositories/budget-objects.ts';
import { budgetNotFound, onlyAdmins } from '../../accounts/budget-objects.ts';
import { deleteObject } from '../../accounts/change-object.ts';
import { presentBudget } from '../../accounts/present-objects.ts';
import { writeObjects } from '../../accounts/write-objects.ts';
import { isProxyAdmin } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';

/** Users that a refusal names. */
const USERS_NAMED_MAX = 5;

export const deleteBudgetEndpoint = endpoint(deleteBudgetRoute, async ({ body, caller, origin }, context) => {
  if (!isProxyAdmin(caller)) throw onlyAdmins('delete budgets');
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const [stored] = await budgets.lock(write.tx, [body.id]);
    if (stored === undefined) throw budgetNotFound(body.id);
    const inUse = await usersOfBudget(write.tx, body.id, USERS_NAMED_MAX);
    if (inUse.length > 0) {
      throw new ClavigerError('conflict', {
        reason: `Budget ${body.id} is in use by ${inUse.join(', ')}; without it they would have no limit. Give them another budget first.`,
      });
    }
    await deleteObject(write, 'budget', stored);
    return stored;
  });
  return { json: presentBudget(value), rev };
});
