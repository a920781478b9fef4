import type { GenerateKeyBody } from '../../../contract/schemas/key-request.ts';
import type { ResetRules } from '../../../domain/budget-period.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { GENERATED_KEY_BYTES, GENERATED_KEY_PREFIX, keyName, makeGeneratedKey } from '../../../domain/generated-key.ts';
import type { VirtualKey } from '../../../domain/virtual-key.ts';
import type { RandomBytes } from '../../../util/uuid-v7.ts';
import { hmacSha256, keyToken } from '../../auth/key-token.ts';
import { applyFields } from './apply-fields.ts';

export interface NewKeyInput {
  readonly nowMs: number;
  readonly resets: ResetRules;
  readonly createdBy: string | null;
}

/** The object of a new key. `body` has passed the rules of the configuration. */
export function newKey(rawKey: string, body: GenerateKeyBody, { nowMs, resets, createdBy }: NewKeyInput): VirtualKey {
  const now = new Date(nowMs).toISOString();
  const empty: VirtualKey = {
    ...EMPTY_KEY,
    token: keyToken(rawKey),
    key_name: keyName(rawKey),
    created_at: now,
    created_by: createdBy,
    updated_at: now,
    updated_by: createdBy,
  };
  return applyFields(empty, body, { nowMs, resets });
}

/** A custom key that is allowed, or a generated one. */
export function rawKeyFor(
  custom: string | null | undefined,
  { fleetKey, masterKey, randomBytes }: { fleetKey: Buffer; masterKey: string; randomBytes: RandomBytes },
): string {
  if (custom === undefined || custom === null || custom === '') {
    return makeGeneratedKey(randomBytes(GENERATED_KEY_BYTES), fleetKey, hmacSha256);
  }
  if (!custom.startsWith('sk-')) throw new ClavigerError('key_must_start_with_sk');
  if (custom.startsWith(GENERATED_KEY_PREFIX)) throw new ClavigerError('key_prefix_reserved');
  if (custom.length < CUSTOM_KEY_CHARS_MIN)
    throw new ClavigerError('key_too_short', { charsMin: CUSTOM_KEY_CHARS_MIN });
  if (!SENDABLE.test(custom)) {
    throw new ClavigerError(
      'bad_request',
      {
        reason: `A custom key must consist of at most ${CUSTOM_KEY_CHARS_MAX} visible ASCII characters: it travels in a header.`,
      },
      { param: 'key' },
    );
  }
  if (custom === masterKey) {
    throw new ClavigerError(
      'bad_request',
      { reason: 'This is the master key. Choose another value.' },
      { param: 'key' },
    );
  }
  return custom;
}

const CUSTOM_KEY_CHARS_MIN = 4;
const CUSTOM_KEY_CHARS_MAX = 1_024;
const SENDABLE = new RegExp(`^[\\x21-\\x7e]{1,${CUSTOM_KEY_CHARS_MAX}}$`);

const EMPTY_KEY: Omit<VirtualKey, 'token' | 'key_name' | 'created_at' | 'created_by' | 'updated_at' | 'updated_by'> = {
  key_alias: null,
  expires: null,
  models: [],
  aliases: {},
  config: {},
  user_id: null,
  team_id: null,
  organization_id: null,
  project_id: null,
  agent_id: null,
  max_budget: null,
  soft_budget: null,
  budget_duration: null,
  budget_reset_at: null,
  budget_id: null,
  budget_limits: null,
  model_max_budget: {},
  budget_fallbacks: null,
  max_parallel_requests: null,
  rpm_limit: null,
  tpm_limit: null,
  permissions: {},
  allowed_routes: [],
  allowed_cache_controls: [],
  policies: [],
  access_group_ids: [],
  object_permission: null,
  router_settings: null,
  metadata: {},
  blocked: false,
  auto_rotate: false,
  rotation_interval: null,
  allowed_regions: [],
  fence: 'normal',
};
