import type { JsonObject, JsonValue } from './virtual-key.ts';

/** Stands in JSON where a secret was. Database, change log, feed and disk of a worker hold this, never the text. */
export type SealedSecret = {
  /** `util/sealed-value.ts`. */
  readonly $sealed: string;
  /** Equal for equal secrets under one sealing key. */
  readonly fingerprint: string;
  /** What answers show. */
  readonly shown: string;
};

export function isSealedSecret(value: JsonValue): value is SealedSecret {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    typeof value.$sealed === 'string' &&
    typeof value.shown === 'string'
  );
}

/** `path` is that of the secret, dotted. */
export type OnSecret = (value: JsonValue, path: string) => JsonValue;

/** The value with each secret replaced: every text, or sealed text, whose name says that it is one. */
export function mapSecrets(
  value: JsonValue,
  path: string,
  isSecret: (name: string, path: string) => boolean,
  onSecret: OnSecret,
): JsonValue {
  if (Array.isArray(value)) {
    return value.map((item, index) => mapSecrets(item, `${path}.${index}`, isSecret, onSecret));
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const innerPath = `${path}.${name}`;
      const found = (typeof inner === 'string' || isSealedSecret(inner)) && isSecret(name, innerPath);
      return [name, found ? onSecret(inner, innerPath) : mapSecrets(inner, innerPath, isSecret, onSecret)];
    }),
  );
}

/** Each sealed secret, wherever it is, replaced. */
export function mapSealed(
  value: JsonValue,
  path: string,
  onSealed: (secret: SealedSecret, path: string) => JsonValue,
): JsonValue {
  if (Array.isArray(value)) return value.map((item, index) => mapSealed(item, `${path}.${index}`, onSealed));
  if (typeof value !== 'object' || value === null) return value;
  if (isSealedSecret(value)) return onSealed(value, path);
  const mapped: JsonObject = {};
  for (const [name, inner] of Object.entries(value)) mapped[name] = mapSealed(inner, `${path}.${name}`, onSealed);
  return mapped;
}
