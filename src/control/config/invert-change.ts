import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';
import { changedValues, fieldOf, isPlain, sameValue } from '../fleet/field-difference.ts';

export type Inverse =
  /** What the object is to become; null: it is to be deleted. */
  | { readonly next: JsonObject | null }
  /** Why not: a later change is in the way. */
  | { readonly conflict: string };

/**
 * Undoes a change on the object as it is now: the fields that the change touched get back their old values, all others stay. Where such a field
 * is no longer what the change made of it, somebody has decided anew since, and that is not undone behind their back.
 */
export function invertChange(
  { before, after }: { readonly before: JsonValue; readonly after: JsonValue },
  current: JsonValue,
): Inverse {
  if (!isPlain(after)) {
    if (current !== null) return { conflict: 'it exists again' };
    return isPlain(before) ? { next: before } : { conflict: 'the log does not hold what it was' };
  }
  if (!isPlain(current)) return { conflict: 'it was deleted since' };
  if (!isPlain(before)) {
    const touched = changedValues(after, current).map(({ path }) => path.join('.'));
    return touched.length === 0 ? { next: null } : { conflict: `these fields were changed since: ${listed(touched)}` };
  }
  const changed = changedValues(before, after);
  const touched = changed.filter(({ path, is }) => !sameValue(valueAt(current, path), is));
  if (touched.length > 0) {
    return { conflict: `these fields were changed again since: ${listed(touched.map(({ path }) => path.join('.')))}` };
  }
  return { next: changed.reduce<JsonObject>((next, { path, was }) => withValue(next, path, was, before), current) };
}

function valueAt(object: JsonObject, path: readonly string[]): JsonValue {
  let value: JsonValue = object;
  for (const name of path) value = isPlain(value) ? fieldOf(value, name) : null;
  return value;
}

/** What was not there is taken away again. */
function withValue(
  object: JsonObject,
  [name = '', ...rest]: readonly string[],
  value: JsonValue,
  before: JsonObject,
): JsonObject {
  const wasThere = Object.hasOwn(before, name);
  if (rest.length === 0) {
    if (wasThere) return { ...object, [name]: value };
    const { [name]: _, ...others } = object;
    return others;
  }
  const inner = fieldOf(object, name);
  const innerBefore = fieldOf(before, name);
  return {
    ...object,
    [name]: withValue(isPlain(inner) ? inner : {}, rest, value, isPlain(innerBefore) ? innerBefore : {}),
  };
}

const NAMED_MAX = 10;

function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMED_MAX).join(', ');
  return names.length > NAMED_MAX ? `${shown} and ${names.length - NAMED_MAX} more` : shown;
}
