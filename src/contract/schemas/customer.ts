import { z } from 'zod';
import { ids, object } from './account-fields.ts';
import { budgetFields } from './budget.ts';
import { objectPermission } from './key-request.ts';
import { bool, dict, float, id, text } from './lax.ts';

const customerFields = {
  alias: id.nullish(),
  blocked: bool.nullish(),
  ...budgetFields,
  budget_id: id.nullish(),
  allowed_model_region: z.enum(['eu', 'us']).nullish(),
  default_model: text.nullish(),
  object_permission: objectPermission.nullish(),
  metadata: dict.nullish(),
};

export const newCustomerBody = z.object({ user_id: id, ...customerFields, spend: float.nullish() });
export const updateCustomerBody = z.object({ user_id: id, ...customerFields });
export const customerIdsBody = z.object({ user_ids: ids });
export const customerInfoQuery = z.object({ end_user_id: text });

export const customerRow = z.looseObject({
  user_id: z.string(),
  alias: z.string().nullable(),
  blocked: z.boolean(),
  spend: z.number(),
  allowed_model_region: z.string().nullable(),
  default_model: z.string().nullable(),
  budget_id: z.string().nullable(),
  litellm_budget_table: object.nullable(),
});
export const customerRows = z.array(customerRow);
export const deletedCustomers = z.object({ deleted_customers: z.int(), message: z.string() });
export const blockedCustomers = z.object({ blocked_users: customerRows });
export const stillBlocked = z.object({ blocked_users: z.array(z.string()) });
