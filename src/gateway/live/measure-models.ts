import { hash } from 'node:crypto';
import { canonicalJson } from '../../domain/json-fields.ts';
import { mapSealed } from '../../domain/sealed-secret.ts';
import { DATABASE_MODELS_MAX, STORED_MODEL_BYTES_MAX, type StoredModel } from '../../domain/stored-model.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';

/** The same for the same models, in whatever order, and whichever way their secrets are sealed. */
export function modelsHash(models: readonly StoredModel[]): string {
  const digests = models.map((model) => measured(model).digest).sort();
  return hash('sha256', digests.join('\n'), 'hex');
}

export const EMPTY_MODELS_HASH = hash('sha256', '', 'hex');

/** Throws when the control plane sent what it should have refused. */
export function refuseTooMuch(models: readonly StoredModel[]): void {
  if (models.length > DATABASE_MODELS_MAX) {
    throw new Error(`There are ${models.length} models in the database; ${DATABASE_MODELS_MAX} are the most.`);
  }
  for (const model of models) {
    const { bytes } = measured(model);
    if (bytes > STORED_MODEL_BYTES_MAX) {
      throw new Error(`Model ${model.id} of the database is ${bytes} bytes; ${STORED_MODEL_BYTES_MAX} are the most.`);
    }
  }
}

interface Measures {
  readonly digest: string;
  readonly bytes: number;
}

/** Each model once: the objects stay the same until they change. */
const MEASURED = new WeakMap<StoredModel, Measures>();

function measured(model: StoredModel): Measures {
  let measures = MEASURED.get(model);
  if (measures === undefined) {
    const digest = hash('sha256', canonicalJson(contentOf(model)), 'hex');
    measures = { digest, bytes: Buffer.byteLength(JSON.stringify(model)) };
    MEASURED.set(model, measures);
  }
  return measures;
}

function contentOf({ id, litellmParams, modelInfo, modelName }: StoredModel): JsonValue {
  const params = mapSealed(litellmParams, '', ({ fingerprint }) => fingerprint);
  return { id, modelName, litellmParams: params, modelInfo };
}
