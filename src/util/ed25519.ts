/** Ed25519 in the forms that we keep and send: public keys as SPKI, private keys as PKCS #8, both in base64; signatures in base64url. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';

export interface SigningPair {
  readonly publicKey: string;
  readonly privateKey: string;
}

export function makeSigningPair(): SigningPair {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return { publicKey: publicKey.toString('base64'), privateKey: privateKey.toString('base64') };
}

/** Throws on anything but an Ed25519 key. */
export function readPrivateKey(base64: string): KeyObject {
  return checked(createPrivateKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'pkcs8' }));
}

/** Throws on anything but an Ed25519 key. */
export function readPublicKey(base64: string): KeyObject {
  return checked(createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' }));
}

/** The public half of a private key, as `makeSigningPair` gives it. */
export function publicKeyOf(privateKey: KeyObject): string {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).toString('base64');
}

export function signText(text: string, key: KeyObject): string {
  return sign(null, Buffer.from(text), key).toString('base64url');
}

/** False for a signature that is none, too. */
export function isSignedBy(text: string, signature: string, key: KeyObject): boolean {
  return SIGNATURE.test(signature) && verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64url'));
}

/** 64 bytes. Without the check Node would read past characters that are not base64url, and one signature could be written in many ways. */
const SIGNATURE = /^[A-Za-z0-9_-]{85}[AQgw]$/;

function checked(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'ed25519') throw new Error(`expected an Ed25519 key, not ${key.asymmetricKeyType}`);
  return key;
}
