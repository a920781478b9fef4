/** Bodies and queries of the model routes. What is inside `litellm_params` and `model_info` is checked where it is compiled. */
import { z } from 'zod';
import { bool, dict, id, int, text } from './lax.ts';

export const newModelBody = z.object({ model_name: id, litellm_params: dict, model_info: dict.nullish() });

export const updateModelBody = z.object({
  model_name: id.nullish(),
  litellm_params: dict.nullish(),
  model_info: dict.nullish(),
});

export const deleteModelBody = z.object({ id });

export const blockModelBody = z.object({ model_id: id });

const dryRun = bool.default(false).describe('Validates and says what would happen; nothing is changed.');

export const newModelQuery = z.object({ dry_run: dryRun });
export const deleteModelQuery = newModelQuery;
export const updateModelQuery = z.object({
  dry_run: dryRun,
  replace: bool
    .default(false)
    .describe('`litellm_params` and `model_info` are replaced as a whole; without it, fields that are not given stay.'),
});

export const patchModelQuery = z.object({ model_id: text, dry_run: dryRun });

export const modelInfoQuery = z.object({
  litellm_model_id: text.optional(),
  include_team_models: bool.default(false),
  teamId: text.optional(),
});

export const modelGroupInfoQuery = z.object({ model_group: text.optional().describe('Only this one.') });

export const modelPageQuery = z.object({
  model: text.optional(),
  modelId: text.optional(),
  search: text.optional(),
  teamId: text.optional(),
  user_models_only: bool.default(false),
  include_team_models: bool.default(false),
  debug: bool.default(false),
  page: int.pipe(z.number().min(1)).default(1),
  size: int.pipe(z.number().min(1).max(1_000)).default(50),
  // Checked by the handler, because LiteLLM answers 400 and not 422 when they are wrong.
  sortBy: text.optional(),
  sortOrder: text.default('asc'),
});

export type NewModelBody = z.output<typeof newModelBody>;
export type UpdateModelBody = z.output<typeof updateModelBody>;
export type ModelPageQuery = z.output<typeof modelPageQuery>;
