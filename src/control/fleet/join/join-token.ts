import { createHash, randomBytes } from 'node:crypto';

/** 256 random bits. */
export function makeJoinToken(): string {
  return `cjt-${randomBytes(32).toString('base64url')}`;
}

/** As it is stored. */
export function joinTokenHash(token: string): string {
  return createHash('sha256').update(token, 'utf8').digest('hex');
}
