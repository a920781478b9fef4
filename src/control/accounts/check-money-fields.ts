import { ClavigerError } from '../../domain/error-catalogue.ts';
import { numberOf, objectOf, textOf } from '../../domain/json-fields.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import { checkedDuration } from '../handlers/key/durations.ts';

/** Windows of one object; each is a ledger of its own. More are a 400. */
export const BUDGET_WINDOWS_MAX = 10;
/** Models of `model_max_budget`; each is a ledger of its own. More are a 400. */
export const BUDGETED_MODELS_MAX = 200;

/**
 * Refuses amounts, limits and periods that mean nothing, with a 400 that names the field. The schemas have refused what is no number at all;
 * an absurdly high amount is stored as given and is no budget.
 */
export function checkMoneyFields(fields: Readonly<Record<string, unknown>>): void {
  for (const name of AMOUNTS) refuseNegative(name, fields[name]);
  for (const name of LIMITS) refuseNegative(name, fields[name]);
  for (const name of DURATIONS) {
    const value = fields[name];
    if (typeof value === 'string') checkedDuration(name, value);
  }
  checkWindows(fields.budget_limits);
  checkModelBudgets(fields.model_max_budget as JsonValue | undefined);
  for (const name of LIMITS_PER_MODEL) checkLimitsPerModel(name, fields[name] as JsonValue | undefined);
  const metadata = objectOf(fields.metadata as JsonValue | undefined);
  if (metadata !== null) checkMetadata(metadata);
}

const AMOUNTS = ['max_budget', 'soft_budget', 'spend', 'max_budget_in_team', 'team_member_budget'] as const;
const LIMITS = [
  'max_parallel_requests',
  'rpm_limit',
  'tpm_limit',
  'team_member_rpm_limit',
  'team_member_tpm_limit',
] as const;
const DURATIONS = ['budget_duration', 'team_member_budget_duration', 'team_member_key_duration'] as const;
const LIMITS_PER_MODEL = ['model_rpm_limit', 'model_tpm_limit'] as const;

export function refuseNegative(field: string, value: unknown): void {
  if (typeof value !== 'number' || value >= 0) return;
  throw new ClavigerError('negative_budget', { field, value }, { param: field });
}

function checkWindows(value: unknown): void {
  if (!Array.isArray(value)) return;
  if (value.length > BUDGET_WINDOWS_MAX) {
    throw refuse(
      'budget_limits',
      `budget_limits has ${value.length} windows; at most ${BUDGET_WINDOWS_MAX} are possible`,
    );
  }
  const seen = new Set<string>();
  for (const window of value as { budget_duration: string; max_budget: number }[]) {
    refuseNegative('budget_limits.max_budget', window.max_budget);
    const duration = checkedDuration('budget_limits.budget_duration', window.budget_duration) ?? '';
    if (seen.has(duration)) {
      throw refuse('budget_limits', `budget_limits has two windows of ${duration === '' ? 'no period' : duration}`);
    }
    seen.add(duration);
  }
}

function checkModelBudgets(value: JsonValue | undefined): void {
  const entries = Object.entries(objectOf(value) ?? {});
  if (entries.length > BUDGETED_MODELS_MAX) {
    throw refuse(
      'model_max_budget',
      `model_max_budget names ${entries.length} models; at most ${BUDGETED_MODELS_MAX} are possible`,
    );
  }
  for (const [model, budget] of entries) {
    const field = `model_max_budget.${model}`;
    const given = objectOf(budget);
    const amount = given === null ? budget : (given.budget_limit ?? given.max_budget ?? null);
    if (numberOf(amount) === null && (given === null || amount !== null)) {
      throw refuse('model_max_budget', `${field} must be an amount, or an object with budget_limit and time_period`);
    }
    refuseNegative(field, numberOf(amount) ?? 0);
    if (given === null) continue;
    for (const name of ['time_period', 'budget_duration']) {
      const period = given[name];
      if (period === undefined || period === null) continue;
      if (typeof period !== 'string') throw refuse('model_max_budget', `${field}.${name} must be text such as 30d`);
      checkedDuration(`${field}.${name}`, period);
    }
    for (const name of ['rpm_limit', 'tpm_limit']) checkLimit(`${field}.${name}`, given[name]);
  }
}

function checkLimitsPerModel(field: string, value: JsonValue | undefined): void {
  if (value === undefined || value === null) return;
  const limits = objectOf(value);
  if (limits === null) throw refuse(field, `${field} must be an object of limits by model`);
  for (const [model, limit] of Object.entries(limits)) checkLimit(`${field}.${model}`, limit);
}

function checkLimit(field: string, value: JsonValue | undefined): void {
  if (value === undefined || value === null) return;
  const limit = numberOf(value);
  if (limit === null || !Number.isInteger(limit)) throw refuse(field, `${field} must be a whole number`);
  refuseNegative(field, limit);
}

/** The entries of `metadata` that budgets and limits are read from (`account-from-object.ts`). */
function checkMetadata(metadata: Readonly<Record<string, JsonValue>>): void {
  for (const name of LIMITS_PER_MODEL) checkLimitsPerModel(`metadata.${name}`, metadata[name]);
  for (const [name, allowed] of Object.entries(CHOICES)) {
    const value = metadata[name];
    if (value !== undefined && value !== null && !allowed.includes(value)) {
      throw refuse(`metadata.${name}`, `metadata.${name} must be one of ${allowed.join(', ')}`);
    }
  }
  const { offline_reserve, offline_overdraft_usd } = metadata;
  if (offline_reserve !== undefined && offline_reserve !== null) {
    if (textOf(offline_reserve) === null) {
      throw refuse('metadata.offline_reserve', 'metadata.offline_reserve must be a duration such as 10m');
    }
    checkedDuration('metadata.offline_reserve', textOf(offline_reserve));
  }
  if (offline_overdraft_usd !== undefined && offline_overdraft_usd !== null) {
    const dollars = numberOf(offline_overdraft_usd);
    if (dollars === null)
      throw refuse('metadata.offline_overdraft_usd', 'metadata.offline_overdraft_usd must be dollars');
    refuseNegative('metadata.offline_overdraft_usd', dollars);
  }
}

const CHOICES: Readonly<Record<string, readonly JsonValue[]>> = {
  budget_mode: ['expected', 'strict'],
  limit_scope: ['region', 'global'],
  rpm_limit_type: ['guaranteed_throughput', 'best_effort_throughput', 'dynamic'],
  tpm_limit_type: ['guaranteed_throughput', 'best_effort_throughput', 'dynamic'],
  strict_inject_max_tokens: [true, false],
};

function refuse(param: string, reason: string): ClavigerError {
  return new ClavigerError('bad_request', { reason: `${reason}.` }, { param });
}
