import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeSigningPair, readPrivateKey, readPublicKey } from '../util/ed25519.ts';
import {
  INSTANCE_HEADER,
  NONCE_HEADER,
  type RequestStamp,
  readSignature,
  requestText,
  SIGNATURE_HEADER,
  type SignedRequest,
  signRequest,
  TIME_HEADER,
  verifyRequest,
} from './request-signature.ts';

const request: SignedRequest = { method: 'POST', path: '/feed/v1/ack', body: '{"rev":7}' };
const stamp: RequestStamp = {
  instanceId: '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a90',
  timeMs: 1_767_225_600_000,
  nonce: 'AAAAAAAAAAAAAAAAAAAAAA',
};
const pair = makeSigningPair();
const privateKey = readPrivateKey(pair.privateKey);
const publicKey = readPublicKey(pair.publicKey);

describe('a signed request', () => {
  it('has the text and the signature of the specification', () => {
    expect(requestText(request, stamp)).toBe(
      [
        'claviger-request-1',
        'POST',
        '/feed/v1/ack',
        '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a90',
        '1767225600000',
        'AAAAAAAAAAAAAAAAAAAAAA',
        // sha256sum of the body
        '3eda2ef0ff2b0562426a225b0297e9449aa93cc30092867a52f79cb5062e29ad',
      ].join('\n'),
    );
    // The key of RFC 8032, section 7.1, test 3.
    const seed = 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7';
    const known = readPrivateKey(Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex').toString('base64'));
    expect(signRequest(request, stamp, known)).toEqual({
      [INSTANCE_HEADER]: '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a90',
      [TIME_HEADER]: '1767225600000',
      [NONCE_HEADER]: 'AAAAAAAAAAAAAAAAAAAAAA',
      [SIGNATURE_HEADER]: 'rh2l8vD9jAKWa3NyltRe3b5hTJccQIxeX-6dpJfX73DHITCr6FWO9h6Yb4fSebNDcvYSmwJWiaXGeVX348gDCw',
    });
  });

  it('is read back and verified, whatever the body holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        const signed = readSignature(signRequest({ ...request, body }, stamp, privateKey));
        return signed !== null && verifyRequest({ ...request, body }, signed, publicKey);
      }),
      { numRuns: 50 },
    );
  });

  it('is refused with anything changed', () => {
    const signed = readSignature(signRequest(request, stamp, privateKey))!;
    expect(verifyRequest(request, signed, publicKey)).toBe(true);
    for (const changed of [
      { method: 'PUT' },
      { path: '/feed/v1/usage' },
      { body: '{"rev":8}' },
      { body: '{"rev":7} ' },
      { body: '' },
    ]) {
      expect(verifyRequest({ ...request, ...changed }, signed, publicKey), JSON.stringify(changed)).toBe(false);
    }
    for (const changed of [
      { instanceId: '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a91' },
      { timeMs: stamp.timeMs + 1 },
      { nonce: 'AAAAAAAAAAAAAAAAAAAAAB' },
      { signature: `${signed.signature.startsWith('A') ? 'B' : 'A'}${signed.signature.slice(1)}` },
    ]) {
      expect(verifyRequest(request, { ...signed, ...changed }, publicKey), JSON.stringify(changed)).toBe(false);
    }
    expect(verifyRequest(request, signed, readPublicKey(makeSigningPair().publicKey))).toBe(false);
  });

  it('is not read from headers that are missing, double or not of their form', () => {
    const headers = signRequest(request, stamp, privateKey);
    expect(readSignature(headers)).not.toBeNull();
    for (const name of [INSTANCE_HEADER, TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER]) {
      expect(readSignature({ ...headers, [name]: undefined }), name).toBeNull();
      expect(readSignature({ ...headers, [name]: [headers[name]!, headers[name]!] }), name).toBeNull();
    }
    for (const [name, value] of [
      [INSTANCE_HEADER, 'instance'],
      [INSTANCE_HEADER, `${stamp.instanceId}\n`],
      [TIME_HEADER, '-1'],
      [TIME_HEADER, '1e3'],
      [TIME_HEADER, '1'.repeat(16)],
      [NONCE_HEADER, 'short'],
      [NONCE_HEADER, 'with\nnewline in it'],
      [NONCE_HEADER, 'n'.repeat(81)],
    ] as const) {
      expect(readSignature({ ...headers, [name]: value }), `${name}: ${value}`).toBeNull();
    }
  });
});
