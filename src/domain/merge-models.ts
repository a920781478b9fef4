import type { ConfigSource, ModelEntry } from './config-source.ts';
import { canonicalJson } from './json-fields.ts';
import { modelIdOf, organizationsOf } from './model-id.ts';
import type { JsonObject } from './virtual-key.ts';

export interface MergedModels {
  readonly source: ConfigSource;
  /** Ids of models of the database that the file replaces with something else, sorted. */
  readonly overrides: readonly string[];
}

/**
 * The file of an instance and the models of the database as one source. On the same id the file wins: what is written next to a worker
 * holds for that worker. Entries of the file come first.
 */
export function mergeModels(
  file: ConfigSource,
  database: readonly ModelEntry[],
  sha256Hex: (text: string) => string,
): MergedModels {
  const ofFile = new Map<string, ModelEntry>();
  for (const entry of file.models) {
    for (const organization of organizationsOf(entry.litellmParams.organization)) {
      const id = modelIdOf(entry, organization, sha256Hex);
      if (!ofFile.has(id)) ofFile.set(id, organization === null ? entry : withOrganization(entry, organization));
    }
  }
  const overrides: string[] = [];
  const added = database.filter((entry) => {
    const id = String(entry.modelInfo.id);
    const own = ofFile.get(id);
    if (own === undefined) return true;
    if (contentOf(own) !== contentOf(entry)) overrides.push(id);
    return false;
  });
  return { source: { ...file, models: [...file.models, ...added] }, overrides: overrides.sort() };
}

/** An id with a list of organizations names all of them; the parts of a list without one have an id each. */
function withOrganization(entry: ModelEntry, organization: string): ModelEntry {
  return entry.modelInfo.id === undefined
    ? { ...entry, litellmParams: { ...entry.litellmParams, organization } }
    : entry;
}

/** What two entries of the same id are compared by. */
function contentOf({ litellmParams, modelInfo, modelName }: ModelEntry): string {
  const { id: _id, db_model: _origin, ...info } = modelInfo as JsonObject;
  return canonicalJson({ modelName, litellmParams, modelInfo: info });
}
