import { randomBytes } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { NONCE_HEADER, readSignature } from '../../feed/request-signature.ts';
import type { SessionKeys } from '../../feed/session-keys.ts';
import { readMac, verifyMac } from '../../feed/session-request.ts';
import { systemClock } from '../../util/clock.ts';
import { makeSigningPair, readPrivateKey } from '../../util/ed25519.ts';
import { ControlPlaneClient } from './control-plane-client.ts';
import { HttpsFeedTransport } from './https-feed-transport.ts';
import { RequestSigner, SESSION_REFUSALS_MAX } from './request-signer.ts';

const INSTANCE = '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a90';
const OUTBOUND = { httpsProxy: null, httpProxy: null, noProxy: [], caFile: null, sslVerify: true };
const PING = '/feed/v1/ping';

interface Seen {
  readonly path: string;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
  readonly kind: 'mac' | 'signature' | 'neither';
}
type Answer = readonly [status: number, body: object];

let seen: Seen[];
let answer: (request: Seen, count: number) => Answer;
let rig: Awaited<ReturnType<typeof start>>;
beforeEach(async () => {
  seen = [];
  answer = () => [200, { ok: true }];
  rig = await start();
});
afterEach(() => rig.close());

describe('pings and acknowledgements', () => {
  it('have a MAC while there is a session, with a counter of their own each, and everything else is signed', async () => {
    await rig.post(PING);
    const keys = makeKeys();
    const end = rig.signer.useSession(keys);
    for (const path of [PING, '/feed/v1/ack', '/feed/v1/usage', '/feed/v1/denials', '/feed/v1/renew', PING]) {
      await rig.post(path);
    }
    end();
    await rig.post(PING);
    expect(kinds()).toEqual(['signature', 'mac', 'mac', 'signature', 'signature', 'signature', 'mac', 'signature']);
    const sent = seen.filter(({ kind }) => kind === 'mac');
    expect(sent.map(({ headers }) => readMac(headers)?.counter)).toEqual([1, 2, 3]);
    for (const { path, body, headers } of sent) {
      expect(verifyMac({ method: 'POST', path, body }, readMac(headers)!, keys)).toBe(true);
    }
  });

  it('belong to the newest stream: the end of an older one ends nothing', async () => {
    const endOld = rig.signer.useSession(makeKeys());
    const keys = makeKeys();
    rig.signer.useSession(keys);
    endOld();
    await rig.post(PING);
    expect(readMac(seen[0]!.headers)).toMatchObject({ sessionId: keys.id, counter: 1 });
  });
});

describe('a worker', () => {
  it.each(['unknown_session', 'bad_mac'])(
    'signs a request again whose session is not known there, and goes on with the session (%s)',
    async (code) => {
      rig.signer.useSession(makeKeys());
      let isElsewhere = true;
      answer = ({ kind }) => (kind === 'mac' && isElsewhere ? [401, { error: 'no', code }] : [200, { ok: true }]);
      expect(await rig.post(PING)).toEqual({ status: 200, body: '{"ok":true}' });
      expect(kinds()).toEqual(['mac', 'signature']);
      expect(seen[1]!.body).toBe(seen[0]!.body);
      isElsewhere = false;
      expect((await rig.post(PING)).status).toBe(200);
      expect(kinds()).toEqual(['mac', 'signature', 'mac']);
    },
  );

  it('signs everything after three refusals in a row, until the next stream', async () => {
    rig.signer.useSession(makeKeys());
    let isElsewhere = true;
    answer = ({ kind }) =>
      kind === 'mac' && isElsewhere ? [401, { error: 'no', code: 'unknown_session' }] : [200, { ok: true }];
    await rig.post(PING);
    await rig.post(PING);
    // In a row: one that is taken begins the count anew.
    isElsewhere = false;
    await rig.post(PING);
    isElsewhere = true;
    seen.length = 0;
    for (let count = 0; count < 6; count++) expect((await rig.post(PING)).status).toBe(200);
    expect(kinds().filter((kind) => kind === 'mac')).toHaveLength(SESSION_REFUSALS_MAX);
    expect(kinds().filter((kind) => kind === 'signature')).toHaveLength(6);
    rig.signer.useSession(makeKeys());
    isElsewhere = false;
    seen.length = 0;
    await rig.post(PING);
    expect(kinds()).toEqual(['mac']);
  });

  it('whose clock jumped under a session signs with the time of the other side, and has a MAC again', async () => {
    const serverTimeMs = Date.now() + 3_600_000;
    rig.signer.useSession(makeKeys());
    answer = ({ headers }) => {
      const { timeMs } = readMac(headers) ?? readSignature(headers)!;
      return Math.abs(timeMs - serverTimeMs) < 60_000
        ? [200, { ok: true }]
        : [401, { error: 'no', code: 'clock', serverTimeMs, challenge: 'a-challenge-of-the-server' }];
    };
    expect((await rig.post(PING)).status).toBe(200);
    expect(seen[1]!.headers[NONCE_HEADER]).toBe('a-challenge-of-the-server');
    expect((await rig.post(PING)).status).toBe(200);
    expect(kinds()).toEqual(['mac', 'signature', 'mac']);
  });

  it('is not repeated for ever by a server that refuses everything', async () => {
    for (const code of ['unknown_session', 'bad_mac', 'clock']) {
      rig.signer.useSession(makeKeys());
      seen.length = 0;
      answer = (_request, count) => [
        401,
        { error: 'no', code, serverTimeMs: count * 1e9, challenge: `challenge-${count}-xxxxx` },
      ];
      expect((await rig.post(PING)).status).toBe(401);
      expect(seen.length, code).toBeLessThanOrEqual(4);
      expect(kinds().filter((kind) => kind === 'mac')).toHaveLength(1);
    }
  });

  it('takes being revoked, and a replay, as they are', async () => {
    for (const [status, code] of [
      [403, 'revoked'],
      [401, 'replayed'],
    ] as const) {
      rig.signer.useSession(makeKeys());
      seen.length = 0;
      answer = () => [status, { error: 'no', code }];
      expect((await rig.post(PING)).status).toBe(status);
      expect(kinds()).toEqual(['mac']);
    }
  });
});

function kinds(): string[] {
  return seen.map(({ kind }) => kind);
}

function makeKeys(): SessionKeys {
  return { id: randomBytes(16).toString('base64url'), requests: randomBytes(32), lines: randomBytes(32) };
}

async function start() {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { headers, url = '' } = request;
    const kind = readMac(headers) !== null ? 'mac' : readSignature(headers) !== null ? 'signature' : 'neither';
    const one: Seen = { path: url, body, headers, kind };
    seen.push(one);
    const [status, said] = answer(one, seen.length);
    response.writeHead(status).end(JSON.stringify(said));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const privateKey = readPrivateKey(makeSigningPair().privateKey);
  const identity = { current: () => ({ instanceId: INSTANCE, privateKey }), reload: () => false };
  const signer = new RequestSigner({ identity, clock: systemClock, log: silentLog });
  const transport = new HttpsFeedTransport({
    addresses: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`],
    client: new ControlPlaneClient(OUTBOUND),
    signer,
    log: silentLog,
  });
  return {
    signer,
    post: (path: string) => transport.post(path, '{"rev":1}', 5_000),
    close() {
      transport.close();
      server.close();
      server.closeAllConnections();
    },
  };
}
