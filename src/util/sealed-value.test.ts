import { describe, expect, it } from 'vitest';
import { fingerprint, seal, sealingKeyId, unseal } from './sealed-value.ts';

const KEY = 'sk-salt-key-of-the-test';

describe('seal and unseal', () => {
  it.each(['', 'x', 'sk-провайдер-🔑', 'y'.repeat(10_000)])('gives back what was sealed', (plain) => {
    expect(unseal(seal(plain, KEY, 'models.api_key'), KEY, 'models.api_key')).toBe(plain);
  });

  it('carries version and key id and never the secret', () => {
    const sealed = seal('provider-secret', KEY, 'c');
    expect(sealed).toMatch(/^c1:[0-9a-f]{8}:[A-Za-z0-9_-]+$/);
    expect(sealed.split(':')[1]).toBe(sealingKeyId(KEY));
    expect(Buffer.from(sealed.split(':')[2]!, 'base64url').includes('provider-secret')).toBe(false);
  });

  it('is different each time', () => {
    expect(seal('a', KEY, 'c')).not.toBe(seal('a', KEY, 'c'));
  });

  it('names both key ids and LITELLM_SALT_KEY, and no key, when the key is another one', () => {
    const sealed = seal('secret', KEY, 'c');
    const attempt = (): string => unseal(sealed, 'another-key-material', 'c');
    expect(attempt).toThrow(sealingKeyId(KEY));
    expect(attempt).toThrow(sealingKeyId('another-key-material'));
    expect(attempt).toThrow('LITELLM_SALT_KEY');
    expect(attempt).not.toThrow(KEY);
    expect(attempt).not.toThrow('another-key-material');
  });

  it('does not open a value that was copied to another place', () => {
    expect(() => unseal(seal('secret', KEY, 'key:1'), KEY, 'key:2')).toThrow(/moved here/);
  });

  it('refuses each single changed byte', () => {
    const [version, id, body] = seal('secret', KEY, 'c').split(':') as [string, string, string];
    const bytes = Buffer.from(body, 'base64url');
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      expect(() => unseal(`${version}:${id}:${changed.toString('base64url')}`, KEY, 'c')).toThrow(/does not open/);
    }
  });

  it.each(['', 'plain', 'c1:', 'c2:00000000:AAAA', `c1:${sealingKeyId(KEY)}:AAAA`])('calls %j damaged', (text) => {
    expect(() => unseal(text, KEY, 'c')).toThrow(/damaged/);
  });

  it('refuses an empty key', () => {
    expect(() => seal('a', '', 'c')).toThrow(/LITELLM_SALT_KEY/);
  });
});

describe('fingerprint', () => {
  it('is equal for equal secrets under one key only', () => {
    expect(fingerprint('a', KEY)).toBe(fingerprint('a', KEY));
    expect(fingerprint('a', KEY)).toMatch(/^[0-9a-f]{32}$/);
    expect(fingerprint('a', KEY)).not.toBe(fingerprint('b', KEY));
    expect(fingerprint('a', KEY)).not.toBe(fingerprint('a', 'other-key'));
  });
});
