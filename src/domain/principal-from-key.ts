import { criticalFieldsOf } from './critical-fields.ts';
import { termsOfKey } from './principal-terms.ts';
import type { JsonObject, JsonValue, Principal, VirtualKey } from './virtual-key.ts';

/** The part of a key that gateway processes decide with; it travels in the feed. */
export function principalFromKey(key: VirtualKey): Principal {
  const principal: Principal = {
    token: key.token,
    keyName: key.key_name,
    keyAlias: key.key_alias,
    expiresAtMs: key.expires === null ? null : momentOf(key.expires),
    blocked: key.blocked,
    models: key.models,
    aliases: textEntries(key.aliases),
    allowedRoutes: key.allowed_routes,
    userId: key.user_id,
    teamId: key.team_id,
    organizationId: key.organization_id,
    projectId: key.project_id,
    maxBudget: key.max_budget,
    rpmLimit: key.rpm_limit,
    tpmLimit: key.tpm_limit,
    maxParallelRequests: key.max_parallel_requests,
    tags: texts(key.metadata.tags),
    // Entries of the change log that version 0.1.0 wrote have neither.
    allowedRegions: key.allowed_regions ?? [],
    fence: key.fence ?? 'normal',
    ...termsOfKey(key),
  };
  const crit = criticalFieldsOf(principal);
  return crit.length === 0 ? principal : { ...principal, crit };
}

/** A date that can not be read must not make a key live for ever: it counts as long past. */
function momentOf(text: string): number {
  const moment = Date.parse(text);
  return Number.isNaN(moment) ? 0 : moment;
}

function textEntries(object: JsonObject): Readonly<Record<string, string>> {
  const entries = Object.entries(object).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(entries);
}

function texts(value: JsonValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}
