import { isSealedSecret, mapSealed } from '../../domain/sealed-secret.ts';
import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';

export interface FieldDifference {
  /** Dotted: `metadata.team`. */
  readonly field: string;
  /** Null: it was not there. */
  readonly before: JsonValue;
  readonly after: JsonValue;
  /** The values are secrets; shown is whether there is one, and that it changed. */
  readonly secret?: true;
}

/** They say when and by whom something was changed, which the log says better. */
const BOOKKEEPING: ReadonlySet<string> = new Set(['updated_at', 'updated_by', 'created_at', 'created_by']);

/** What is different between two states of an object, field by field; objects inside are gone into, lists are compared whole. */
export function fieldDifferences(before: JsonValue, after: JsonValue): FieldDifference[] {
  return changedValues(before, after).map(({ path, was, is }) => difference(path.join('.'), was, is));
}

export interface ChangedValue {
  readonly path: readonly string[];
  /** Null: it was not there. */
  readonly was: JsonValue;
  readonly is: JsonValue;
}

/** The same with the values as they are stored. */
export function changedValues(before: JsonValue, after: JsonValue): ChangedValue[] {
  const changed: ChangedValue[] = [];
  compare(asObject(before), asObject(after), [], changed);
  return changed.filter(({ path }) => path.length > 1 || !BOOKKEEPING.has(path[0] ?? ''));
}

function compare(before: JsonObject, after: JsonObject, parent: readonly string[], into: ChangedValue[]): void {
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const was = fieldOf(before, name);
    const is = fieldOf(after, name);
    const path = [...parent, name];
    if (sameValue(was, is)) continue;
    if (isPlain(was) && isPlain(is)) compare(was, is, path, into);
    else into.push({ path, was, is });
  }
}

function difference(field: string, before: JsonValue, after: JsonValue): FieldDifference {
  let secret = false;
  const hidden = (value: JsonValue, text: string): JsonValue =>
    mapSealed(value, field, () => {
      secret = true;
      return text;
    });
  const shown = { field, before: hidden(before, 'set'), after: hidden(after, before === null ? 'set' : 'changed') };
  return secret ? { ...shown, secret: true } : shown;
}

/** Sealing the same secret twice gives other bytes; the fingerprint tells. */
export function sameValue(a: JsonValue, b: JsonValue): boolean {
  if (a === b) return true;
  if (isSealedSecret(a) && isSealedSecret(b)) return a.fingerprint === b.fingerprint;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => sameValue(item, b[index]!));
  }
  if (!isPlain(a) || !isPlain(b)) return false;
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => sameValue(fieldOf(a, name), fieldOf(b, name)));
}

/** Null: it has none. A client may have named a field `__proto__`, so only own ones count. */
export function fieldOf(object: JsonObject, name: string): JsonValue {
  return Object.hasOwn(object, name) ? (object[name] ?? null) : null;
}

export function isPlain(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isSealedSecret(value);
}

function asObject(value: JsonValue): JsonObject {
  return isPlain(value) ? value : value === null ? {} : { value };
}
