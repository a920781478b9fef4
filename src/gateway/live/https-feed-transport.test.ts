import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startConnectProxy } from '../../../tests/fleet/connect-proxy.ts';
import { recordingLog } from '../../../tests/support/principals.ts';
import { createCertificateAuthority } from '../../../tests/support/tls.ts';
import { NONCE_HEADER, readSignature, SIGNATURE_HEADER, verifyRequest } from '../../feed/request-signature.ts';
import type { OutboundSettings } from '../../settings/settings.ts';
import { systemClock } from '../../util/clock.ts';
import { makeSigningPair, readPrivateKey, readPublicKey, type SigningPair } from '../../util/ed25519.ts';
import { ControlPlaneClient } from './control-plane-client.ts';
import { HttpsFeedTransport } from './https-feed-transport.ts';
import { type IdentitySource, RequestSigner } from './request-signer.ts';

const INSTANCE = '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a90';

const OUTBOUND: OutboundSettings = { httpsProxy: null, httpProxy: null, noProxy: [], caFile: null, sslVerify: true };

type Answer = (request: IncomingMessage & { body: string }, response: ServerResponse) => void;

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

describe('a post', () => {
  it('is signed over what arrives', async () => {
    const pair = makeSigningPair();
    let isGood = false;
    const address = await admin((request, response) => {
      const signed = readSignature(request.headers)!;
      const { method = '', url = '', body } = request;
      isGood = verifyRequest({ method, path: url, body }, signed, readPublicKey(pair.publicKey));
      response.end('{"ok":true}');
    });
    const { transport } = rig([address], pair);
    expect(await transport.post('/feed/v1/ack', '{"rev":"ä"}', 5_000)).toEqual({ status: 200, body: '{"ok":true}' });
    expect(isGood).toBe(true);
  });

  it('is sent once more with the time of the other side, and is right from then on', async () => {
    const serverTimeMs = Date.now() - 3_600_000;
    const times: number[] = [];
    const nonces: unknown[] = [];
    const address = await admin(({ headers }, response) => {
      const { timeMs } = readSignature(headers)!;
      times.push(timeMs);
      nonces.push(headers[NONCE_HEADER]);
      const isOff = Math.abs(timeMs - serverTimeMs) > 60_000;
      const refusal = { error: 'the clock', code: 'clock', serverTimeMs, challenge: 'a-challenge-of-the-server' };
      response.writeHead(isOff ? 401 : 204).end(isOff ? JSON.stringify(refusal) : undefined);
    });
    const { lines, transport } = rig([address]);
    expect((await transport.post('/x', '', 5_000)).status).toBe(204);
    expect(nonces[1]).toBe('a-challenge-of-the-server');
    expect((await transport.post('/x', '', 5_000)).status).toBe(204);
    expect(times.map((timeMs) => Math.abs(timeMs - serverTimeMs) < 60_000)).toEqual([false, true, true]);
    expect(nonces[2]).not.toBe(nonces[1]);
    expect(lines().filter((line) => line.includes('clock of this machine'))).toHaveLength(1);
  });

  it('is not repeated for ever by a server that always finds something wrong', async () => {
    let asked = 0;
    const address = await admin((_request, response) => {
      asked += 1;
      const body = { error: 'no', code: 'clock', serverTimeMs: asked * 1e9, challenge: `challenge-number-${asked}` };
      response.writeHead(401).end(JSON.stringify(body));
    });
    const { transport } = rig([address]);
    expect(await transport.post('/x', '', 5_000)).toEqual({ status: 401, body: 'no' });
    expect(asked).toBeLessThanOrEqual(3);
  });

  it('is signed with the key that the supervisor has written meanwhile', async () => {
    const [old, next] = [makeSigningPair(), makeSigningPair()];
    const address = await admin((request, response) => {
      const { method = '', url = '', body, headers } = request;
      const isNew = verifyRequest({ method, path: url, body }, readSignature(headers)!, readPublicKey(next.publicKey));
      response.writeHead(isNew ? 204 : 401).end(isNew ? undefined : '{"error":"no","code":"bad_signature"}');
    });
    const { transport } = rig([address], old, next);
    expect((await transport.post('/x', '', 5_000)).status).toBe(204);
  });

  it('that is refused for good is said once, however often it is tried', async () => {
    const address = await admin((_request, response) => {
      response.writeHead(403).end('{"error":"This worker was revoked.","code":"revoked"}');
    });
    const { lines, transport } = rig([address]);
    for (let count = 0; count < 3; count++) expect((await transport.post('/x', '', 5_000)).status).toBe(403);
    expect(lines().filter((line) => line.includes('was revoked'))).toEqual([
      expect.stringContaining('What is known here is served on, until the fence.'),
    ]);
  });

  it('without an answer in time is given up, and so is an answer without an end', async () => {
    const silent = await admin(() => undefined);
    await expect(rig([silent]).transport.post('/x', '', 50)).rejects.toThrow(/no answer to \/x .* within 50 ms/);
    const slow = await admin((_request, response) => {
      response.write('{');
    });
    await expect(rig([slow]).transport.post('/x', '', 50)).rejects.toThrow(/within 50 ms/);
    const long = await admin((_request, response) => {
      response.end(Buffer.alloc(2 * 1024 * 1024, 'x'));
    });
    await expect(rig([long]).transport.post('/x', '', 5_000)).rejects.toThrow(/longer than/);
  });

  it('that a balancer answers is an answer like any other', async () => {
    const address = await admin((_request, response) => {
      response.writeHead(502, { 'content-type': 'text/html' }).end('<html>bad gateway</html>');
    });
    expect(await rig([address]).transport.post('/x', '', 5_000)).toEqual({ status: 502, body: '' });
  });
});

