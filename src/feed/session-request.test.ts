import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { INSTANCE_HEADER, TIME_HEADER } from './request-signature.ts';
import { COUNTER_HEADER, MAC_HEADER, macRequest, readMac, SESSION_HEADER, verifyMac } from './session-request.ts';

const KEYS = { requests: randomBytes(32) };
const REQUEST = { method: 'POST', path: '/feed/v1/ping', body: '{"rev":"ä"}' };
const STAMP = {
  instanceId: randomUUID(),
  sessionId: randomBytes(16).toString('base64url'),
  counter: 7,
  timeMs: 1_700_000_000_000,
};
const HEADERS = macRequest(REQUEST, STAMP, KEYS);

describe('a request of a session', () => {
  it('is good as it was made, and its body may be text or bytes', () => {
    const sent = readMac(HEADERS)!;
    expect(sent).toMatchObject(STAMP);
    expect(verifyMac(REQUEST, sent, KEYS)).toBe(true);
    expect(verifyMac({ ...REQUEST, body: Buffer.from(REQUEST.body) }, sent, KEYS)).toBe(true);
  });

  it('is refused with anything changed', () => {
    const isGood = (headers: object, request: object = {}, keys = KEYS) => {
      const sent = readMac({ ...HEADERS, ...headers });
      return sent !== null && verifyMac({ ...REQUEST, ...request }, sent, keys);
    };
    expect(isGood({})).toBe(true);
    const mac = HEADERS[MAC_HEADER]!;
    for (const headers of [
      { [INSTANCE_HEADER]: randomUUID() },
      { [TIME_HEADER]: String(STAMP.timeMs + 1) },
      { [SESSION_HEADER]: randomBytes(16).toString('base64url') },
      { [COUNTER_HEADER]: '8' },
      { [MAC_HEADER]: mac.slice(0, -1) },
      { [MAC_HEADER]: `${mac}=` },
      { [MAC_HEADER]: `${mac[0] === 'A' ? 'B' : 'A'}${mac.slice(1)}` },
      { [MAC_HEADER]: '' },
    ]) {
      expect(isGood(headers), JSON.stringify(headers)).toBe(false);
    }
    for (const request of [{ method: 'PUT' }, { path: '/feed/v1/ack' }, { body: `${REQUEST.body} ` }]) {
      expect(isGood({}, request), JSON.stringify(request)).toBe(false);
    }
    expect(isGood({}, {}, { requests: randomBytes(32) })).toBe(false);
  });

  it('has each of its headers once and in one form', () => {
    for (const name of [INSTANCE_HEADER, TIME_HEADER, SESSION_HEADER, COUNTER_HEADER, MAC_HEADER]) {
      expect(readMac({ ...HEADERS, [name]: undefined }), name).toBeNull();
      expect(readMac({ ...HEADERS, [name]: [HEADERS[name]!, HEADERS[name]!] }), name).toBeNull();
    }
    for (const counter of ['0', '-1', '1.5', '01', '1e3', '', ' 1', '9'.repeat(16)]) {
      expect(readMac({ ...HEADERS, [COUNTER_HEADER]: counter }), counter).toBeNull();
    }
  });
});
