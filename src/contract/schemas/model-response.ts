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
export const deletedModel = z.object({ message: z.string() });
