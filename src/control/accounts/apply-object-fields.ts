import type { ResetRules } from '../../domain/budget-period.ts';
import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';
import { budgetResetAt, checkedDuration } from '../handlers/key/durations.ts';
import { checkMoneyFields } from './check-money-fields.ts';

/** How the fields of a request become fields of an object. What is left out of a request stays as it is. */
export interface FieldPlan<T> {
  /** Set as they are; null clears them. */
  readonly plain: readonly (keyof T & string)[];
  /** Null makes them empty. */
  readonly lists: readonly (keyof T & string)[];
  readonly objects: readonly (keyof T & string)[];
  /** Null makes them false. */
  readonly flags: readonly (keyof T & string)[];
  /** Asked for at the top level and kept inside `metadata`; null removes them. */
  readonly inMetadata: readonly string[];
  /** It has `budget_duration` and `budget_reset_at`. */
  readonly hasPeriod: boolean;
}

export interface Moment {
  readonly nowMs: number;
  readonly resets: ResetRules;
  /** User id of the caller. */
  readonly by: string | null;
  /** A fresh id for an object that is given none. */
  readonly newId: () => string;
}

/** An object with the given fields applied, new or changed alike. Throws the 400 of a value that is not allowed. */
export function applyObjectFields<T extends object>(
  object: T,
  fields: Readonly<Record<string, unknown>>,
  plan: FieldPlan<T>,
  moment: Moment,
): T {
  checkMoneyFields(fields);
  const next = { ...object } as Record<string, unknown>;
  const assign = (names: readonly string[], whenNull: () => unknown) => {
    for (const name of names) if (fields[name] !== undefined) next[name] = fields[name] ?? whenNull();
  };
  assign(plan.plain, () => null);
  assign(plan.lists, () => []);
  assign(plan.objects, () => ({}));
  assign(plan.flags, () => false);
  if (plan.hasPeriod && fields.budget_duration !== undefined) {
    const duration = checkedDuration('budget_duration', fields.budget_duration as string | null);
    next.budget_duration = duration;
    next.budget_reset_at = budgetResetAt(duration, moment.nowMs, moment.resets);
  }
  if (plan.hasPeriod && typeof fields.budget_reset_at === 'string') {
    next.budget_reset_at = new Date(fields.budget_reset_at).toISOString();
  }
  if ('metadata' in object) next.metadata = metadataWith(next.metadata as JsonObject, fields, plan.inMetadata);
  return { ...next, ...stamp(moment, 'updated_by' in object) } as T;
}

/** `metadata` replaces the old one as a whole; fields that live inside are then set, or removed by null. */
function metadataWith(
  stored: JsonObject,
  fields: Readonly<Record<string, unknown>>,
  names: readonly string[],
): JsonObject {
  const given = fields.metadata as JsonObject | null | undefined;
  const metadata: JsonObject = { ...(given === undefined ? stored : given) };
  for (const name of names) {
    const value = fields[name] as JsonValue | undefined;
    if (value === null) delete metadata[name];
    else if (value !== undefined) metadata[name] = value;
  }
  return metadata;
}

/** When and by whom a new object was made. */
export function created({ nowMs, by }: Moment) {
  const now = new Date(nowMs).toISOString();
  return { created_at: now, created_by: by, updated_at: now, updated_by: by };
}

function stamp({ nowMs, by }: Moment, withAuthor: boolean) {
  return { updated_at: new Date(nowMs).toISOString(), ...(withAuthor ? { updated_by: by } : {}) };
}
