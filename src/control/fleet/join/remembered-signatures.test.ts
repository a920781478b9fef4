import { describe, expect, it } from 'vitest';
import { isSignedBy, makeSigningPair, readPrivateKey, readPublicKey, signText } from '../../../util/ed25519.ts';
import { RememberedSignatures } from './remembered-signatures.ts';

const pair = makeSigningPair();

describe('what was signed last', () => {
  it('is not signed again for the next worker, and every text has its own signature', () => {
    let signed = 0;
    const signatures = new RememberedSignatures(readPrivateKey(pair.privateKey), (text, key) => {
      signed += 1;
      return signText(text, key);
    });
    const publicKey = readPublicKey(pair.publicKey);
    for (let worker = 0; worker < 100; worker++) {
      for (const text of ['a', 'b']) expect(isSignedBy(text, signatures.sign(text), publicKey)).toBe(true);
    }
    expect(signed).toBe(2);
  });

  it('is forgotten in time, and what is long at once', () => {
    const signedTexts: string[] = [];
    const signatures = new RememberedSignatures(readPrivateKey(pair.privateKey), (text) => {
      signedTexts.push(text.slice(0, 10));
      return text;
    });
    signatures.sign('first');
    for (let count = 0; count < 100; count++) signatures.sign(`text ${count}`);
    signatures.sign('text 99');
    signatures.sign('first');
    expect(signedTexts.filter((text) => text === 'text 99')).toHaveLength(1);
    expect(signedTexts.filter((text) => text === 'first')).toHaveLength(2);
    const long = 'x'.repeat(100_000);
    signatures.sign(long);
    signatures.sign(long);
    expect(signedTexts.filter((text) => text.startsWith('x'))).toHaveLength(2);
  });
});
