import { blockCustomersRoutes, unblockCustomersRoutes } from '../../../contract/routes/customers.ts';
import type { Revision } from '../../../domain/change.ts';
import { blockedCustomerIds } from '../../../storage/queries/blocked-customers.ts';
import { customers, type StoredCustomer } from '../../../storage/repositories/customers.ts';
import { createObject, replaceObject } from '../../accounts/change-object.ts';
import { emptyCustomer } from '../../accounts/customer-objects.ts';
import { budgetsOf, presentCustomer } from '../../accounts/present-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput } from '../handler.ts';

/** Customers that the answer to an unblock names. */
export const BLOCKED_SHOWN_MAX = 1_000;

export const blockCustomersEndpoints = blockCustomersRoutes.map((route) =>
  endpoint(route, async (input, context) => {
    const { changed, rev } = await setBlocked(true, input, context);
    const known = await context.db.read((tx) => budgetsOf(tx, changed));
    return { json: { blocked_users: changed.map((customer) => presentCustomer(customer, known)) }, rev };
  }),
);

export const unblockCustomersEndpoints = unblockCustomersRoutes.map((route) =>
  endpoint(route, async (input, context) => {
    const { rev } = await setBlocked(false, input, context);
    return { json: { blocked_users: await context.db.read((tx) => blockedCustomerIds(tx, BLOCKED_SHOWN_MAX)) }, rev };
  }),
);

/** A customer that is not known yet may be blocked before it makes its first call; unblocking it would say nothing. */
async function setBlocked(
  blocked: boolean,
  { body, caller, origin }: Pick<HandlerInput<unknown, { readonly user_ids: string[] }>, 'body' | 'caller' | 'origin'>,
  context: ControlContext,
): Promise<{ changed: readonly StoredCustomer[]; rev: Revision | undefined }> {
  const moment = momentOf(context, caller);
  const userIds = [...new Set(body.user_ids)];
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const known = new Map((await customers.lock(write.tx, userIds)).map((row) => [row.object.user_id, row]));
    const changed: StoredCustomer[] = [];
    for (const id of userIds) {
      const stored = known.get(id);
      if (stored !== undefined) {
        const updated = { blocked, updated_at: new Date(moment.nowMs).toISOString(), updated_by: moment.by };
        const op = blocked ? 'blocked' : 'unblocked';
        changed.push(await replaceObject(write, 'customer', stored, { ...stored.object, ...updated }, op));
      } else if (blocked) {
        changed.push(await createObject(write, 'customer', { ...emptyCustomer(id, moment), blocked }));
      }
    }
    return changed;
  });
  return { changed: value, rev };
}
