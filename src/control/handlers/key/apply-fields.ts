import { type KeyFields, METADATA_FIELDS } from '../../../contract/schemas/key-request.ts';
import { budgetTermsOfKey, limitsOfKey } from '../../../domain/account-from-object.ts';
import type { ResetRules } from '../../../domain/budget-period.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { JsonObject, JsonValue, VirtualKey } from '../../../domain/virtual-key.ts';
import { checkMoneyFields } from '../../accounts/check-money-fields.ts';
import { budgetResetAt, checkedDuration, expiryAfter } from './durations.ts';

/** Fields of the request that go into the key as they are; null clears them. */
const PLAIN = [
  'user_id',
  'team_id',
  'organization_id',
  'project_id',
  'agent_id',
  'max_budget',
  'soft_budget',
  'budget_id',
  'budget_limits',
  'budget_fallbacks',
  'max_parallel_requests',
  'rpm_limit',
  'tpm_limit',
  'object_permission',
  'router_settings',
] as const;
/** Null makes these empty. */
const LISTS = ['models', 'allowed_cache_controls', 'policies', 'access_group_ids', 'allowed_regions'] as const;
const OBJECTS = ['aliases', 'config', 'permissions', 'model_max_budget'] as const;

const ROUTES_OF_TYPE = {
  llm_api: ['llm_api_routes'],
  management: ['management_routes'],
  read_only: ['info_routes'],
} as const;

/** What travels to each gateway process must fit its frames, 500 keys at a time. */
export const PRINCIPAL_BYTES_MAX = 32_000;

/**
 * A key with the given fields applied; what is left out stays as it is. New keys and changes of keys go through here, so a
 * field means the same in both. Throws the 400 of a value that is not allowed.
 */
export function applyFields(
  key: VirtualKey,
  fields: KeyFields,
  now: { nowMs: number; resets: ResetRules },
): VirtualKey {
  checkMoneyFields(fields);
  const next: Mutable<VirtualKey> = { ...key };
  for (const name of PLAIN) assign(next, name, fields[name]);
  for (const name of LISTS) assign(next, name, fields[name] === null ? [] : fields[name]);
  for (const name of OBJECTS) assign(next, name, fields[name] === null ? {} : fields[name]);
  if (fields.key_alias !== undefined) next.key_alias = fields.key_alias === '' ? null : fields.key_alias;
  if (fields.duration !== undefined) next.expires = expiryAfter('duration', fields.duration, now.nowMs);
  if (fields.budget_duration !== undefined) {
    next.budget_duration = checkedDuration('budget_duration', fields.budget_duration);
    next.budget_reset_at = budgetResetAt(next.budget_duration, now.nowMs, now.resets);
  }
  if (fields.rotation_interval !== undefined) {
    next.rotation_interval = checkedDuration('rotation_interval', fields.rotation_interval);
  }
  if (fields.blocked !== undefined) next.blocked = fields.blocked ?? false;
  if (fields.auto_rotate !== undefined) next.auto_rotate = fields.auto_rotate ?? false;
  if (fields.fence !== undefined) next.fence = fields.fence ?? 'normal';
  next.allowed_routes = allowedRoutes(key, fields);
  next.metadata = metadataWith(key.metadata, fields);
  refuseLarge(next);
  return next;
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

function assign<Name extends keyof VirtualKey>(key: Mutable<VirtualKey>, name: Name, value: unknown): void {
  if (value !== undefined) key[name] = value as VirtualKey[Name];
}

function allowedRoutes(key: VirtualKey, { allowed_routes, key_type }: KeyFields): readonly string[] {
  if (key_type && key_type !== 'default') return ROUTES_OF_TYPE[key_type];
  return allowed_routes === undefined ? key.allowed_routes : (allowed_routes ?? []);
}

/** `metadata` replaces the old one as a whole; fields that live inside are then set, or removed by null. */
function metadataWith(stored: JsonObject, fields: KeyFields): JsonObject {
  const metadata: JsonObject = { ...(fields.metadata === undefined ? stored : fields.metadata) };
  for (const name of METADATA_FIELDS) {
    const value = fields[name] as JsonValue | undefined;
    if (value === null) delete metadata[name];
    else if (value !== undefined) metadata[name] = value;
  }
  return metadata;
}

function refuseLarge(key: VirtualKey): void {
  const { models, aliases, allowed_regions, allowed_routes, metadata } = key;
  const terms = [limitsOfKey(key), budgetTermsOfKey(key)];
  const bytes = Buffer.byteLength(
    JSON.stringify([models, aliases, allowed_regions, allowed_routes, metadata.tags ?? [], terms]),
  );
  if (bytes <= PRINCIPAL_BYTES_MAX) return;
  throw new ClavigerError('bad_request', {
    reason: `models, aliases, allowed_regions, allowed_routes, tags, limits and budgets of a key have ${bytes} bytes together, and at most ${PRINCIPAL_BYTES_MAX} are possible. Use access groups or wildcards.`,
  });
}
