/**
 * Secrets at rest. A sealed value is text:
 *
 *   c1:<key id>:<base64url of nonce (12 bytes), ciphertext, tag (16 bytes)>
 *
 * AES-256-GCM with a key derived from the operator's key material (HKDF-SHA256). The key id is 8 hex digits derived from the
 * same material; it says which key opens the value, so that values under an old and a new key can live side by side. The
 * context ("which column of which row") is authenticated but not stored: a value copied elsewhere does not open.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';

export class SealedValueError extends Error {
  override name = 'SealedValueError';
}

export function seal(plain: string, keyMaterial: string, context: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', derive(keyMaterial, 'seal', 32), nonce);
  cipher.setAAD(Buffer.from(context, 'utf8'));
  const body = Buffer.concat([nonce, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `${VERSION}:${sealingKeyId(keyMaterial)}:${body.toString('base64url')}`;
}

/** Throws `SealedValueError` on another key, another context, or a damaged value. */
export function unseal(sealed: string, keyMaterial: string, context: string): string {
  const parts = SEALED.exec(sealed);
  if (parts === null) {
    throw new SealedValueError(
      `The stored secret "${context}" is damaged: it does not have the form ${VERSION}:<key id>:<data>.`,
    );
  }
  const keyId = parts[1]!;
  const ownKeyId = sealingKeyId(keyMaterial);
  if (keyId !== ownKeyId) {
    throw new SealedValueError(
      `The stored secret "${context}" was sealed with key ${keyId}, but this instance has key ${ownKeyId}. ` +
        'Set LITELLM_SALT_KEY to the value it had when the secret was stored (without one, LITELLM_MASTER_KEY is the sealing key).',
    );
  }
  const body = Buffer.from(parts[2]!, 'base64url');
  if (body.length < NONCE_BYTES + TAG_BYTES) {
    throw new SealedValueError(`The stored secret "${context}" is damaged: it is too short.`);
  }
  const decipher = createDecipheriv('aes-256-gcm', derive(keyMaterial, 'seal', 32), body.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(Buffer.from(context, 'utf8'));
  decipher.setAuthTag(body.subarray(body.length - TAG_BYTES));
  try {
    const plain = decipher.update(body.subarray(NONCE_BYTES, body.length - TAG_BYTES));
    return Buffer.concat([plain, decipher.final()]).toString('utf8');
  } catch {
    throw new SealedValueError(
      `The stored secret "${context}" does not open with key ${keyId}: it was damaged, or moved here from another place.`,
    );
  }
}

/** 32 hex digits that are equal for equal secrets under one key and say nothing about the secret without it. */
export function fingerprint(plain: string, keyMaterial: string): string {
  return createHmac('sha256', derive(keyMaterial, 'fingerprint', 32))
    .update(plain, 'utf8')
    .digest('hex')
    .slice(0, 32);
}

/** The 8 hex digits that name key material in sealed values, errors and logs. */
export function sealingKeyId(keyMaterial: string): string {
  return derive(keyMaterial, 'key id', 4).toString('hex');
}

const VERSION = 'c1';
const SEALED = /^c1:([0-9a-f]{8}):([A-Za-z0-9_-]+)$/;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

function derive(keyMaterial: string, purpose: string, bytes: number): Buffer {
  if (keyMaterial === '') throw new SealedValueError('There is no key to seal secrets with. Set LITELLM_SALT_KEY.');
  const name = `${purpose}\n${keyMaterial}`;
  let key = DERIVED.get(name);
  if (key === undefined) {
    key = Buffer.from(hkdfSync('sha256', keyMaterial, 'claviger', purpose, bytes));
    if (DERIVED.size >= DERIVED_KEYS_MAX) DERIVED.clear();
    DERIVED.set(name, key);
  }
  return key;
}

/** Deriving a key takes longer than opening a value with it, and models come by the thousand. At the bound all are derived again. */
const DERIVED_KEYS_MAX = 1_000;
const DERIVED = new Map<string, Buffer>();
