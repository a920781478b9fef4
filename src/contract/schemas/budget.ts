import { z } from 'zod';
import { ids, moment, moneyFields, shownMoney, time } from './account-fields.ts';
import { dict, id, text, texts } from './lax.ts';

/** What `/budget/new` sets, and what others that have a budget object may set in it directly. */
export const budgetFields = { ...moneyFields, budget_reset_at: moment.nullish(), allowed_models: texts.nullish() };

export const newBudgetBody = z.object({ budget_id: id.nullish(), ...budgetFields, metadata: dict.nullish() });
export const updateBudgetBody = newBudgetBody;
export const budgetInfoBody = z.object({ budgets: ids });
export const deleteBudgetBody = z.object({ id });
export const budgetSettingsQuery = z.object({ budget_id: text });

export const budgetRow = z.looseObject({
  budget_id: z.string(),
  ...shownMoney,
  allowed_models: z.array(z.string()),
  created_at: time,
  updated_at: time,
});
export const budgetRows = z.array(budgetRow);
export const budgetSettings = z.array(
  z.object({
    field_name: z.string(),
    field_type: z.string(),
    field_description: z.string(),
    field_value: z.unknown(),
    stored_in_db: z.boolean(),
    field_default_value: z.unknown(),
  }),
);
