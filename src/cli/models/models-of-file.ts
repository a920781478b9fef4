import { createHash } from 'node:crypto';
import type { ConfigSource, ModelEntry } from '../../domain/config-source.ts';
import { freeId, modelIdOf, organizationsOf } from '../../domain/model-id.ts';
import { referencedName } from '../../domain/open-model.ts';
import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';

/** A model as `/model/new` takes it. */
export interface WantedModel {
  readonly id: string;
  readonly model_name: string;
  readonly litellm_params: JsonObject;
  readonly model_info: JsonObject;
}

/**
 * The `model_list` of a file as models of the database, under the ids that an instance with this file has them by: so a second run changes
 * nothing, and an instance that reads the same file has nothing twice. References to the environment stay references, except those to
 * `environment_variables` of the file itself, which no other instance has.
 */
export function modelsOfFile({ environmentVariables, models }: ConfigSource): readonly WantedModel[] {
  const taken = new Set<string>();
  return models.flatMap((entry) =>
    partsOf(entry).map(({ organization, params }) => {
      const id = freeId(modelIdOf(entry, organization, sha256Hex), taken);
      taken.add(id);
      return {
        id,
        model_name: entry.modelName,
        litellm_params: resolveOwn(params, environmentVariables) as JsonObject,
        model_info: { ...entry.modelInfo, id },
      };
    }),
  );
}

interface Part {
  readonly organization: string | null;
  readonly params: JsonObject;
}

/** Several organizations without an id are several deployments, each with an id of its own. */
function partsOf(entry: ModelEntry): readonly Part[] {
  const params = entry.writtenParams ?? entry.litellmParams;
  const organizations = organizationsOf(entry.litellmParams.organization);
  const hasId = entry.modelInfo.id !== undefined && entry.modelInfo.id !== '';
  if (hasId || !Array.isArray(entry.litellmParams.organization))
    return [{ organization: organizations[0] ?? null, params }];
  return organizations.map((organization) => ({ organization, params: { ...params, organization } }));
}

function resolveOwn(value: JsonValue, variables: ConfigSource['environmentVariables']): JsonValue {
  const name = referencedName(value);
  if (name !== null) return variables[name] ?? value;
  if (Array.isArray(value)) return value.map((item) => resolveOwn(item, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, resolveOwn(inner, variables)]));
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
