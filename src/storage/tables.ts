/** The tables of schema `claviger` as Kysely sees them. The SQL of the migrations is the truth; this mirrors it. */

import type { ColumnType, Generated, GeneratedAlways } from 'kysely';
import type { CostBreakdown, UsageExtras } from '../domain/usage.ts';

export interface Tables {
  'claviger.installation': InstallationTable;
  'claviger.change_log': ChangeLogTable;
  'claviger.virtual_key': VirtualKeyTable;
  'claviger.deleted_virtual_key': DeletedVirtualKeyTable;
  'claviger.key_spend': KeySpendTable;
  'claviger.usage_cursor': UsageCursorTable;
  'claviger.spend_log': SpendLogTable;
  'claviger.daily_spend': DailySpendTable;
  'claviger.usage_dead_letter': UsageDeadLetterTable;
  'claviger.model': ModelTable;
  'claviger.control_heartbeat': ControlHeartbeatTable;
  'claviger.gateway': GatewayTable;
  'claviger.change_delivery': ChangeDeliveryTable;
  'claviger.join_token': JoinTokenTable;
  'claviger.enrolled_instance': EnrolledInstanceTable;
}

/** Read as parsed JSON, written as JSON text: an array given as such would become a PostgreSQL array. */
export type Json<T = unknown> = ColumnType<T, string, string>;
export type JsonOrNull<T = unknown> = ColumnType<T | null, string | null, string | null>;
/** `bigint` columns are read as `bigint`, whatever their size. */
export type Int8 = ColumnType<bigint, bigint | number, bigint | number>;
export type Int8OrNull = ColumnType<bigint | null, bigint | number | null, bigint | number | null>;
export type Timestamp = ColumnType<Date, Date | string, Date | string>;
export type TimestampOrNull = ColumnType<Date | null, Date | string | null, Date | string | null>;

export interface InstallationTable {
  id: Generated<number>;
  installation_id: string;
  epoch: Generated<number>;
  rev: ColumnType<bigint, bigint | undefined, bigint>;
  audit_head: Buffer;
  fleet_key_sealed: string;
  created_at: ColumnType<Date, undefined, never>;
  signing_key_sealed: ColumnType<string | null, string | null | undefined, string | null>;
  signing_public_key: ColumnType<string | null, string | null | undefined, string | null>;
}

export interface ChangeLogTable {
  epoch: number;
  rev: Int8;
  kind: string;
  object_id: string;
  object_rev: Int8;
  op: string;
  before: JsonOrNull;
  after: JsonOrNull;
  actor: string;
  actor_key: string | null;
  changed_by: string | null;
  request_id: string;
  lane: 'fast' | 'guarded';
  at: Timestamp;
  hash: Buffer;
}

interface KeyColumns {
  token: string;
  object_rev: Int8;
  key_name: string;
  key_alias: string | null;
  expires: TimestampOrNull;
  models: string[];
  aliases: Json;
  config: Json;
  user_id: string | null;
  team_id: string | null;
  organization_id: string | null;
  project_id: string | null;
  agent_id: string | null;
  max_budget: number | null;
  soft_budget: number | null;
  budget_duration: string | null;
  budget_reset_at: TimestampOrNull;
  budget_id: string | null;
  budget_limits: JsonOrNull;
  model_max_budget: Json;
  budget_fallbacks: JsonOrNull;
  max_parallel_requests: Int8OrNull;
  rpm_limit: Int8OrNull;
  tpm_limit: Int8OrNull;
  permissions: Json;
  allowed_routes: string[];
  allowed_cache_controls: string[];
  policies: string[];
  access_group_ids: string[];
  object_permission: JsonOrNull;
  router_settings: JsonOrNull;
  metadata: Json;
  blocked: boolean;
  auto_rotate: boolean;
  rotation_interval: string | null;
  created_at: Timestamp;
  created_by: string | null;
  updated_at: Timestamp;
  updated_by: string | null;
  allowed_regions: ColumnType<string[], string[] | undefined, string[]>;
  fence: ColumnType<'normal' | 'strict', 'normal' | 'strict' | undefined, 'normal' | 'strict'>;
}

export interface VirtualKeyTable extends KeyColumns {
  id: GeneratedAlways<bigint>;
}

export interface DeletedVirtualKeyTable extends KeyColumns {
  id: GeneratedAlways<bigint>;
  spend_nano: Int8;
  deleted_at: Timestamp;
  deleted_by: string | null;
  deleted_by_api_key: string | null;
  litellm_changed_by: string | null;
}

