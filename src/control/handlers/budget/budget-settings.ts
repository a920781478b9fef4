import { budgetSettingsRoute } from '../../../contract/routes/budgets.ts';
import type { BudgetObject } from '../../../domain/budget-object.ts';
import type { JsonValue } from '../../../domain/virtual-key.ts';
import { budgets } from '../../../storage/repositories/budget-objects.ts';
import { budgetNotFound } from '../../accounts/budget-objects.ts';
import { endpoint } from '../handler.ts';

export const budgetSettingsEndpoint = endpoint(budgetSettingsRoute, async ({ query }, { db }) => {
  const stored = await db.read((tx) => budgets.find(tx, query.budget_id));
  if (stored === null) throw budgetNotFound(query.budget_id);
  return {
    json: FIELDS.map(({ name, type, description }) => {
      const value = stored.object[name] as JsonValue;
      return {
        field_name: name,
        field_type: type,
        field_description: description,
        field_value: value,
        stored_in_db: value !== null,
        field_default_value: null,
      };
    }),
  };
});

const FIELDS: readonly { readonly name: keyof BudgetObject; readonly type: string; readonly description: string }[] = [
  { name: 'max_budget', type: 'Float', description: 'Dollars that may be spent in each period.' },
  { name: 'soft_budget', type: 'Float', description: 'Dollars above which an alert is sent; nothing is refused.' },
  {
    name: 'budget_duration',
    type: 'String',
    description: 'Period, for example 30d. Without one the budget is never given anew.',
  },
  { name: 'budget_limits', type: 'List', description: 'Further budgets over other periods.' },
  { name: 'model_max_budget', type: 'Object', description: 'Budgets by model.' },
  { name: 'max_parallel_requests', type: 'Integer', description: 'Requests that may be open at once.' },
  { name: 'tpm_limit', type: 'Integer', description: 'Tokens in any minute.' },
  { name: 'rpm_limit', type: 'Integer', description: 'Requests in any minute.' },
];
