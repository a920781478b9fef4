import { describe, expect, it } from 'vitest';
import { AGREEMENT_KEY, makeAgreementPair } from './x25519.ts';

describe('a pair', () => {
  it('comes to the same secret as the other one, and to no other', () => {
    const [a, b, c] = [makeAgreementPair(), makeAgreementPair(), makeAgreementPair()];
    for (const { publicKey } of [a, b, c]) expect(publicKey).toMatch(AGREEMENT_KEY);
    expect(a.agree(b.publicKey)).toEqual(b.agree(a.publicKey));
    expect(a.agree(b.publicKey)).not.toEqual(a.agree(c.publicKey));
  });

  it('agrees on nothing with what is no key, or leads to what everybody knows', () => {
    const { agree } = makeAgreementPair();
    const lowOrder = [Buffer.alloc(32), Buffer.from([1, ...Buffer.alloc(31)])].map((bytes) =>
      bytes.toString('base64url'),
    );
    for (const key of ['', 'x', `${makeAgreementPair().publicKey}A`, ...lowOrder])
      expect(() => agree(key), key).toThrow();
  });
});
