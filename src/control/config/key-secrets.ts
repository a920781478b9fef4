/**
 * Secrets inside a key: credentials of logging callbacks, of secret managers, and in per-key configuration. Database and change log hold
 * them sealed, with a fingerprint that tells whether two are equal; answers show a few characters. The plain value is in a
 * request only.
 */
import { maskKey } from '../../domain/generated-key.ts';
import type { JsonObject, JsonValue, VirtualKey } from '../../domain/virtual-key.ts';
import { fingerprint, seal } from '../../util/sealed-value.ts';

/** The key as it is stored. What is sealed already stays as it is. */
export function sealSecrets(key: VirtualKey, sealingKey: string): VirtualKey {
  return mapSecrets(key, (value, path) => {
    if (typeof value !== 'string' || value === '' || value.startsWith('os.environ/')) return value;
    return {
      [SEALED]: seal(value, sealingKey, `virtual_key/${key.token}/${path}`),
      fingerprint: fingerprint(value, sealingKey),
      shown: maskKey(value),
    };
  });
}

/** The key as answers show it. */
export function maskSecrets(key: VirtualKey): VirtualKey {
  return mapSecrets(key, (value) => (isSealed(value) ? value.shown : value));
}

/**
 * An update that was put together from what an answer showed: where it holds the masked form of a stored secret, the secret stays.
 */
export function keepMaskedSecrets(next: VirtualKey, stored: VirtualKey): VirtualKey {
  const sealed = new Map<string, SealedSecret>();
  mapSecrets(stored, (value, path) => {
    if (isSealed(value)) sealed.set(path, value);
    return value;
  });
  return mapSecrets(next, (value, path) => {
    const known = sealed.get(path);
    return known !== undefined && known.shown === value ? known : value;
  });
}

const SEALED = '$sealed';

type SealedSecret = { [SEALED]: string; fingerprint: string; shown: string };

function isSealed(value: JsonValue): value is SealedSecret {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    typeof value[SEALED] === 'string' &&
    typeof value.shown === 'string'
  );
}

/** In callbacks and secret managers anything that sounds like a secret is one. */
const CALLBACK_SECRET = /key|secret|token|password|credential|authorization/i;
/** Elsewhere names may be those of models, so the whole word has to fit. */
const SETTING_SECRET = /^(.*[_-])?(api_?key|secret(_?key)?|access_?key|private_?key|password|token|credentials)$/i;

type OnSecret = (value: JsonValue, path: string) => JsonValue;

function mapSecrets(key: VirtualKey, onSecret: OnSecret): VirtualKey {
  const metadata: JsonObject = { ...key.metadata };
  for (const name of ['logging', 'secret_manager_settings']) {
    const value = metadata[name];
    if (value !== undefined) metadata[name] = walk(value, `metadata.${name}`, CALLBACK_SECRET, onSecret);
  }
  return {
    ...key,
    metadata,
    config: walk(key.config, 'config', SETTING_SECRET, onSecret) as JsonObject,
    router_settings: walk(key.router_settings, 'router_settings', SETTING_SECRET, onSecret),
  };
}

function walk(value: JsonValue, path: string, names: RegExp, onSecret: OnSecret): JsonValue {
  if (Array.isArray(value)) return value.map((item, index) => walk(item, `${path}.${index}`, names, onSecret));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const innerPath = `${path}.${name}`;
      const isSecret = names.test(name) && (typeof inner === 'string' || isSealed(inner));
      return [name, isSecret ? onSecret(inner, innerPath) : walk(inner, innerPath, names, onSecret)];
    }),
  );
}
