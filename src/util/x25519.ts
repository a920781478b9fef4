/** X25519 with the public half as 32 bytes in base64url. */
import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, type JsonWebKey } from 'node:crypto';

export interface AgreementPair {
  readonly publicKey: string;
  /** What only the holders of the two private halves can know. Throws when `theirs` is no public key, or one that leads to nothing secret. */
  agree(theirs: string): Buffer;
}

export const AGREEMENT_KEY = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

export function makeAgreementPair(): AgreementPair {
  const { publicKey, privateKey } = makeJwkPair();
  return {
    publicKey: publicKey.x!,
    agree(theirs) {
      if (!AGREEMENT_KEY.test(theirs)) throw new Error('this is not an X25519 public key');
      return diffieHellman({
        privateKey: createPrivateKey({ key: privateKey, format: 'jwk' }),
        publicKey: createPublicKey({ key: { ...publicKey, x: theirs }, format: 'jwk' }),
      });
    },
  };
}

/**
 * As JWK, which is read ten times quicker than DER, and while the pair is made. Exported afterwards, Node 20 may wait for itself for ever: a garbage
 * collection during the export wants the lock that the export holds.
 */
const makeJwkPair = (): { readonly publicKey: JsonWebKey; readonly privateKey: JsonWebKey } =>
  (
    generateKeyPairSync as unknown as (
      type: string,
      options: object,
    ) => { publicKey: JsonWebKey; privateKey: JsonWebKey }
  )('x25519', { publicKeyEncoding: { format: 'jwk' }, privateKeyEncoding: { format: 'jwk' } });
