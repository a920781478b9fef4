/**
 * How a joined worker signs what it asks of the control plane, and how that is read. Text and order of the checks:
 * docs/specs/joining.md. Time, nonces and who is enrolled are not judged here.
 */
import { createHash, type KeyObject } from 'node:crypto';
import { isSignedBy, signText } from '../util/ed25519.ts';

export const INSTANCE_HEADER = 'x-claviger-instance';
export const TIME_HEADER = 'x-claviger-time';
export const NONCE_HEADER = 'x-claviger-nonce';
export const SIGNATURE_HEADER = 'x-claviger-signature';

/** How far the time of a request may be from the time of who verifies it. */
export const SIGNATURE_WINDOW_MS = 5 * 60_000;

export interface SignedRequest {
  readonly method: string;
  /** Below the root path, without query: `/feed/v1/ack`. */
  readonly path: string;
  readonly body: string | Uint8Array;
}

/** Who says when it was sent, and something that makes it different from every other request. */
export interface RequestStamp {
  readonly instanceId: string;
  readonly timeMs: number;
  readonly nonce: string;
}

export interface RequestSignature extends RequestStamp {
  readonly signature: string;
}

export function signRequest(request: SignedRequest, stamp: RequestStamp, key: KeyObject): Record<string, string> {
  return {
    [INSTANCE_HEADER]: stamp.instanceId,
    [TIME_HEADER]: String(stamp.timeMs),
    [NONCE_HEADER]: stamp.nonce,
    [SIGNATURE_HEADER]: signText(requestText(request, stamp), key),
  };
}

/** The four headers, or null when one is missing, double, or not of its form. */
export function readSignature(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): RequestSignature | null {
  const instanceId = headers[INSTANCE_HEADER];
  const time = headers[TIME_HEADER];
  const nonce = headers[NONCE_HEADER];
  const signature = headers[SIGNATURE_HEADER];
  if (typeof instanceId !== 'string' || !INSTANCE.test(instanceId)) return null;
  if (typeof time !== 'string' || !TIME.test(time)) return null;
  if (typeof nonce !== 'string' || !NONCE.test(nonce)) return null;
  if (typeof signature !== 'string') return null;
  return { instanceId, timeMs: Number(time), nonce, signature };
}

export function verifyRequest(request: SignedRequest, signed: RequestSignature, key: KeyObject): boolean {
  return isSignedBy(requestText(request, signed), signed.signature, key);
}

/** None of the parts can hold a newline, so no two requests have the same text. */
export function requestText(
  { method, path, body }: SignedRequest,
  { instanceId, timeMs, nonce }: RequestStamp,
): string {
  const bodyDigest = createHash('sha256').update(body).digest('hex');
  return ['claviger-request-1', method, path, instanceId, timeMs, nonce, bodyDigest].join('\n');
}

export const INSTANCE = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const TIME = /^\d{1,15}$/;
/** Ours has 22 characters, a challenge about 60. */
const NONCE = /^[A-Za-z0-9_.-]{16,80}$/;
