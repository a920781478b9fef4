/** Bodies of `/key/generate` and `/key/update`: every request field of a key. Fields that are not known are ignored, as in LiteLLM. */
import { z } from 'zod';
import { bool, dict, float, id, int, json, money, text, texts } from './lax.ts';

export const KEY_TYPES = ['default', 'llm_api', 'management', 'read_only'] as const;
const LIMIT_TYPES = ['guaranteed_throughput', 'best_effort_throughput', 'dynamic'] as const;

export const FENCE_CLASSES = ['normal', 'strict'] as const;
export const REGIONS_PER_KEY_MAX = 100;

export const limitType = z.enum(LIMIT_TYPES);
/** As `CLAVIGER_REGION` is checked. */
const region = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'must be the name of a region: 1 to 63 letters, digits, dots, dashes and underscores',
  );
export const regions = z.array(region).max(REGIONS_PER_KEY_MAX);
export const intPerName = z.record(z.string(), int);

export const objectPermission = z.looseObject({
  mcp_servers: texts.nullish(),
  mcp_access_groups: texts.nullish(),
  mcp_tool_permissions: z.record(z.string(), texts).nullish(),
  mcp_toolsets: texts.nullish(),
  blocked_tools: texts.nullish(),
  vector_stores: texts.nullish(),
  agents: texts.nullish(),
  agent_access_groups: texts.nullish(),
  models: texts.nullish(),
  search_tools: texts.nullish(),
  mcp_tool_search_enabled: bool.nullish(),
});

/**
 * Requested at the top level and kept inside `metadata`, where `/key/info` shows them. `policies` is also a column of its own.
 */
const metadataFields = {
  model_rpm_limit: intPerName.nullish(),
  model_tpm_limit: intPerName.nullish(),
  rpm_limit_type: limitType.nullish(),
  tpm_limit_type: limitType.nullish(),
  enforced_params: texts.nullish(),
  allowed_vector_store_indexes: z.array(z.object({ index_name: text, index_permissions: texts })).nullish(),
  enforced_batch_output_expires_after: dict.nullish(),
  enforced_file_expires_after: dict.nullish(),
  guardrails: texts.nullish(),
  policies: texts.nullish(),
  tags: texts.nullish(),
  prompts: texts.nullish(),
  logging: z.array(dict).nullish(),
  secret_manager_settings: dict.nullish(),
  allowed_passthrough_routes: texts.nullish(),
  team_member_key_duration: text.nullish(),
  service_account_id: text.nullish(),
  priority: json.optional(),
  allowed_tools: texts.nullish(),
  default_estimated_output_tokens: int.nullish(),
  default_estimated_output_tokens_per_model: intPerName.nullish(),
};

export const METADATA_FIELDS = Object.keys(metadataFields) as readonly (keyof typeof metadataFields)[];

const keyFields = {
  ...metadataFields,
  key_alias: id.nullish(),
  duration: text.nullish(),
  models: texts.nullish(),
  aliases: dict.nullish(),
  config: dict.nullish(),
  spend: float.nullish(),
  max_budget: money.optional(),
  soft_budget: money.optional(),
  budget_duration: text.nullish(),
  budget_id: text.nullish(),
  budget_limits: z.array(z.looseObject({ budget_duration: text, max_budget: float })).nullish(),
  model_max_budget: dict.nullish(),
  budget_fallbacks: z.record(z.string(), texts).nullish(),
  user_id: id.nullish(),
  team_id: id.nullish(),
  organization_id: id.nullish(),
  project_id: id.nullish(),
  agent_id: id.nullish(),
  max_parallel_requests: int.nullish(),
  rpm_limit: int.nullish(),
  tpm_limit: int.nullish(),
  metadata: dict.nullish(),
  permissions: dict.nullish(),
  allowed_routes: texts.nullish(),
  key_type: z.enum(KEY_TYPES).nullish(),
  allowed_cache_controls: texts.nullish(),
  blocked: bool.nullish(),
  object_permission: objectPermission.nullish(),
  access_group_ids: texts.nullish(),
  router_settings: dict.nullish(),
  auto_rotate: bool.nullish(),
  rotation_interval: text.nullish(),
  allowed_regions: regions.nullish(),
  fence: z.enum(FENCE_CLASSES).nullish(),
  send_invite_email: bool.nullish(),
};

export const generateKeyBody = z.object({ key: text.nullish(), ...keyFields });

export const updateKeyBody = z.object({
  key: text,
  ...keyFields,
  temp_budget_increase: float.nullish(),
  temp_budget_expiry: text.nullish(),
});

export type GenerateKeyBody = z.output<typeof generateKeyBody>;
export type UpdateKeyBody = z.output<typeof updateKeyBody>;
/** The fields that both requests have. */
export type KeyFields = Omit<GenerateKeyBody, 'key'>;

export const deleteKeyBody = z.object({ keys: texts.nullish(), key_aliases: texts.nullish(), key: text.nullish() });
export type DeleteKeyBody = z.output<typeof deleteKeyBody>;

export const blockKeyBody = z.object({ key: text });
