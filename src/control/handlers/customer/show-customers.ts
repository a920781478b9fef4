import { customerInfoRoutes, listCustomersRoutes } from '../../../contract/routes/customers.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { customers } from '../../../storage/repositories/customers.ts';
import { customerNotFound } from '../../accounts/customer-objects.ts';
import { budgetsOf, presentCustomer } from '../../accounts/present-objects.ts';
import { seesEverything } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';

/** The route has no pages. `x-claviger-truncated: true` says that there are more; `/customer/info` shows any by id. */
export const CUSTOMERS_LISTED_MAX = 10_000;

export const customerInfoEndpoints = customerInfoRoutes.map((route) =>
  endpoint(route, async ({ query }, { db }) => ({
    json: await db.read(async (tx) => {
      const stored = await customers.find(tx, query.end_user_id);
      if (stored === null) throw customerNotFound(query.end_user_id);
      return presentCustomer(stored, await budgetsOf(tx, [stored]));
    }),
  })),
);

export const listCustomersEndpoints = listCustomersRoutes.map((route) =>
  endpoint(route, async ({ caller }, { staleReads, tail }) => {
    if (!seesEverything(caller)) {
      throw new ClavigerError('not_your_object', { action: 'list customers' }, { status: 401 });
    }
    return staleReads.read(async (tx) => {
      const { rows, total } = await customers.newest(tx, CUSTOMERS_LISTED_MAX);
      const known = await budgetsOf(tx, rows);
      const json = rows.map((row) => presentCustomer(row, known));
      return { json, headers: total > rows.length ? { 'x-claviger-truncated': 'true' } : {} };
    }, tail.position?.rev);
  }),
);
