import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isSignedBy, makeSigningPair, publicKeyOf, readPrivateKey, readPublicKey, signText } from './ed25519.ts';

/** RFC 8032, section 7.1, test 3; the prefix is what PKCS #8 puts before the 32 bytes. */
const SEED = 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7';
const PUBLIC = 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025';
const privateKey = Buffer.from(`302e020100300506032b657004220420${SEED}`, 'hex').toString('base64');
const publicKey = Buffer.from(`302a300506032b6570032100${PUBLIC}`, 'hex').toString('base64');

describe('Ed25519 keys', () => {
  it('are those of RFC 8032', () => {
    const key = readPrivateKey(privateKey);
    expect(publicKeyOf(key)).toBe(publicKey);
    const signature = sign(null, Buffer.from('af82', 'hex'), key).toString('hex');
    expect(signature).toBe(
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    );
  });

  it('sign, and what they signed is theirs alone', () => {
    const [own, other] = [makeSigningPair(), makeSigningPair()];
    const signature = signText('text', readPrivateKey(own.privateKey));
    expect(isSignedBy('text', signature, readPublicKey(own.publicKey))).toBe(true);
    expect(isSignedBy('texts', signature, readPublicKey(own.publicKey))).toBe(false);
    expect(isSignedBy('text', signature, readPublicKey(other.publicKey))).toBe(false);
  });

  it('a signature can be written in one way only', () => {
    const pair = makeSigningPair();
    const signature = signText('text', readPrivateKey(pair.privateKey));
    const key = readPublicKey(pair.publicKey);
    for (const changed of [
      '',
      `${signature}=`,
      ` ${signature}`,
      `${signature}A`,
      signature.slice(0, -1),
      `${signature.slice(0, -1)}B`,
    ]) {
      expect(isSignedBy('text', changed, key), changed).toBe(false);
    }
  });

  it('of another kind are refused', () => {
    const rsa = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    expect(() => readPublicKey(rsa.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'))).toThrow(
      /Ed25519/,
    );
    expect(() => readPrivateKey(rsa.privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'))).toThrow(
      /Ed25519/,
    );
    expect(() => readPublicKey('')).toThrow();
    expect(() => readPublicKey('AAAA')).toThrow();
  });
});
