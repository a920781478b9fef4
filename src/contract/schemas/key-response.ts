/** What the key routes answer. Used for the OpenAPI description; the handlers build these from the domain's `VirtualKey`. */
import { z } from 'zod';

const time = z.iso.datetime();
const list = z.array(z.string());
const object = z.record(z.string(), z.unknown());

export const keyRow = z.looseObject({
  token: z.string().describe('Lower-case hex SHA-256 of the key.'),
  key_name: z.string().describe('`sk-...` and the last four characters.'),
  key_alias: z.string().nullable(),
  spend: z.number().describe('Dollars.'),
  expires: time.nullable(),
  models: list,
  aliases: object,
  config: object,
  user_id: z.string().nullable(),
  team_id: z.string().nullable(),
  organization_id: z.string().nullable(),
  project_id: z.string().nullable(),
  agent_id: z.string().nullable(),
  max_budget: z.number().nullable(),
  soft_budget: z.number().nullable(),
  budget_duration: z.string().nullable(),
  budget_reset_at: time.nullable(),
  budget_id: z.string().nullable(),
  budget_limits: z.unknown(),
  model_max_budget: object,
  budget_fallbacks: z.unknown(),
  max_parallel_requests: z.int().nullable(),
  rpm_limit: z.int().nullable(),
  tpm_limit: z.int().nullable(),
  permissions: object,
  allowed_routes: list,
  allowed_cache_controls: list,
  policies: list,
  access_group_ids: list,
  object_permission: z.unknown(),
  router_settings: z.unknown(),
  metadata: object,
  blocked: z.boolean(),
  auto_rotate: z.boolean(),
  rotation_interval: z.string().nullable(),
  allowed_regions: list.describe('Regions whose instances serve the key; empty: all.'),
  fence: z
    .enum(['normal', 'strict'])
    .describe('While an instance is cut off, it admits the key for 24 hours (`normal`) or 60 seconds (`strict`).'),
  litellm_budget_table: z.unknown(),
  created_at: time,
  created_by: z.string().nullable(),
  updated_at: time,
  updated_by: z.string().nullable(),
});

export const generatedKey = keyRow.extend({
  key: z.string().describe('The key itself. It is shown here and never again.'),
  token_id: z.string(),
});

export const updatedKey = keyRow.extend({ key: z.string().describe('As passed.') });
export const deletedKeys = z.object({ deleted_keys: list.describe('As passed; those that were found.') });
export const keyInfo = z.object({ key: z.string().describe('As passed.'), info: keyRow.omit({ token: true }) });
export const keyPage = z.object({
  keys: z.array(z.union([z.string(), keyRow])),
  total_count: z.int(),
  current_page: z.int(),
  total_pages: z.int(),
});
