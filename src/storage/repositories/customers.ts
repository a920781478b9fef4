import type { Customer } from '../../domain/customer.ts';
import { objectTable, type StoredObject } from './object-table.ts';

export type StoredCustomer = StoredObject<Customer>;

/** Unique violation: `customer_user_id_key`. */
export const customers = objectTable<Customer>({
  table: 'customer',
  spendKind: 'customer',
  idColumn: 'user_id',
  idOf: (customer) => customer.user_id,
  columns: {
    user_id: 'text',
    alias: 'text',
    blocked: 'boolean',
    allowed_model_region: 'text',
    default_model: 'text',
    budget_id: 'text',
    object_permission: 'json',
    metadata: 'json',
    created_at: 'time',
    created_by: 'text',
    updated_at: 'time',
    updated_by: 'text',
  },
});
