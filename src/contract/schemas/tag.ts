import { z } from 'zod';
import { ids, list, object, time } from './account-fields.ts';
import { budgetFields } from './budget.ts';
import { dict, id, text, texts } from './lax.ts';

const tagFields = {
  description: text.nullish(),
  models: texts.nullish(),
  model_info: dict.nullish(),
  metadata: dict.nullish(),
  ...budgetFields,
  budget_id: id.nullish(),
};

export const newTagBody = z.object({ name: id, ...tagFields });
export const updateTagBody = newTagBody;
export const deleteTagBody = z.object({ name: id });
export const tagInfoBody = z.object({ names: ids });

export const tagRow = z.looseObject({
  name: z.string(),
  description: z.string().nullable(),
  models: list,
  model_info: z.unknown(),
  spend: z.number(),
  budget_id: z.string().nullable(),
  litellm_budget_table: object.nullable(),
  created_at: time,
  updated_at: time,
});
export const tagAnswer = z.object({ message: z.string(), tag: tagRow });
export const tagsByName = z.record(z.string(), tagRow);
export const tagRows = z.array(tagRow);
export const tagDeleted = z.object({ message: z.string() });
