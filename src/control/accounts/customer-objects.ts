import type { Customer } from '../../domain/customer.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { customers, type StoredCustomer } from '../../storage/repositories/customers.ts';
import { created, type FieldPlan, type Moment } from './apply-object-fields.ts';
import type { Writing } from './change-object.ts';

export const CUSTOMER_PLAN: FieldPlan<Customer> = {
  plain: ['alias', 'allowed_model_region', 'default_model', 'object_permission'],
  lists: [],
  objects: [],
  flags: ['blocked'],
  inMetadata: [],
  hasPeriod: false,
};

export function emptyCustomer(user_id: string, moment: Moment): Customer {
  return {
    user_id,
    alias: null,
    blocked: false,
    allowed_model_region: null,
    default_model: null,
    budget_id: null,
    object_permission: null,
    metadata: {},
    ...created(moment),
  };
}

/** All of them, locked. Throws the 404 of the first that does not exist. */
export async function lockCustomers({ tx }: Writing, userIds: readonly string[]): Promise<StoredCustomer[]> {
  const found = await customers.lock(tx, userIds);
  const known = new Set(found.map(({ object }) => object.user_id));
  const missing = userIds.find((id) => !known.has(id));
  if (missing === undefined) return found;
  throw customerNotFound(missing);
}

export function customerNotFound(id: string): ClavigerError {
  return new ClavigerError('object_not_found', { what: `End User Id=${id}` }, { param: 'user_id' });
}