export interface KeySpendTable {
  token: string;
  spend_nano: Int8;
}

export interface UsageCursorTable {
  gateway_id: string;
  incarnation: string;
  seq: Int8;
  updated_at: ColumnType<Date, undefined, Date>;
}

export interface SpendLogTable {
  request_id: string;
  call_id: string;
  provider_id: string | null;
  session_id: string | null;
  call_type: string;
  route: string;
  status: string;
  http_status: number;
  error_code: string | null;
  token: string;
  key_alias: string | null;
  user_id: string | null;
  team_id: string | null;
  organization_id: string | null;
  end_user: string | null;
  model_group: string;
  model: string;
  model_id: string;
  answered_model: string | null;
  provider: string;
  api_base: string;
  stream: boolean;
  tags: Json<string[]>;
  client_ip: string | null;
  started_at: Timestamp;
  first_token_at: TimestampOrNull;
  ended_at: Timestamp;
  prompt_tokens: Int8;
  completion_tokens: Int8;
  total_tokens: Int8;
  cached_tokens: Int8;
  cache_write_tokens: Int8;
  reasoning_tokens: Int8;
  audio_input_tokens: Int8;
  audio_output_tokens: Int8;
  usage_extras: JsonOrNull<UsageExtras>;
  estimated: boolean;
  cost_nano: Int8;
  provider_cost_nano: Int8OrNull;
  formula_cost_nano: Int8OrNull;
  cost_breakdown: JsonOrNull<CostBreakdown>;
  region: string;
  gateway_id: string;
  incarnation: string;
  seq: Int8;
}

export interface DailySpendTable {
  /** `YYYY-MM-DD`. */
  date: string;
  series: Buffer;
  token: string;
  user_id: string | null;
  team_id: string | null;
  model: string;
  model_group: string;
  provider: string;
  region: string;
  spend_nano: Int8;
  prompt_tokens: Int8;
  completion_tokens: Int8;
  cached_tokens: Int8;
  cache_write_tokens: Int8;
  requests: Int8;
  successful_requests: Int8;
  failed_requests: Int8;
}

export interface UsageDeadLetterTable {
  id: GeneratedAlways<bigint>;
  gateway_id: string;
  incarnation: string;
  region: string;
  from_seq: Int8;
  to_seq: Int8;
  record: string;
  reason: string;
  at: ColumnType<Date, undefined, never>;
}

export interface ModelTable {
  id: GeneratedAlways<bigint>;
  model_id: string;
  object_rev: Int8;
  model_name: string;
  litellm_params: Json;
  model_info: Json;
  created_at: Timestamp;
  created_by: string | null;
  updated_at: Timestamp;
  updated_by: string | null;
}

export interface ControlHeartbeatTable {
  control_id: string;
  instance_id: string;
  role: string;
  region: string;
  version: string;
  beat: Int8;
  at: ColumnType<Date, undefined, Date>;
}

export interface GatewayTable {
  gateway_id: string;
  instance_id: string;
  session: string;
  region: string;
  role: string;
  version: string;
  protocol: number;
  public_url: string | null;
  joined: Generated<boolean>;
  started_at: TimestampOrNull;
  epoch: number;
  rev: Int8;
  applied_at: Timestamp;
  witness_at: TimestampOrNull;
  stats: Json;
  reported_by: string;
  heard_at: Timestamp;
  left_at: TimestampOrNull;
  left_reason: string | null;
  command: string | null;
  command_at: TimestampOrNull;
}

export interface ChangeDeliveryTable {
  gateway_id: string;
  epoch: number;
  to_rev: Int8;
  from_rev: Int8;
  applied_at: Timestamp;
}

export interface JoinTokenTable {
  id: GeneratedAlways<bigint>;
  token_hash: string;
  region: string;
  role: string;
  created_at: ColumnType<Date, undefined, never>;
  created_by: string | null;
  expires_at: Timestamp;
  used_at: TimestampOrNull;
  used_by: string | null;
}

export interface EnrolledInstanceTable {
  instance_id: string;
  region: string;
  role: string;
  public_key: string;
  next_public_key: string | null;
  sealing_key_sealed: string;
  enrolled_at: ColumnType<Date, undefined, never>;
  renewed_at: ColumnType<Date, undefined, Date>;
  expires_at: Timestamp;
  revoked_at: TimestampOrNull;
  revoked_by: string | null;
}
