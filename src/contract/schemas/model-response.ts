/** What the model routes answer. Used for the OpenAPI description; the handlers build these from the domain's `ModelRecord`. */
import { z } from 'zod';

const time = z.iso.datetime();
const object = z.record(z.string(), z.unknown());

const modelInfo = z.looseObject({
  id: z.string(),
  db_model: z.boolean().describe('False: it is in the configuration file of the instance that answers.'),
  regions: z.array(z.string()).optional().describe('Regions that may use it; absent: all.'),
});

export const modelRow = z.object({
  model_id: z.string(),
  model_name: z.string(),
  litellm_params: object.describe('Secrets are masked.'),
  model_info: modelInfo,
  created_at: time,
  created_by: z.string().nullable(),
  updated_at: time,
  updated_by: z.string().nullable(),
});

const listedModel = z.object({ model_name: z.string(), litellm_params: object, model_info: modelInfo });

export const modelList = z.object({ data: z.array(listedModel) });
export const modelPage = modelList.extend({
  total_count: z.int(),
  current_page: z.int(),
  total_pages: z.int(),
  size: z.int(),
});
const numberOrNull = z.number().nullable();

export const modelGroups = z.object({
  data: z.array(
    z.object({
      model_group: z.string(),
      providers: z.array(z.string()),
      mode: z.string(),
      max_input_tokens: numberOrNull,
      max_output_tokens: numberOrNull,
      input_cost_per_token: numberOrNull.describe('Of the dearest deployment.'),
      output_cost_per_token: numberOrNull,
      rpm: numberOrNull.describe('Sum over the deployments that say one.'),
      tpm: numberOrNull,
      supports_function_calling: z.boolean(),
      supports_parallel_function_calling: z.boolean(),
      supports_reasoning: z.boolean(),
      supports_vision: z.boolean(),
      supports_web_search: z.boolean(),
      supported_openai_params: z.array(z.string()).nullable(),
      is_public_model_group: z.boolean(),
      health_status: z.string().nullable(),
    }),
  ),
});
export const deletedModel = z.object({ message: z.string() });
