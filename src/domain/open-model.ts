import type { ModelEntry } from './config-source.ts';
import { modelSecretContext, ROOT } from './model-secrets.ts';
import { mapSealed } from './sealed-secret.ts';
import type { StoredModel } from './stored-model.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

export interface OpeningContext {
  /** Throws when the value does not open with the key of this instance. */
  readonly unseal: (sealed: string, context: string) => string;
  /** An environment variable; undefined when it is not set. */
  readonly envValue: (name: string) => string | undefined;
}

export type OpenedModel =
  | {
      readonly ok: true;
      readonly entry: ModelEntry;
      /** Finished sentences for the operator. */
      readonly warnings: readonly string[];
      /** Plain texts of what was sealed, which the log has to hide. */
      readonly secrets: readonly string[];
    }
  /** A finished sentence: the model can not be used here. */
  | { readonly ok: false; readonly problem: string };

/** A model of the database as an entry that can be compiled: secrets opened, references to the environment replaced. */
export function openModel(model: StoredModel, { unseal, envValue }: OpeningContext): OpenedModel {
  const place = `Model ${model.id} (${model.modelName}) of the database`;
  const secrets: string[] = [];
  const missing = new Set<string>();
  let params: JsonValue;
  try {
    params = mapSealed(model.litellmParams, ROOT, ({ $sealed }, path) => {
      const plain = unseal($sealed, modelSecretContext(model.id, path));
      secrets.push(plain);
      return plain;
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ok: false, problem: `${place} can not be used here: ${reason}` };
  }
  const resolve = (value: JsonValue): JsonObject => replaceReferences(value, envValue, missing) as JsonObject;
  return {
    ok: true,
    entry: {
      modelName: model.modelName,
      litellmParams: resolve(params),
      modelInfo: { ...resolve(model.modelInfo), id: model.id },
      origin: 'database',
    },
    warnings: [...missing].map((name) => `${place} refers to the environment variable ${name}, which is not set here.`),
    secrets,
  };
}

/** `os.environ/NAME`; null when it is no reference. */
export function referencedName(value: JsonValue): string | null {
  return typeof value === 'string' && value.startsWith(REFERENCE) ? value.slice(REFERENCE.length).trim() : null;
}

const REFERENCE = 'os.environ/';

/** A variable that is not set leaves the field empty, as in a file. */
function replaceReferences(value: JsonValue, envValue: OpeningContext['envValue'], missing: Set<string>): JsonValue {
  const name = referencedName(value);
  if (name !== null) {
    const found = envValue(name);
    if (found === undefined) missing.add(name);
    return found ?? null;
  }
  if (Array.isArray(value)) return value.map((item) => replaceReferences(item, envValue, missing));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([field, inner]) => [field, replaceReferences(inner, envValue, missing)]),
  );
}
