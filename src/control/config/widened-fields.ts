import { addDuration, isNoDuration, parseDuration } from '../../domain/duration.ts';
import { numberOf, objectOf, textOf } from '../../domain/json-fields.ts';
import { compileModelAccess } from '../../domain/model-access.ts';
import { routeAllowedForKey } from '../../domain/route-class.ts';
import type { JsonObject, JsonValue, VirtualKey } from '../../domain/virtual-key.ts';

/**
 * Fields in which a key may do more after a change than before it, each as a clause for people that begins with the field. Where it can not
 * be told whether it is more, it is taken for more: the answer only decides whether somebody is asked.
 */
export function widenedFields(now: VirtualKey, next: VirtualKey): string[] {
  return [
    ...lists(now, next),
    ...(isLater(now.expires, next.expires)
      ? [`expires would be later (${next.expires ?? 'never'} in place of ${now.expires})`]
      : []),
    ...(now.fence === 'strict' && next.fence !== 'strict'
      ? [`fence would be weaker (${next.fence} in place of strict)`]
      : []),
    ...LIMITS.flatMap((name) => risen(name, now[name], next[name])),
    ...(now.max_budget !== null && next.max_budget !== null
      ? sooner('budget_duration', now.budget_duration, next.budget_duration)
      : []),
    ...perName('model_max_budget', budgetsByModel(now.model_max_budget), budgetsByModel(next.model_max_budget)),
    ...perName('budget_limits', budgetsByWindow(now.budget_limits), budgetsByWindow(next.budget_limits)),
    ...LIMITS_PER_MODEL.flatMap((name) =>
      perName(`metadata.${name}`, limitsByModel(now.metadata[name]), limitsByModel(next.metadata[name])),
    ),
  ];
}

const LIMITS = ['max_budget', 'max_parallel_requests', 'rpm_limit', 'tpm_limit'] as const;
const LIMITS_PER_MODEL = ['model_rpm_limit', 'model_tpm_limit'] as const;

/** In all of them an empty list is no restriction. */
function lists(now: VirtualKey, next: VirtualKey): string[] {
  const models = compileModelAccess(now.models);
  const covers: Readonly<Record<(typeof LISTS)[number], (entry: string) => boolean>> = {
    models: (name) => models.allows({ name, accessGroups: [] }),
    allowed_routes: (path) => now.allowed_routes.includes(path) || routeAllowedForKey(now.allowed_routes, path),
    allowed_regions: (region) => now.allowed_regions.includes(region),
  };
  return LISTS.flatMap((name) => {
    const [had, gets] = [now[name], next[name]];
    const hadAll = name === 'models' ? models.everything : had.length === 0;
    const isMore = !hadAll && (gets.length === 0 || !gets.every(covers[name]));
    return isMore ? [`${name} would allow more (${listed(gets)} in place of ${listed(had)})`] : [];
  });
}

const LISTS = ['models', 'allowed_routes', 'allowed_regions'] as const;
const NAMED_MAX = 10;

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'all';
  const shown = names.slice(0, NAMED_MAX).join(', ');
  return names.length > NAMED_MAX ? `${shown} and ${names.length - NAMED_MAX} more` : shown;
}

function isLater(now: string | null, next: string | null): boolean {
  return now !== null && (next === null || Date.parse(next) > Date.parse(now));
}

function risen(name: string, now: number | null, next: number | null): string[] {
  if (now === null) return [];
  if (next === null) return [`${name} would be lifted (it is ${now})`];
  return next > now ? [`${name} would rise (${next} in place of ${now})`] : [];
}

/** The same budget in a shorter period is more; one that is never given anew is least. */
function sooner(name: string, now: string | null, next: string | null): string[] {
  return periodMs(next) < periodMs(now) ? [`${name} would be shorter (${next} in place of ${now ?? 'none'})`] : [];
}

function periodMs(text: string | null): number {
  if (text === null || isNoDuration(text)) return Number.POSITIVE_INFINITY;
  const parsed = parseDuration(text);
  return parsed.ok ? addDuration(0, parsed.duration) : 0;
}

interface Budget {
  /** Null: it says nothing that can be compared. */
  readonly amount: number | null;
  readonly period: string | null;
}

function perName(field: string, now: ReadonlyMap<string, Budget>, next: ReadonlyMap<string, Budget>): string[] {
  return [...now].flatMap(([name, had]) => {
    const gets = next.get(name);
    const full = `${field}.${name}`;
    if (gets === undefined) return [`${full} would be lifted`];
    return [...risen(full, had.amount, gets.amount), ...sooner(full, had.period, gets.period)];
  });
}

function limitsByModel(value: JsonValue | undefined): ReadonlyMap<string, Budget> {
  return new Map(
    Object.entries(objectOf(value) ?? {}).map(([name, limit]) => [name, { amount: numberOf(limit), period: null }]),
  );
}

function budgetsByModel(value: JsonObject): ReadonlyMap<string, Budget> {
  return new Map(Object.entries(value).map(([name, budget]) => [name, budgetOf(budget)]));
}

/** A window is named by its period. */
function budgetsByWindow(value: JsonValue): ReadonlyMap<string, Budget> {
  const windows = Array.isArray(value) ? value : [];
  return new Map(
    windows.map((window, index) => {
      const budget = budgetOf(window);
      return [budget.period ?? String(index), budget];
    }),
  );
}

function budgetOf(value: JsonValue): Budget {
  const given = objectOf(value);
  if (given === null) return { amount: numberOf(value), period: null };
  return {
    amount: numberOf(given.budget_limit) ?? numberOf(given.max_budget),
    period: textOf(given.time_period) ?? textOf(given.budget_duration),
  };
}