it('goes through the forward proxy, and to a private authority, as calls of providers do', async () => {
  await using authority = await createCertificateAuthority();
  const { cert, key } = await authority.serverCertificate();
  const server = createTlsServer({ cert, key }, (request, response) => {
    request.resume();
    response.end('through');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => server.close());
  await using proxy = await startConnectProxy();
  const { port } = server.address() as AddressInfo;
  const outbound = { ...OUTBOUND, httpsProxy: `http://127.0.0.1:${proxy.port}`, caFile: authority.caPath };
  const { transport } = rig([`https://localhost:${port}`], makeSigningPair(), null, outbound);
  expect((await transport.post('/x', '{}', 5_000)).body).toBe('through');
  expect(proxy.connects.map(({ target }) => target)).toEqual([`localhost:${port}`]);
  const { transport: distrusting } = rig([`https://localhost:${port}`]);
  await expect(distrusting.post('/x', '{}', 5_000)).rejects.toThrow(/certificate/);
  server.closeAllConnections();
});

describe('with several admins', () => {
  it('each attempt of a stream goes to the next one, until one takes it', async () => {
    const asked: string[] = [];
    const away = await admin((_request, response) => {
      asked.push('away');
      response.writeHead(503).end();
    });
    const good = await admin((_request, response) => {
      asked.push('good');
      response.writeHead(200).write('\n');
    });
    const { transport } = rig(['http://127.0.0.1:1', away, good]);
    const ends: string[] = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      const stream = open(transport);
      await vi.waitFor(() => expect(stream.opened || stream.ended !== null).toBe(true));
      if (stream.ended !== null) ends.push(stream.ended);
    }
    expect(ends).toEqual([expect.stringContaining('ECONNREFUSED'), expect.stringContaining('answered 503')]);
    expect(asked).toEqual(['away', 'good']);
  });

  it('posts stay with the admin that has the stream, and move on from one that is gone when there is none', async () => {
    const posts: string[] = [];
    const make = (name: string) =>
      admin((request, response) => {
        if (request.url === '/stream') {
          response.writeHead(200).write('\n');
          return;
        }
        posts.push(name);
        response.writeHead(name === 'first' ? 503 : 204).end();
      });
    const addresses = [await make('first'), await make('second')];
    const { transport } = rig(addresses);
    const stream = open(transport, '/stream');
    await vi.waitFor(() => expect(stream.opened).toBe(true));
    for (let count = 0; count < 3; count++) await transport.post('/x', '', 5_000);
    expect(posts).toEqual(['first', 'first', 'first']);

    stream.close();
    await vi.waitFor(async () => {
      await transport.post('/x', '', 5_000);
      expect(posts.at(-1)).toBe('second');
    });
  });
});

describe('a stream', () => {
  it('says how it ended, and nothing after it was closed', async () => {
    const responses: ServerResponse[] = [];
    const address = await admin((_request, response) => {
      responses.push(response);
      response.writeHead(200).write('first');
    });
    const { transport } = rig([address]);
    const [whole, cut, closed] = [open(transport), open(transport), open(transport)];
    await vi.waitFor(() => expect([whole, cut, closed].map(({ text }) => text)).toEqual(['first', 'first', 'first']));
    closed.close();
    for (const response of responses) response.write('second');
    await vi.waitFor(() => expect([whole.text, cut.text]).toEqual(['firstsecond', 'firstsecond']));
    responses[0]!.end();
    for (const response of responses.slice(1)) response.destroy();
    await vi.waitFor(() => expect([whole, cut].every(({ ended }) => ended !== null)).toBe(true));
    expect([closed.text, closed.ended]).toEqual(['first', null]);
  });

  it('is asked for with a signature, like everything else', async () => {
    const seen: unknown[] = [];
    const address = await admin(({ headers }, response) => {
      seen.push(headers[SIGNATURE_HEADER]);
      response.writeHead(200).write('\n');
    });
    const stream = open(rig([address]).transport);
    await vi.waitFor(() => expect(stream.opened).toBe(true));
    expect(seen).toEqual([expect.stringMatching(/^[\w-]{86}$/)]);
  });
});

function open(transport: HttpsFeedTransport, path = '/feed/v1/stream') {
  const state = { opened: false, text: '', ended: null as string | null, close: () => {} };
  const connection = transport.stream(path, '{}', {
    onOpen: () => {
      state.opened = true;
    },
    onData: (chunk) => {
      state.text += chunk.toString();
    },
    onEnd: (reason) => {
      state.ended = reason;
    },
  });
  state.close = () => connection.close();
  closers.push(state.close);
  return state;
}

/** `next`: what a reload of the identity finds. */
function rig(
  addresses: string[],
  pair: SigningPair = makeSigningPair(),
  next: SigningPair | null = null,
  outbound: OutboundSettings = OUTBOUND,
) {
  const { log, text } = recordingLog();
  const lines = () => text().split('\n');
  let current = pair;
  const identity: IdentitySource = {
    current: () => ({ instanceId: INSTANCE, privateKey: readPrivateKey(current.privateKey) }),
    reload() {
      if (next === null || current === next) return false;
      current = next;
      return true;
    },
  };
  const signer = new RequestSigner({ identity, clock: systemClock, log });
  const transport = new HttpsFeedTransport({ addresses, client: new ControlPlaneClient(outbound), signer, log });
  closers.push(() => transport.close());
  return { lines, transport };
}

async function admin(answer: Answer): Promise<string> {
  const server: Server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    answer(Object.assign(request, { body }), response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
