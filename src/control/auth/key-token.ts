import { createHash, createHmac } from 'node:crypto';
import type { KeyDigest } from '../../domain/virtual-key.ts';

/** Lower-case hex SHA-256 of the whole key, as it is stored. */
export function keyToken(key: string): KeyDigest {
  return createHash('sha256').update(key, 'utf8').digest('hex') as KeyDigest;
}

/** A key where a management route names one: the key itself or its hash. Null: neither. */
export function tokenOfArgument(argument: string): KeyDigest | null {
  if (argument.startsWith('sk-')) return keyToken(argument);
  return /^[0-9a-f]{64}$/i.test(argument) ? (argument.toLowerCase() as KeyDigest) : null;
}

export function hmacSha256(key: Uint8Array, text: string): Uint8Array {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}
