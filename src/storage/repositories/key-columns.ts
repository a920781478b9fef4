import type { Selectable } from 'kysely';
import type { JsonObject, JsonValue, KeyDigest, VirtualKey } from '../../domain/virtual-key.ts';
import type { VirtualKeyTable } from '../tables.ts';

/** A stored key: the object, its own revision and what it has spent. */
export interface StoredKey {
  readonly key: VirtualKey;
  readonly objectRev: number;
  readonly spendNano: bigint;
}

export type KeyRow = Omit<Selectable<VirtualKeyTable>, 'id'>;

/** A key as values of its columns. */
export function columnsFromKey(key: VirtualKey, objectRev: number) {
  return {
    ...key,
    object_rev: objectRev,
    models: [...key.models],
    allowed_routes: [...key.allowed_routes],
    allowed_cache_controls: [...key.allowed_cache_controls],
    policies: [...key.policies],
    access_group_ids: [...key.access_group_ids],
    allowed_regions: [...key.allowed_regions],
    aliases: JSON.stringify(key.aliases),
    config: JSON.stringify(key.config),
    permissions: JSON.stringify(key.permissions),
    model_max_budget: JSON.stringify(key.model_max_budget),
    metadata: JSON.stringify(key.metadata),
    budget_limits: jsonOrNull(key.budget_limits),
    budget_fallbacks: jsonOrNull(key.budget_fallbacks),
    object_permission: jsonOrNull(key.object_permission),
    router_settings: jsonOrNull(key.router_settings),
  };
}

export function keyFromRow(row: KeyRow): VirtualKey {
  return {
    token: row.token as KeyDigest,
    key_name: row.key_name,
    key_alias: row.key_alias,
    expires: isoOrNull(row.expires),
    models: row.models,
    aliases: row.aliases as JsonObject,
    config: row.config as JsonObject,
    user_id: row.user_id,
    team_id: row.team_id,
    organization_id: row.organization_id,
    project_id: row.project_id,
    agent_id: row.agent_id,
    max_budget: row.max_budget,
    soft_budget: row.soft_budget,
    budget_duration: row.budget_duration,
    budget_reset_at: isoOrNull(row.budget_reset_at),
    budget_id: row.budget_id,
    budget_limits: row.budget_limits as JsonValue,
    model_max_budget: row.model_max_budget as JsonObject,
    budget_fallbacks: row.budget_fallbacks as JsonValue,
    max_parallel_requests: numberOrNull(row.max_parallel_requests),
    rpm_limit: numberOrNull(row.rpm_limit),
    tpm_limit: numberOrNull(row.tpm_limit),
    permissions: row.permissions as JsonObject,
    allowed_routes: row.allowed_routes,
    allowed_cache_controls: row.allowed_cache_controls,
    policies: row.policies,
    access_group_ids: row.access_group_ids,
    object_permission: row.object_permission as JsonValue,
    router_settings: row.router_settings as JsonValue,
    metadata: row.metadata as JsonObject,
    blocked: row.blocked,
    auto_rotate: row.auto_rotate,
    rotation_interval: row.rotation_interval,
    allowed_regions: row.allowed_regions,
    fence: row.fence,
    created_at: row.created_at.toISOString(),
    created_by: row.created_by,
    updated_at: row.updated_at.toISOString(),
    updated_by: row.updated_by,
  };
}

function jsonOrNull(value: JsonValue): string | null {
  return value === null ? null : JSON.stringify(value);
}

function isoOrNull(value: Date | null): string | null {
  return value === null ? null : value.toISOString();
}

function numberOrNull(value: bigint | null): number | null {
  return value === null ? null : Number(value);
}
