import type { ModelEntry } from './config-source.ts';
import { canonicalJson, textOf, textsOf } from './json-fields.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

/**
 * The id of a deployment: `model_info.id`, else a hash of the entry as it is written. References to the environment count as they are
 * written, so that a new key, or another place with other variables, is still the same deployment.
 */
export function modelIdOf(entry: ModelEntry, organization: string | null, sha256Hex: (text: string) => string): string {
  const given = entry.modelInfo.id;
  if (typeof given === 'string' && given !== '') return given;
  if (typeof given === 'number') return String(given);
  const params = entry.writtenParams ?? entry.litellmParams;
  const isOneOfSeveral = organization !== null && Array.isArray(entry.litellmParams.organization);
  const ofOne: JsonObject = isOneOfSeveral ? { ...params, organization } : params;
  return sha256Hex(canonicalJson({ model_name: entry.modelName, litellm_params: ofOne }));
}

/** A list of organizations is several deployments. */
export function organizationsOf(value: JsonValue | undefined): readonly (string | null)[] {
  const list = textsOf(value);
  return list.length > 0 ? list : [textOf(value)];
}

/** Equal entries are legal (they double the share of a deployment), but an id names one deployment. */
export function freeId(id: string, taken: { has(id: string): boolean }): string {
  if (!taken.has(id)) return id;
  let number = 2;
  while (taken.has(`${id}-${number}`)) number++;
  return `${id}-${number}`;
}
