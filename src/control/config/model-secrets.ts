/**
 * Secrets inside `litellm_params`. Database, change log and feed hold them sealed, bound to model and field; answers show a few characters;
 * a reference to the environment is no secret and stays as it is.
 */
import { maskKey } from '../../domain/generated-key.ts';
import { mapModelSecrets, modelSecretContext } from '../../domain/model-secrets.ts';
import { referencedName } from '../../domain/open-model.ts';
import { isSealedSecret, type SealedSecret } from '../../domain/sealed-secret.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import { fingerprint } from '../../util/sealed-value.ts';
import { sealSecret } from './seal-secret.ts';

/**
 * The parameters as they are stored. A secret that `stored` has in the same place, given again in clear or as answers show it, stays sealed
 * as it is there, so that equal parameters are equal.
 */
export function sealModelSecrets(
  params: JsonObject,
  stored: JsonObject,
  { modelId, sealingKey }: { readonly modelId: string; readonly sealingKey: string },
): JsonObject {
  const known = sealedSecretsOf(stored);
  return mapModelSecrets(params, (value, path) => {
    if (typeof value !== 'string' || value === '' || referencedName(value) !== null) return value;
    const before = known.get(path);
    if (before !== undefined && (before.shown === value || before.fingerprint === fingerprint(value, sealingKey))) {
      return before;
    }
    return sealSecret(value, sealingKey, modelSecretContext(modelId, path));
  });
}

/** The parameters as answers show them to an admin; those of a file hold their secrets in clear. */
export function maskModelSecrets(params: JsonObject): JsonObject {
  return mapModelSecrets(params, (value) => {
    if (isSealedSecret(value)) return value.shown;
    return typeof value === 'string' && value !== '' && referencedName(value) === null ? maskKey(value) : value;
  });
}

/** The parameters without their secrets, for who may only use the model. */
export function withoutModelSecrets(params: JsonObject): JsonObject {
  return dropNulls(mapModelSecrets(params, () => null));
}

function dropNulls(params: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== null));
}

function sealedSecretsOf(params: JsonObject): ReadonlyMap<string, SealedSecret> {
  const found = new Map<string, SealedSecret>();
  mapModelSecrets(params, (value, path) => {
    if (isSealedSecret(value)) found.set(path, value);
    return value;
  });
  return found;
}
