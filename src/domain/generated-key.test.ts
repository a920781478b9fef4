import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkGenerated, keyName, looksGenerated, makeGeneratedKey, maskKey } from './generated-key.ts';

const hmac = (key: Uint8Array, text: string): Uint8Array => createHmac('sha256', key).update(text).digest();
const fleetKey = new Uint8Array(32).fill(7);
const random = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe('a generated key', () => {
  it('is sk-c1, the random bytes and the first six characters of the HMAC over both, in base64url', () => {
    fc.assert(
      fc.property(random, (bytes) => {
        const body = `sk-c1${Buffer.from(bytes).toString('base64url')}`;
        const check = createHmac('sha256', fleetKey).update(body).digest('base64url').slice(0, 6);
        expect(makeGeneratedKey(bytes, fleetKey, hmac)).toBe(body + check);
      }),
    );
  });

  it('passes its own check and no other fleet\u2019s', () => {
    fc.assert(
      fc.property(random, (bytes) => {
        const key = makeGeneratedKey(bytes, fleetKey, hmac);
        expect(looksGenerated(key)).toBe(true);
        expect(checkGenerated(key, fleetKey, hmac)).toBe(true);
      }),
    );
    const key = makeGeneratedKey(new Uint8Array(16), fleetKey, hmac);
    expect(checkGenerated(key, new Uint8Array(32).fill(8), hmac)).toBe(false);
  });

  it('fails the check when any character is changed', () => {
    const key = makeGeneratedKey(new Uint8Array(16).fill(200), fleetKey, hmac);
    for (let index = 5; index < key.length; index++) {
      const other = key[index] === 'A' ? 'B' : 'A';
      expect(checkGenerated(key.slice(0, index) + other + key.slice(index + 1), fleetKey, hmac)).toBe(false);
    }
  });

  it('is told from everything else by its form alone', () => {
    for (const text of [
      '',
      'sk-c1',
      'sk-1234',
      `sk-c1${'A'.repeat(27)}`,
      `sk-c1${'A'.repeat(29)}`,
      `sk-c1${'A'.repeat(27)}+`,
      `SK-c1${'A'.repeat(28)}`,
      `sk-c1${'A'.repeat(28)}\n`,
    ]) {
      expect(looksGenerated(text), text).toBe(false);
    }
  });

  it('needs sixteen bytes', () => {
    expect(() => makeGeneratedKey(new Uint8Array(15), fleetKey, hmac)).toThrow(RangeError);
  });
});

describe('what is shown of a key', () => {
  it('is four characters at most at either end', () => {
    expect(keyName('sk-c1abcdefghijklmnopWXYZ')).toBe('sk-...WXYZ');
    expect(maskKey('abcdefghijklwxyz')).toBe('abcd****wxyz');
    expect(maskKey('short-key')).toBe('****');
  });
});
