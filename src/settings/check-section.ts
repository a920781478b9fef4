import type { JsonObject, JsonValue } from '../domain/virtual-key.ts';
import { nearestName } from '../util/nearest-name.ts';
import { isReference } from './environment-references.ts';
import type { KnownKey, ValueType } from './known/known-key.ts';
import { ConfigError } from './settings-error.ts';
import { kindOf, pathText, type YamlFile, type YamlPath } from './yaml-file.ts';

/** Collects what is worth saying about a file that is good enough to start with. */
export interface Remarks {
  /** Finished sentences, with file and line. */
  readonly warnings: string[];
  /** Paths of known keys that have a value and no effect in this version. */
  readonly ignoredKeys: Set<string>;
}

/**
 * Checks a map against its table. Known keys get the type they should have (`"5"` where a number is expected becomes 5) or
 * stop the start; empty values are left out, as if they were not written; what happens to unknown keys is up to `unknown`.
 */
export function checkSection(
  file: YamlFile,
  path: YamlPath,
  section: JsonObject,
  table: ReadonlyMap<string, KnownKey>,
  remarks: Remarks,
  unknown: (key: string, nearest: string | null) => string | null = (key, nearest) =>
    `${pathText([...path, key])} is not a known setting and has no effect.${nearest === null ? '' : ` Did you mean ${nearest}?`}`,
): JsonObject {
  const checked: JsonObject = {};
  for (const [key, value] of Object.entries(section)) {
    const at = [...path, key];
    const known = table.get(key);
    if (known === undefined) {
      checked[key] = value;
      const sentence = unknown(key, nearestName(key, table.keys()));
      if (sentence !== null) remarks.warnings.push(place(file, at, sentence));
      continue;
    }
    if (value === null) continue;
    checked[key] = checkValue(file, at, value, known.types);
    if (!known.acted && hasEffect(key, value)) remarks.ignoredKeys.add(pathText(at).replace(/\[\d+\]/g, '[]'));
  }
  return checked;
}

/** The value as one of `types`; throws `ConfigError` when it is none of them. */
export function checkValue(file: YamlFile, path: YamlPath, value: JsonValue, types: readonly ValueType[]): JsonValue {
  const converted = valueAs(value, types, () => file.sourceOf(path));
  if (converted !== undefined) return converted;
  throw new ConfigError(file.path, file.lineOf(path), typeSentence(pathText(path), value, types));
}

/** The value as one of `types`, or undefined. `source`: the text of a number as it was written. */
export function valueAs(
  value: JsonValue,
  types: readonly ValueType[],
  source: () => string | null = () => null,
): JsonValue | undefined {
  // What a reference stands for is known where it is replaced.
  if (isReference(value)) return value;
  for (const type of types) {
    const converted = convert(value, type, source);
    if (converted !== undefined) return converted;
  }
  return undefined;
}

export function typeSentence(name: string, value: JsonValue, types: readonly ValueType[]): string {
  return `${name} must be ${types.map((type) => WORDS[type]).join(' or ')}, but it is ${kindOf(value)}.`;
}

/** A sentence with its place in front. */
export function place(file: YamlFile, path: YamlPath, sentence: string): string {
  const line = file.lineOf(path);
  return `${file.path}${line === null ? '' : `:${line}`}: ${sentence}`;
}

const WORDS: Readonly<Record<ValueType, string>> = {
  string: 'a text',
  int: 'an integer',
  number: 'a number',
  bool: 'true or false',
  list: 'a list',
  map: 'a map',
  any: 'anything',
};

function convert(value: JsonValue, type: ValueType, source: () => string | null): JsonValue | undefined {
  switch (type) {
    case 'any':
      return value;
    case 'string':
      if (typeof value === 'string') return value;
      // The text as written: `007` is not 7, and `1.10` is not 1.1.
      return typeof value === 'number' ? (source() ?? String(value)) : undefined;
    case 'int':
    case 'number': {
      const number = typeof value === 'string' && NUMBER.test(value.trim()) ? Number(value) : value;
      if (typeof number !== 'number' || !Number.isFinite(number)) return undefined;
      return type === 'int' && !Number.isSafeInteger(number) ? undefined : number;
    }
    case 'bool':
      if (typeof value === 'boolean') return value;
      if (typeof value !== 'string') return undefined;
      return BOOLEANS.get(value.trim().toLowerCase());
    case 'list':
      return Array.isArray(value) ? value : undefined;
    case 'map':
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  }
}

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['false', false],
]);

/** Values that ask for nothing: leaving them without effect is not worth a word. */
function hasEffect(key: string, value: JsonValue): boolean {
  if (value === null || value === false || value === '') return false;
  if (Array.isArray(value)) {
    const without =
      key === 'callbacks' || key === 'success_callback' ? value.filter((item) => item !== 'prometheus') : value;
    return without.length > 0;
  }
  if (typeof value === 'object') return Object.keys(value).length > 0;
  return !(key === 'routing_strategy' && value === 'simple-shuffle') && key !== 'telemetry';
}
