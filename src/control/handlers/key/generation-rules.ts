/** What the configuration file says about new keys: defaults, bounds, required fields (`litellm_settings`, `general_settings`). */
import { type GenerateKeyBody, generateKeyBody, type KeyFields } from '../../../contract/schemas/key-request.ts';
import type { ConfigSource } from '../../../domain/config-source.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { JsonObject, JsonValue } from '../../../domain/virtual-key.ts';
import { lengthMs } from './durations.ts';

/** A new key's request with defaults filled in and bounds applied. Throws the 400 of a rule that it breaks. */
export function applyGenerationRules(body: GenerateKeyBody, config: ConfigSource, nowMs: number): GenerateKeyBody {
  const { litellmSettings, generalSettings } = config;
  const filled = fillDefaults(body, objectOf(litellmSettings.default_key_generate_params));
  const bounded = recheck(fillBounds(filled, objectOf(litellmSettings.upperbound_key_generate_params)));
  refuseOverBounds(bounded, config, nowMs);
  refuseMissing(bounded, objectOf(litellmSettings.key_generation_settings));
  if (generalSettings.default_team_disabled === true && !bounded.team_id) {
    throw new ClavigerError('bad_request', {
      reason:
        'Keys without a team are not allowed on this proxy (general_settings.default_team_disabled). Pass team_id.',
    });
  }
  refuseOddAlias(bounded.key_alias, config);
  return bounded;
}

/** The rules that also hold for changes of a key. */
export function applyUpdateRules(body: KeyFields, config: ConfigSource, nowMs: number): void {
  refuseOverBounds(body, config, nowMs);
  refuseOddAlias(body.key_alias, config);
}

const DEFAULTED = [
  'max_budget',
  'user_id',
  'team_id',
  'max_parallel_requests',
  'tpm_limit',
  'rpm_limit',
  'budget_duration',
  'duration',
] as const;

const BOUNDED_NUMBERS = ['max_budget', 'max_parallel_requests', 'tpm_limit', 'rpm_limit'] as const;
const BOUNDED_DURATIONS = ['duration', 'budget_duration'] as const;

function fillDefaults(body: GenerateKeyBody, defaults: JsonObject): GenerateKeyBody {
  const filled: Record<string, unknown> = { ...body };
  for (const name of DEFAULTED) if (body[name] == null && defaults[name] != null) filled[name] = defaults[name];
  if (!body.models?.length && Array.isArray(defaults.models)) filled.models = defaults.models;
  if (Object.keys(body.metadata ?? {}).length === 0 && isObject(defaults.metadata)) filled.metadata = defaults.metadata;
  return filled as GenerateKeyBody;
}

/** A field that was left out is set to its bound. `duration: null` was not left out: it asks for "never". */
function fillBounds(body: GenerateKeyBody, bounds: JsonObject): GenerateKeyBody {
  const filled: Record<string, unknown> = { ...body };
  for (const name of BOUNDED_NUMBERS) if (body[name] == null && bounds[name] != null) filled[name] = bounds[name];
  if (body.budget_duration == null && bounds.budget_duration != null) filled.budget_duration = bounds.budget_duration;
  if (body.duration === undefined && bounds.duration != null) filled.duration = bounds.duration;
  return filled as GenerateKeyBody;
}

/** Values of the configuration file are checked like those of a request. */
function recheck(body: GenerateKeyBody): GenerateKeyBody {
  const checked = generateKeyBody.safeParse(body);
  if (checked.success) return checked.data;
  const fields = checked.error.issues.map((issue) => issue.path.join('.')).join(', ');
  throw new ClavigerError('bad_request', {
    reason: `default_key_generate_params or upperbound_key_generate_params in the configuration file has a value of the wrong type: ${fields}`,
  });
}

function refuseOverBounds(body: KeyFields, config: ConfigSource, nowMs: number): void {
  const bounds = objectOf(config.litellmSettings.upperbound_key_generate_params);
  for (const name of BOUNDED_NUMBERS) {
    const bound = bounds[name];
    const value = body[name];
    if (typeof bound === 'number' && typeof value === 'number' && value > bound) throw overBound(name, value, bound);
  }
  for (const name of BOUNDED_DURATIONS) {
    const bound = bounds[name];
    const value = body[name];
    if (typeof bound !== 'string' || value === undefined) continue;
    if (lengthMs(name, value, nowMs) > lengthMs(name, bound, nowMs)) throw overBound(name, value ?? 'null', bound);
  }
}

function overBound(name: string, value: string | number, bound: string | number): ClavigerError {
  return new ClavigerError('bad_request', {
    reason: `${name} is over max limit set in config - user_value=${value}; max_value=${bound}`,
  });
}

/** The roles in these settings are checked with the rights of the caller (`key-rights.ts`). */
function refuseMissing(body: GenerateKeyBody, settings: JsonObject): void {
  const rules = objectOf(body.team_id ? settings.team_key_generation : settings.personal_key_generation);
  if (!Array.isArray(rules.required_params)) return;
  for (const name of rules.required_params) {
    if (typeof name !== 'string' || isGiven((body as Record<string, unknown>)[name])) continue;
    const kind = body.team_id ? 'team' : 'personal';
    throw new ClavigerError('bad_request', {
      reason: `Required param ${name} not in data: key_generation_settings.${kind}_key_generation asks for it.`,
    });
  }
}

function isGiven(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

const ALIAS_FORM = /^[A-Za-z0-9][A-Za-z0-9_\-/.@]{0,253}[A-Za-z0-9]$/;

function refuseOddAlias(alias: string | null | undefined, config: ConfigSource): void {
  if (config.litellmSettings.enable_key_alias_format_validation !== true || !alias || ALIAS_FORM.test(alias)) return;
  throw new ClavigerError(
    'bad_request',
    {
      reason:
        'key_alias must have 2 to 255 characters, begin and end with a letter or digit, and contain only letters, digits and _ - / . @ besides.',
    },
    { param: 'key_alias' },
  );
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isObject(value) ? value : {};
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
