import { modelSecretContext, ROOT } from '../../../domain/model-secrets.ts';
import { mapSealed } from '../../../domain/sealed-secret.ts';
import type { StoredModel } from '../../../domain/stored-model.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import type { DownFrame } from '../../../feed/protocol.ts';
import { SealedValueError, seal, unseal } from '../../../util/sealed-value.ts';

/** The models with each secret sealed by key `to` instead of `from`. Plain texts are in memory only, and only here. */
export function resealModels(models: readonly StoredModel[], from: string, to: string): StoredModel[] {
  return models.map((model) => resealModel(model, from, to));
}

/** A frame for the eyes of one instance; the same object when there is nothing in it to seal again. */
export function resealFrame(frame: DownFrame, from: string, to: string): DownFrame {
  if (frame.t === 'models') return { ...frame, models: resealModels(frame.models, from, to) };
  if (frame.t !== 'delta' || !frame.changes.some(({ kind }) => kind === 'model')) return frame;
  return {
    ...frame,
    changes: frame.changes.map((change) =>
      change.kind === 'model' && change.value !== null
        ? { ...change, value: resealModel(change.value, from, to) }
        : change,
    ),
  };
}

function resealModel(model: StoredModel, from: string, to: string): StoredModel {
  const litellmParams = mapSealed(model.litellmParams, ROOT, (secret, path) => {
    const context = modelSecretContext(model.id, path);
    try {
      return { ...secret, $sealed: seal(unseal(secret.$sealed, from, context), to, context) };
    } catch (error) {
      // Sealed with a key that is gone. It stays as it is: the worker can not use this model, says why, and serves the others.
      if (error instanceof SealedValueError) return secret;
      throw error;
    }
  });
  return { ...model, litellmParams: litellmParams as JsonObject };
}
