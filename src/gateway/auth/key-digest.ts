import * as crypto from 'node:crypto';
import type { KeyDigest } from '../../domain/virtual-key.ts';

/** Lower-case hex SHA-256 of the whole key, as it is stored. The one-shot form costs half of `createHash`. */
export function keyDigest(key: string): KeyDigest {
  return crypto.hash('sha256', key, 'hex') as KeyDigest;
}

export function hmacSha256(key: Uint8Array, text: string): Uint8Array {
  return crypto.createHmac('sha256', key).update(text).digest();
}
