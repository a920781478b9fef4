/**
 * What stored objects say about money and rates, as the gateway decides with it. One reading for users, teams, members, organizations,
 * customers, tags, budget objects and keys: a field means the same on all of them.
 */
import type { Account, AccountKind } from './account.ts';
import { memberId } from './account.ts';
import type { BudgetMode, BudgetTerms } from './budget-terms.ts';
import { addDuration, isNoDuration, parseDuration } from './duration.ts';
import { booleanOf, numberOf, objectOf, textOf, textsOf } from './json-fields.ts';
import type { Limits, LimitType } from './limit.ts';
import { BUDGET_DOLLARS_MAX } from './money.ts';
import type { JsonObject, JsonValue, VirtualKey } from './virtual-key.ts';

/** An object of the tables, as the change log holds it, in the form that travels in the feed. Fields that it does not have are empty. */
export function accountFromObject(kind: AccountKind, object: JsonObject): Account {
  return {
    kind,
    id: accountId(kind, object),
    alias: textOf(object[ALIAS_FIELDS[kind]]),
    blocked: booleanOf(object.blocked, false),
    // Models of a tag are for routing and restrict nobody.
    models: kind === 'tag' ? [] : textsOf(kind === 'budget' ? object.allowed_models : object.models),
    modelAliases: textEntries(object.model_aliases),
    allowedRegions: textsOf(object.allowed_regions),
    organizationId: kind === 'organization' ? null : textOf(object.organization_id),
    limits: limitsOf(object),
    budgets: budgetTermsOf(object),
    budgetId: kind === 'budget' ? null : textOf(object.budget_id),
  };
}

/** Limits of any object that has LiteLLM's names for them. A limit below zero lets nothing through, as zero does. */
export function limitsOf(object: JsonObject): Limits {
  const metadata = objectOf(object.metadata) ?? {};
  return {
    rpm: limitOf(object.rpm_limit),
    tpm: limitOf(object.tpm_limit),
    maxParallelRequests: limitOf(object.max_parallel_requests),
    modelRpm: limitsPerModel('rpm_limit', object, metadata.model_rpm_limit),
    modelTpm: limitsPerModel('tpm_limit', object, metadata.model_tpm_limit),
    rpmType: limitTypeOf(metadata.rpm_limit_type),
    tpmType: limitTypeOf(metadata.tpm_limit_type),
    scope: metadata.limit_scope === 'global' ? 'global' : 'region',
  };
}

/** Every budget of an object: the plain one, one per window and one per model. Those above `BUDGET_DOLLARS_MAX` are none. */
export function budgetTermsOf(object: JsonObject): BudgetTerms[] {
  const options = optionsOf(objectOf(object.metadata) ?? {});
  const resetsAtMs = Date.parse(textOf(object.budget_reset_at) ?? '');
  const anchor = Number.isNaN(resetsAtMs) ? {} : { resetAnchorMs: resetsAtMs };
  const terms: BudgetTerms[] = [];
  const add = (slot: string, amount: number | null, duration: string | null, models: readonly string[] | null) => {
    if (amount === null || amount > BUDGET_DOLLARS_MAX || terms.some((known) => known.slot === slot)) return;
    terms.push({
      slot,
      maxBudget: Math.max(0, amount),
      duration,
      ...(duration === null ? {} : anchor),
      models,
      ...options,
    });
  };
  add('', numberOf(object.max_budget), durationOf(object.budget_duration), null);
  for (const window of Array.isArray(object.budget_limits) ? object.budget_limits : []) {
    const { amount, duration } = budgetOf(window);
    add(`window:${duration ?? ''}`, amount, duration, null);
  }
  for (const [name, budget] of Object.entries(objectOf(object.model_max_budget) ?? {})) {
    const { amount, duration, models } = budgetOf(budget);
    add(`model:${name}`, amount, duration, models.length === 0 ? [name] : models);
  }
  return terms;
}

export function limitsOfKey(key: VirtualKey): Limits {
  return limitsOf(key as unknown as JsonObject);
}

/** With `nowMs`, a temporary increase that still counts is part of the maximum; without it, it stands beside it. */
export function budgetTermsOfKey(key: VirtualKey, nowMs?: number): BudgetTerms[] {
  const increase = temporaryIncreaseOf(key);
  const terms = budgetTermsOf(key as unknown as JsonObject);
  if (increase === null) return terms;
  const { dollars: usd, untilMs } = increase;
  const added = nowMs === undefined || nowMs >= untilMs ? 0 : usd;
  return terms.map((term) =>
    term.slot === ''
      ? {
          ...term,
          maxBudget: term.maxBudget + added,
          ...(nowMs === undefined ? { temporaryIncrease: { usd, untilMs } } : {}),
        }
      : term,
  );
}

