import { randomUUID } from 'node:crypto';
import {
  createObject,
  deleteObject,
  type ObjectKinds,
  replaceObject,
  tableOf,
} from '../../src/control/accounts/change-object.ts';
import { appendChange } from '../../src/control/config/append-change.ts';
import type { AccountKind } from '../../src/domain/account.ts';
import type { JsonObject } from '../../src/domain/virtual-key.ts';
import type { Database } from '../../src/storage/db.ts';

/** Writes an account as the management API would: made, changed where it exists, or (null) deleted. Returns the revision. */
export async function writeAccount(
  db: Database,
  kind: AccountKind,
  id: string,
  fields: JsonObject | null,
): Promise<number> {
  const origin = { actor: 'test', actorKey: null, changedBy: null, requestId: randomUUID() };
  const { stretch } = await appendChange(db, origin, async (tx, changed) => {
    const writing = { tx, changed, sealingKey: 'salt' };
    const [stored] = await tableOf(kind).lock(tx, [id]);
    if (fields === null) {
      if (stored !== undefined) await deleteObject(writing, kind, stored);
    } else if (stored === undefined) await createObject(writing, kind, objectOf(kind, id, fields));
    else {
      const next = { ...stored.object, ...fields } as ObjectKinds[AccountKind];
      await replaceObject(writing, kind, stored, next, opOf(stored.object as unknown as JsonObject, fields));
    }
  });
  return stretch?.to ?? 0;
}

function opOf(now: JsonObject, { blocked }: JsonObject): 'blocked' | 'unblocked' | 'updated' {
  if (blocked === undefined || blocked === now.blocked) return 'updated';
  return blocked === true ? 'blocked' : 'unblocked';
}

const NOW = '2026-01-01T00:00:00.000Z';
const WRITTEN = { created_at: NOW, created_by: null, updated_at: NOW, updated_by: null };
const LIMITS = { max_parallel_requests: null, rpm_limit: null, tpm_limit: null };
const BUDGET = {
  max_budget: null,
  soft_budget: null,
  budget_duration: null,
  budget_reset_at: null,
  budget_limits: null,
  model_max_budget: {},
};

/** A whole object that restricts nothing, but for `fields`. */
export function objectOf(kind: AccountKind, id: string, fields: JsonObject): ObjectKinds[AccountKind] {
  return { ...EMPTY[kind](id), ...WRITTEN, ...fields } as unknown as ObjectKinds[AccountKind];
}

const EMPTY: Readonly<Record<AccountKind, (id: string) => JsonObject>> = {
  user: (user_id) => ({
    user_id,
    user_alias: null,
    user_email: null,
    user_role: null,
    sso_user_id: null,
    organization_id: null,
    models: [],
    ...BUDGET,
    ...LIMITS,
    allowed_cache_controls: [],
    policies: [],
    object_permission: null,
    metadata: {},
    blocked: false,
  }),
  team: (team_id) => ({
    team_id,
    team_alias: null,
    organization_id: null,
    models: [],
    model_aliases: {},
    ...BUDGET,
    ...LIMITS,
    blocked: false,
    team_member_permissions: [],
    default_team_member_models: [],
    router_settings: null,
    access_group_ids: [],
    policies: [],
    object_permission: null,
    metadata: {},
    allowed_regions: [],
  }),
  team_member: (id) => ({
    team_id: decodeURIComponent(id.split('/')[0]!),
    user_id: decodeURIComponent(id.split('/')[1]!),
    user_email: null,
    role: 'user',
    max_budget: null,
    budget_duration: null,
    budget_reset_at: null,
    rpm_limit: null,
    tpm_limit: null,
    models: [],
    budget_id: null,
  }),
  organization: (organization_id) => ({
    organization_id,
    organization_alias: organization_id,
    budget_id: `of-${organization_id}`,
    models: [],
    blocked: false,
    object_permission: null,
    metadata: {},
    allowed_regions: [],
  }),
  customer: (user_id) => ({
    user_id,
    alias: null,
    blocked: false,
    allowed_model_region: null,
    default_model: null,
    budget_id: null,
    object_permission: null,
    metadata: {},
  }),
  tag: (name) => ({ name, description: null, models: [], model_info: null, budget_id: null, metadata: {} }),
  budget: (budget_id) => ({ budget_id, ...BUDGET, ...LIMITS, allowed_models: [], metadata: {} }),
};
