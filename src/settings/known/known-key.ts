/** What a value in `config.yaml` may be. `string` also takes a number as it is written; numbers and booleans also come as text. */
export type ValueType = 'string' | 'int' | 'number' | 'bool' | 'list' | 'map' | 'any';

/** One key of LiteLLM's `config.yaml`, or one of ours. This table is the published one: `docs/reference/config.md` is made from it. */
export interface KnownKey {
  readonly name: string;
  /** Any of these. */
  readonly types: readonly ValueType[];
  /** False: accepted and checked, without an effect in this version. */
  readonly acted: boolean;
  readonly meaning: string;
}

/** A key that shapes what Claviger does. `types`: one or more, separated by `|`. */
export function acted(name: string, types: string, meaning: string): KnownKey {
  return { name, types: types.split('|') as ValueType[], acted: true, meaning };
}

/** Keys that are accepted so that an existing file starts, and do nothing yet. */
export function later(types: string, names: string, meaning = ''): KnownKey[] {
  return names
    .split(/\s+/)
    .filter((name) => name !== '')
    .map((name) => ({ name, types: types.split('|') as ValueType[], acted: false, meaning }));
}

/** By name; a name that stands twice in the table is a mistake of ours. */
export function keyTable(keys: readonly KnownKey[]): ReadonlyMap<string, KnownKey> {
  const table = new Map<string, KnownKey>();
  for (const key of keys) {
    if (table.has(key.name)) throw new Error(`The key ${key.name} is listed twice.`);
    table.set(key.name, key);
  }
  return table;
}
