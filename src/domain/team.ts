import type { JsonObject, JsonValue } from './virtual-key.ts';

/**
 * A team as the control plane stores it. Timestamps are ISO 8601 UTC; money is dollars as given. Its members are objects of their own
 * (`team-member.ts`); answers show them as `members_with_roles`.
 */
export interface Team {
  readonly team_id: string;
  readonly team_alias: string | null;
  readonly organization_id: string | null;
  readonly models: readonly string[];
  /** Requested name to model group. */
  readonly model_aliases: JsonObject;
  readonly max_budget: number | null;
  readonly soft_budget: number | null;
  readonly budget_duration: string | null;
  readonly budget_reset_at: string | null;
  readonly budget_limits: JsonValue;
  readonly model_max_budget: JsonObject;
  readonly max_parallel_requests: number | null;
  readonly rpm_limit: number | null;
  readonly tpm_limit: number | null;
  readonly blocked: boolean;
  readonly team_member_permissions: readonly string[];
  readonly default_team_member_models: readonly string[];
  readonly router_settings: JsonValue;
  readonly access_group_ids: readonly string[];
  readonly policies: readonly string[];
  readonly object_permission: JsonValue;
  readonly metadata: JsonObject;
  /** Regions whose instances serve its keys; empty: all. */
  readonly allowed_regions: readonly string[];
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}
