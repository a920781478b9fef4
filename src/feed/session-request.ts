/**
 * How pings and acknowledgements of a session prove who sent them, and how that is read. Text and order of the checks:
 * docs/specs/joining.md. Time, counters and which sessions there are is not judged here.
 */
import { createHash, createHmac } from 'node:crypto';
import { isSameText } from '../util/same-text.ts';
import { INSTANCE, INSTANCE_HEADER, type SignedRequest, TIME, TIME_HEADER } from './request-signature.ts';
import { SESSION_ID, type SessionKeys } from './session-keys.ts';

export const SESSION_HEADER = 'x-claviger-session';
export const COUNTER_HEADER = 'x-claviger-counter';
export const MAC_HEADER = 'x-claviger-mac';

/** What is asked often, and of the admin that has the stream. Everything else is signed. */
export const SESSION_PATHS: ReadonlySet<string> = new Set(['/feed/v1/ping', '/feed/v1/ack']);

export interface SessionStamp {
  readonly instanceId: string;
  readonly sessionId: string;
  /** From 1, one more for each request of the session. */
  readonly counter: number;
  readonly timeMs: number;
}

export interface RequestMac extends SessionStamp {
  readonly mac: string;
}

export function macRequest(
  request: SignedRequest,
  stamp: SessionStamp,
  { requests }: Pick<SessionKeys, 'requests'>,
): Record<string, string> {
  return {
    [INSTANCE_HEADER]: stamp.instanceId,
    [TIME_HEADER]: String(stamp.timeMs),
    [SESSION_HEADER]: stamp.sessionId,
    [COUNTER_HEADER]: String(stamp.counter),
    [MAC_HEADER]: macOf(request, stamp, requests),
  };
}

/** The five headers, or null when one is missing, double, or not of its form. */
export function readMac(headers: Readonly<Record<string, string | string[] | undefined>>): RequestMac | null {
  const instanceId = headers[INSTANCE_HEADER];
  const time = headers[TIME_HEADER];
  const sessionId = headers[SESSION_HEADER];
  const counter = headers[COUNTER_HEADER];
  const mac = headers[MAC_HEADER];
  if (typeof instanceId !== 'string' || !INSTANCE.test(instanceId)) return null;
  if (typeof time !== 'string' || !TIME.test(time)) return null;
  if (typeof sessionId !== 'string' || !SESSION_ID.test(sessionId)) return null;
  if (typeof counter !== 'string' || !COUNTER.test(counter)) return null;
  if (typeof mac !== 'string') return null;
  return { instanceId, timeMs: Number(time), sessionId, counter: Number(counter), mac };
}

export function verifyMac(request: SignedRequest, sent: RequestMac, { requests }: Pick<SessionKeys, 'requests'>) {
  return isSameText(sent.mac, macOf(request, sent, requests));
}

/** Below 2^53, and written in one way. */
const COUNTER = /^[1-9]\d{0,14}$/;

/** None of the parts can hold a newline, so no two requests have the same text. */
function macOf({ method, path, body }: SignedRequest, stamp: SessionStamp, key: Buffer): string {
  const { instanceId, sessionId, counter, timeMs } = stamp;
  const bodyDigest = createHash('sha256').update(body).digest('hex');
  const text = `claviger-session-request-1\n${method}\n${path}\n${instanceId}\n${sessionId}\n${counter}\n${timeMs}\n${bodyDigest}`;
  return createHmac('sha256', key).update(text).digest('base64url');
}
