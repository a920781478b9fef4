import type { JsonObject, JsonValue } from './virtual-key.ts';

/** Several teams under one roof. Budget and limits are those of its budget object. */
export interface Organization {
  readonly organization_id: string;
  readonly organization_alias: string;
  readonly budget_id: string;
  readonly models: readonly string[];
  readonly blocked: boolean;
  readonly object_permission: JsonValue;
  readonly metadata: JsonObject;
  /** Regions whose instances serve its keys; empty: all. */
  readonly allowed_regions: readonly string[];
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}

export const ORGANIZATION_ROLES = ['org_admin', 'internal_user', 'internal_user_viewer'] as const;
export type OrganizationRole = (typeof ORGANIZATION_ROLES)[number];

/** That somebody belongs to an organization. It decides about management only, so it does not travel in the feed. */
export interface OrganizationMember {
  readonly organization_id: string;
  readonly user_id: string;
  readonly user_role: OrganizationRole;
  readonly budget_id: string | null;
  readonly created_at: string;
  readonly updated_at: string;
}
