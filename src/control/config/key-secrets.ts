/**
 * Secrets inside a key, team, user and the like: credentials of logging callbacks, of secret managers, and in per-key configuration. Database and change log hold
 * them sealed, with a fingerprint that tells whether two are equal; answers show a few characters. The plain value is in a
 * request only.
 */
import { isSealedSecret, mapSecrets, type OnSecret, type SealedSecret } from '../../domain/sealed-secret.ts';
import type { JsonObject, JsonValue, VirtualKey } from '../../domain/virtual-key.ts';
import { sealSecret } from './seal-secret.ts';

/** Where secrets may be; other fields have none. */
export interface HasSecrets {
  readonly metadata: JsonObject;
  readonly config?: JsonObject;
  readonly router_settings?: JsonValue;
}

/** The key as it is stored. What is sealed already stays as it is. */
export function sealSecrets(key: VirtualKey, sealingKey: string): VirtualKey {
  return sealSecretsOf(key, `virtual_key/${key.token}`, sealingKey);
}

/** Any object as it is stored. `place` names it, so that a sealed secret is of no use elsewhere. */
export function sealSecretsOf<T extends HasSecrets>(object: T, place: string, sealingKey: string): T {
  return mapKeySecrets(object, (value, path) => {
    if (typeof value !== 'string' || value === '' || value.startsWith('os.environ/')) return value;
    return sealSecret(value, sealingKey, `${place}/${path}`);
  });
}

/** The object as answers show it. */
export function maskSecrets<T extends HasSecrets>(object: T): T {
  return mapKeySecrets(object, (value) => (isSealedSecret(value) ? value.shown : value));
}

/**
 * An update that was put together from what an answer showed: where it holds the masked form of a stored secret, the secret stays.
 */
export function keepMaskedSecrets<T extends HasSecrets>(next: T, stored: T): T {
  const sealed = new Map<string, SealedSecret>();
  mapKeySecrets(stored, (value, path) => {
    if (isSealedSecret(value)) sealed.set(path, value);
    return value;
  });
  return mapKeySecrets(next, (value, path) => {
    const known = sealed.get(path);
    return known !== undefined && known.shown === value ? known : value;
  });
}

/** In callbacks and secret managers anything that sounds like a secret is one. */
const CALLBACK_SECRET = /key|secret|token|password|credential|authorization/i;
/** Elsewhere names may be those of models, so the whole word has to fit. */
const SETTING_SECRET = /^(.*[_-])?(api_?key|secret(_?key)?|access_?key|private_?key|password|token|credentials)$/i;

function mapKeySecrets<T extends HasSecrets>(key: T, onSecret: OnSecret): T {
  const isCallbackSecret = (name: string) => CALLBACK_SECRET.test(name);
  const isSettingSecret = (name: string) => SETTING_SECRET.test(name);
  const metadata: JsonObject = { ...key.metadata };
  for (const name of ['logging', 'secret_manager_settings']) {
    const value = metadata[name];
    if (value !== undefined) metadata[name] = mapSecrets(value, `metadata.${name}`, isCallbackSecret, onSecret);
  }
  const mapped: T = { ...key, metadata };
  for (const name of ['config', 'router_settings'] as const) {
    const value = key[name];
    if (value !== undefined) Object.assign(mapped, { [name]: mapSecrets(value, name, isSettingSecret, onSecret) });
  }
  return mapped;
}