/** What is added to the plain budget of a key until a moment, whether that has passed or not. */
export function temporaryIncreaseOf({ metadata }: Pick<VirtualKey, 'metadata'>): TemporaryIncrease | null {
  const dollars = numberOf(metadata.temp_budget_increase);
  const untilMs = Date.parse(textOf(metadata.temp_budget_expiry) ?? '');
  return dollars === null || Number.isNaN(untilMs) ? null : { dollars, untilMs };
}

export interface TemporaryIncrease {
  readonly dollars: number;
  readonly untilMs: number;
}

/** Whether a budget for these models is charged for a call to this one. A provider's prefix on either side makes no difference. */
export function chargesModel(models: BudgetTerms['models'], model: string): boolean {
  if (models === null || models.includes(model)) return true;
  const plain = withoutProvider(model);
  return models.some((name) => withoutProvider(name) === plain);
}

/** `openai/gpt-4o` without what stands before the first slash. */
function withoutProvider(model: string): string {
  return model.slice(model.indexOf('/') + 1);
}

const ALIAS_FIELDS: Readonly<Record<AccountKind, string>> = {
  user: 'user_alias',
  team: 'team_alias',
  team_member: 'user_email',
  organization: 'organization_alias',
  customer: 'alias',
  tag: 'name',
  budget: 'budget_id',
};

function accountId(kind: AccountKind, object: JsonObject): string {
  const text = (name: string) => textOf(object[name]) ?? '';
  switch (kind) {
    case 'user':
    case 'customer':
      return text('user_id');
    case 'team':
      return text('team_id');
    case 'team_member':
      return memberId(text('team_id'), text('user_id'));
    case 'organization':
      return text('organization_id');
    case 'tag':
      return text('name');
    case 'budget':
      return text('budget_id');
  }
}

function limitOf(value: JsonValue | undefined): number | null {
  const limit = numberOf(value);
  return limit === null ? null : Math.max(0, limit);
}

/** `model_max_budget` may hold limits too; `metadata` wins. */
function limitsPerModel(
  name: 'rpm_limit' | 'tpm_limit',
  object: JsonObject,
  inMetadata: JsonValue | undefined,
): Record<string, number> {
  const limits: Record<string, number> = {};
  const set = (model: string, value: JsonValue | undefined) => {
    const limit = limitOf(value);
    if (limit !== null) limits[model] = limit;
  };
  for (const [model, budget] of Object.entries(objectOf(object.model_max_budget) ?? {})) {
    set(model, objectOf(budget)?.[name]);
  }
  for (const [model, value] of Object.entries(objectOf(inMetadata) ?? {})) set(model, value);
  return limits;
}

function limitTypeOf(value: JsonValue | undefined): LimitType {
  return value === 'guaranteed_throughput' || value === 'dynamic' ? value : 'best_effort_throughput';
}

type Options = Pick<BudgetTerms, 'mode' | 'strictInjectMaxTokens' | 'offlineReserveMs' | 'offlineOverdraftUsd'>;

function optionsOf(metadata: JsonObject): Options {
  const mode: BudgetMode = metadata.budget_mode === 'strict' ? 'strict' : 'expected';
  const reserve = parseDuration(textOf(metadata.offline_reserve) ?? '');
  return {
    mode,
    strictInjectMaxTokens: booleanOf(metadata.strict_inject_max_tokens, false),
    offlineReserveMs: reserve.ok ? addDuration(0, reserve.duration) : 0,
    offlineOverdraftUsd: Math.max(0, numberOf(metadata.offline_overdraft_usd) ?? 0),
  };
}

/** `{budget_limit or max_budget, time_period or budget_duration, models?}`, or a plain amount. */
function budgetOf(value: JsonValue): { amount: number | null; duration: string | null; models: readonly string[] } {
  const given = objectOf(value);
  if (given === null) return { amount: numberOf(value), duration: null, models: [] };
  return {
    amount: numberOf(given.budget_limit) ?? numberOf(given.max_budget),
    duration: durationOf(given.time_period) ?? durationOf(given.budget_duration),
    models: textsOf(given.models),
  };
}

function durationOf(value: JsonValue | undefined): string | null {
  const text = textOf(value);
  return text === null || isNoDuration(text) ? null : text;
}

function textEntries(value: JsonValue | undefined): Readonly<Record<string, string>> {
  const entries = Object.entries(objectOf(value) ?? {});
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
