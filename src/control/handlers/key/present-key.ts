import { type KeyFields, METADATA_FIELDS } from '../../../contract/schemas/key-request.ts';
import type { BudgetObject } from '../../../domain/budget-object.ts';
import { dollarsFromNano } from '../../../domain/money.ts';
import type { JsonObject, JsonValue, VirtualKey } from '../../../domain/virtual-key.ts';
import type { ListedKey } from '../../../storage/queries/list-keys.ts';
import { maskSecrets } from '../../config/key-secrets.ts';

/** A key as every answer shows it: LiteLLM's column names, spend in dollars, secrets masked. `budget` is the object that its `budget_id` names. */
export function presentKey(key: VirtualKey, spendNano: bigint, budget: BudgetObject | null = null): JsonObject {
  return {
    ...(maskSecrets(key) as unknown as JsonObject),
    spend: dollarsFromNano(spendNano),
    litellm_budget_table: budget === null ? null : (budget as unknown as JsonObject),
  };
}

/** `/key/info` leaves out the hash: the caller named the key. */
export function presentKeyInfo(key: VirtualKey, spendNano: bigint, budget: BudgetObject | null): JsonObject {
  const { token: _, ...info } = presentKey(key, spendNano, budget);
  return info;
}

/** A generated key shows the request again, with the fields that went into `metadata` at the top as they came. */
export function presentGeneratedKey(key: VirtualKey, rawKey: string, spendNano: bigint, body: KeyFields): JsonObject {
  const shown = presentKey(key, spendNano);
  const metadata = shown.metadata as JsonObject;
  const echoed: JsonObject = {};
  for (const name of METADATA_FIELDS) if (!(name in shown)) echoed[name] = metadata[name] ?? null;
  return {
    ...echoed,
    ...shown,
    duration: body.duration ?? null,
    key_type: body.key_type ?? 'default',
    send_invite_email: (body.send_invite_email ?? null) as JsonValue,
    key: rawKey,
    token_id: key.token,
  };
}

export function presentListedKey({ key, spendNano, deletion }: ListedKey): JsonObject {
  const shown = presentKey(key, spendNano);
  if (deletion === null) return shown;
  return {
    ...shown,
    deleted_at: deletion.deletedAt,
    deleted_by: deletion.deletedBy,
    deleted_by_api_key: deletion.deletedByApiKey,
    litellm_changed_by: deletion.changedBy,
  };
}
