import type { JsonObject, JsonValue } from './virtual-key.ts';

export const USER_ROLES = ['proxy_admin', 'proxy_admin_viewer', 'internal_user', 'internal_user_viewer'] as const;
/** What somebody may do on the management side. `internal_user_viewer` is deprecated in LiteLLM and still taken. */
export type UserRole = (typeof USER_ROLES)[number];

/**
 * Somebody who owns keys. Timestamps are ISO 8601 UTC; money is dollars as given. Teams are not in here: a membership is an object of its own
 * (`team-member.ts`). Budget and limits hold for personal keys only, those without a team.
 */
export interface InternalUser {
  readonly user_id: string;
  readonly user_alias: string | null;
  readonly user_email: string | null;
  readonly user_role: UserRole | null;
  readonly sso_user_id: string | null;
  readonly organization_id: string | null;
  readonly models: readonly string[];
  readonly max_budget: number | null;
  readonly soft_budget: number | null;
  readonly budget_duration: string | null;
  readonly budget_reset_at: string | null;
  readonly budget_limits: JsonValue;
  readonly model_max_budget: JsonObject;
  readonly max_parallel_requests: number | null;
  readonly rpm_limit: number | null;
  readonly tpm_limit: number | null;
  readonly allowed_cache_controls: readonly string[];
  readonly policies: readonly string[];
  readonly object_permission: JsonValue;
  readonly metadata: JsonObject;
  readonly blocked: boolean;
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}
