/**
 * The form of a key: `sk-c1` + 16 random bytes as 22 base64url characters + 6 characters of a check over what precedes.
 * The check authorises nothing. It tells "made by this installation, but newer than I know" (503, ask again) from noise
 * (401), without a look-up.
 */

export const GENERATED_KEY_PREFIX = 'sk-c1';
/** Random bytes in a generated key. */
export const GENERATED_KEY_BYTES = 16;

/** HMAC-SHA-256; passed in, because this folder knows no crypto. */
export type HmacSha256 = (key: Uint8Array, text: string) => Uint8Array;

export function makeGeneratedKey(random: Uint8Array, fleetKey: Uint8Array, hmac: HmacSha256): string {
  if (random.length !== GENERATED_KEY_BYTES) {
    throw new RangeError(`a generated key needs ${GENERATED_KEY_BYTES} random bytes, not ${random.length}`);
  }
  const body = GENERATED_KEY_PREFIX + base64Url(random);
  return body + check(body, fleetKey, hmac);
}

/** Has the form of a generated key; nothing is computed. */
export function looksGenerated(key: string): boolean {
  return GENERATED_KEY.test(key);
}

/** True when the key was made with this fleet key. */
export function checkGenerated(key: string, fleetKey: Uint8Array, hmac: HmacSha256): boolean {
  if (!looksGenerated(key)) return false;
  const body = key.slice(0, -CHECK_CHARS);
  return key.slice(-CHECK_CHARS) === check(body, fleetKey, hmac);
}

/** What is stored and shown instead of the key: `sk-...` and its last four characters. */
export function keyName(key: string): string {
  return `sk-...${key.slice(-4)}`;
}

/** For texts about a credential that is no key of ours: `abcd****wxyz`, and nothing of a short one. */
export function maskKey(key: string): string {
  return key.length < 12 ? '****' : `${key.slice(0, 4)}****${key.slice(-4)}`;
}

const CHECK_CHARS = 6;
const GENERATED_KEY = /^sk-c1[A-Za-z0-9_-]{28}$/;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

function check(body: string, fleetKey: Uint8Array, hmac: HmacSha256): string {
  return base64Url(hmac(fleetKey, body).subarray(0, 6)).slice(0, CHECK_CHARS);
}

/** Without padding. Written out because `Buffer` and `btoa` are not everywhere this folder runs. */
function base64Url(bytes: Uint8Array): string {
  let text = '';
  for (let index = 0; index < bytes.length; index += 3) {
    const left = bytes.length - index;
    const word = ((bytes[index] ?? 0) << 16) | ((bytes[index + 1] ?? 0) << 8) | (bytes[index + 2] ?? 0);
    text += ALPHABET.charAt((word >> 18) & 63) + ALPHABET.charAt((word >> 12) & 63);
    if (left > 1) text += ALPHABET.charAt((word >> 6) & 63);
    if (left > 2) text += ALPHABET.charAt(word & 63);
  }
  return text;
}
