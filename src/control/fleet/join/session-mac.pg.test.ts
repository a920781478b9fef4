import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { FeedProbe } from '../../../../tests/support/feed-probe.ts';
import { statsOf } from '../../../../tests/support/fleet-probe.ts';
import { silentLog } from '../../../../tests/support/silent-log.ts';
import { startControlPlane, type TestControlPlane } from '../../../../tests/support/test-control-plane.ts';
import { DownFrameDecoder, FEED_LINE_BYTES_MAX, parsePingReply } from '../../../feed/codec.ts';
import { type JoinAnswer, parseJoinAnswer } from '../../../feed/join.ts';
import { type DownFrame, FEED_PROTOCOL } from '../../../feed/protocol.ts';
import { SIGNATURE_HEADER, SIGNATURE_WINDOW_MS } from '../../../feed/request-signature.ts';
import type { SessionKeys } from '../../../feed/session-keys.ts';
import { MAC_HEADER, macRequest, SESSION_HEADER } from '../../../feed/session-request.ts';
import { ControlPlaneClient } from '../../../gateway/live/control-plane-client.ts';
import { HttpsFeedTransport } from '../../../gateway/live/https-feed-transport.ts';
import { RequestSigner } from '../../../gateway/live/request-signer.ts';
import { SessionLines } from '../../../gateway/live/session-lines.ts';
import { systemClock } from '../../../util/clock.ts';
import { makeSigningPair, readPrivateKey, readPublicKey } from '../../../util/ed25519.ts';
import { COUNTER_WINDOW } from './counter-window.ts';
import { ENROLMENT_REFRESH_MS } from './enrolled-instances.ts';

const OUTBOUND = { httpsProxy: null, httpProxy: null, noProxy: [], caFile: null, sslVerify: true };
const PING = '/feed/v1/ping';

let control: TestControlPlane;
let other: TestControlPlane;
let server: Server;
let otherServer: Server;
/** Headers of what came in at either, by path. */
const requests: { readonly path: string; readonly isOther: boolean; readonly kind: 'mac' | 'signature' }[] = [];
const closers: (() => void)[] = [];

beforeAll(async () => {
  control = await startControlPlane();
  other = await startControlPlane({ database: control.database, instanceId: 'other-instance' });
  [server, otherServer] = await Promise.all([serve(control, false), serve(other, true)]);
});
afterEach(() => {
  for (const close of closers.splice(0)) close();
  requests.length = 0;
});
afterAll(async () => {
  for (const each of [server, otherServer]) {
    each?.close();
    each?.closeAllConnections();
  }
  await other?.stop();
  await control?.stop();
});

describe('a joined worker', () => {
  it('has a session with each stream: lines with MACs down, pings and acknowledgements with MACs up', async () => {
    const worker = await joined();
    const stream = await connected(worker);
    const { json } = await control.call('POST', '/key/generate', { body: {} });
    await control.call('POST', '/key/block', { body: { key: json.key } });
    await soon(() => expect(stream.frames.some(({ t }) => t === 'delta')).toBe(true));
    expect(stream.lines.every((line) => /\t[\w-]{43}$/.test(line))).toBe(true);
    expect(stream.lines[0]).toMatch(/^\{"t":"session"/);
    const { position } = stream;
    expect((await worker.transport.post('/feed/v1/ack', ackOf(worker, position()), 5_000)).status).toBe(204);
    const { status, body } = await worker.transport.post(PING, pingOf(worker), 5_000);
    expect([status, parsePingReply(body).rev]).toEqual([200, position().rev]);
    await soon(() => expect(stream.frames.some(({ t }) => t === 'ping')).toBe(true));
    expect(stream.ended).toBeNull();
    expect(requests.map(({ path, kind }) => `${path} ${kind}`)).toEqual([
      '/feed/v1/stream signature',
      '/feed/v1/ack mac',
      `${PING} mac`,
    ]);
  });

  it('held back by its window gets signs of life with MACs, and the rest when it confirms', async () => {
    const worker = await joined();
    const stream = await connected(worker);
    const { json } = await control.call('POST', '/key/generate', { body: {} });
    await control.call('POST', '/key/block', { body: { key: json.key } });
    // The second change waits behind the first; what it refuses is said at once.
    await soon(() => expect(stream.frames.some(({ t }) => t === 'deny')).toBe(true));
    await soon(() => expect(stream.lines.some((line) => /^\t[\w-]{43}$/.test(line))).toBe(true));
    const deltas = () => stream.frames.filter(({ t }) => t === 'delta').length;
    expect(deltas()).toBe(1);
    expect((await worker.transport.post('/feed/v1/ack', ackOf(worker, stream.position()), 5_000)).status).toBe(204);
    await soon(() => expect(deltas()).toBe(2));
    expect(stream.ended).toBeNull();
  });

  it('that meets another admin is signed and answered there, without a witness', async () => {
    const worker = await joined();
    await connected(worker);
    const elsewhere = transportTo(otherServer, worker);
    elsewhere.signer.useSession(worker.keys());
    const { status, body } = await elsewhere.transport.post(PING, pingOf(worker), 5_000);
    expect(status).toBe(200);
    const { rev, witnessAgeMs } = parsePingReply(body);
    expect(rev).toBeGreaterThan(0);
    expect(witnessAgeMs).toBe(Number.MAX_SAFE_INTEGER);
    expect(requests.filter(({ isOther }) => isOther).map(({ kind }) => kind)).toEqual(['mac', 'signature']);
    // And the session is as good as before where it belongs.
    expect((await worker.transport.post(PING, pingOf(worker), 5_000)).status).toBe(200);
    expect(requests.at(-1)).toMatchObject({ isOther: false, kind: 'mac' });
  });
});

describe('a request', () => {
  it('with a MAC is refused when it is forged, changed, repeated, late, of another session or on another path', async () => {
    const [worker, stranger] = [await joined(), await joined()];
    await Promise.all([connected(worker), connected(stranger)]);
    const keys = worker.keys();
    let counter = 0;
    const body = pingOf(worker);
    const mac = (changes: object = {}, by = keys, path = PING, text = body) => {
      counter += 1;
      const stamp = { instanceId: worker.instanceId, sessionId: keys.id, counter, timeMs: Date.now(), ...changes };
      return macRequest({ method: 'POST', path, body: text }, stamp, by);
    };
    const ask = async (headers: Record<string, string>, text = body, path = PING) => {
      const response = await fetch(`${addressOf(server)}${path}`, { method: 'POST', body: text, headers });
      const { code = null } = (response.status === 204 ? {} : await response.json()) as { code?: string };
      return [response.status, code];
    };
    const good = mac();
    expect(await ask(good, `${body} `)).toEqual([401, 'bad_mac']);
    expect(await ask(good, body, '/feed/v1/ack')).toEqual([401, 'bad_mac']);
    const flipped = good[MAC_HEADER]!.startsWith('A') ? 'B' : 'A';
    expect(await ask({ ...good, [MAC_HEADER]: `${flipped}${good[MAC_HEADER]!.slice(1)}` })).toEqual([401, 'bad_mac']);
    // Wrong attempts did not use up its counter; it counts once.
    expect(await ask(good)).toEqual([200, null]);
    expect(await ask(good)).toEqual([401, 'replayed']);
    // In another order, but not too old.
    const [late, early] = [mac({ counter: 1_001 }), mac({ counter: 1_000 })];
    expect(await ask(late)).toEqual([200, null]);
    expect(await ask(early)).toEqual([200, null]);
    expect(await ask(mac({ counter: 1_001 - COUNTER_WINDOW }))).toEqual([401, 'replayed']);
    counter = 2_000;

    for (const offsetMs of [-1, 1]) {
      const timeMs = Date.now() + offsetMs * (SIGNATURE_WINDOW_MS + 60_000);
      expect(await ask(mac({ timeMs }))).toEqual([401, 'clock']);
    }
    const foreign = stranger.keys();
    expect(await ask(mac({}, foreign))).toEqual([401, 'bad_mac']);
    expect(await ask(mac({ sessionId: foreign.id }, foreign))).toEqual([401, 'unknown_session']);
    expect(await ask(mac({ instanceId: randomUUID() }))).toEqual([401, 'unknown_instance']);
    expect(await ask({ ...mac(), [SESSION_HEADER]: 'x' })).toEqual([401, 'unsigned']);
    // A session speaks for its own stream, not even for another one of the same instance.
    for (const changes of [{ gatewayId: `${worker.instanceId}/1` }, { session: 'another' }]) {
      const text = JSON.stringify({ ...JSON.parse(body), ...changes });
      expect(await ask(mac({}, keys, PING, text), text)).toEqual([403, 'not_yours']);
    }
    const paths = ['stream', 'usage', 'denials', 'renew'].map((name) => `/feed/v1/${name}`);
    for (const path of paths) expect(await ask(mac({}, keys, path), body, path), path).toEqual([401, 'unsigned']);
    expect(await ask(mac())).toEqual([200, null]);
  });
});

describe('a session', () => {
  it('ends with its stream', async () => {
    const worker = await joined();
    const stream = await connected(worker);
    const keys = worker.keys();
    stream.close();
    await soon(async () => expect(await askWith(keys, worker)).toEqual([401, 'unknown_session']));
    // The next stream has another one, and the old one stays what it is.
    await connected(worker);
    expect(worker.keys().id).not.toBe(keys.id);
    expect(await askWith(keys, worker)).toEqual([401, 'unknown_session']);
    expect(await askWith(worker.keys(), worker)).toEqual([200, null]);
  });

  it('ends at once when its instance is revoked', async () => {
    const worker = await joined();
    const stream = await connected(worker);
    const elsewhere = await joined(otherServer);
    await connected(elsewhere);
    const keys = worker.keys();
    for (const { instanceId } of [worker, elsewhere]) {
      expect((await control.call('POST', `/fleet/workers/${instanceId}/revoke`)).status).toBe(200);
    }
    expect(await askWith(keys, worker, 50)).toEqual([403, 'revoked']);
    await soon(() => expect(stream.ended).not.toBeNull());
    await soon(
      async () => expect(await askWith(elsewhere.keys(), elsewhere, 50, otherServer)).toEqual([403, 'revoked']),
      ENROLMENT_REFRESH_MS * 3,
    );
    const lines = stream.lines.length;
    await control.call('POST', '/key/generate', { body: {} });
    expect(stream.lines.length).toBe(lines);
    // Whoever joins again as the same instance has none of its sessions.
    const again = await joined(server, worker.instanceId);
    expect(await askWith(keys, again, 60)).toEqual([401, 'unknown_session']);
  });

  it('of a stream whose hello offers what is no key is none', async () => {
    const worker = await joined();
    const hello = (sessionKey: unknown) =>
      worker.transport.post('/feed/v1/stream', JSON.stringify({ ...helloOf(worker), sessionKey }), 5_000);
    for (const sessionKey of ['', 'x', 1, 'A'.repeat(43), 'A'.repeat(44)]) {
      expect((await hello(sessionKey)).status, String(sessionKey)).toBe(400);
    }
  });

  it('is not there for a worker that offers no key, nor on the unix socket', async () => {
    const worker = await joined();
    const lines: string[] = [];
    const connection = worker.transport.stream('/feed/v1/stream', JSON.stringify(helloOf(worker)), {
      onOpen: () => undefined,
      onData: (chunk) => lines.push(...chunk.toString().split('\n').slice(0, -1)),
      onEnd: () => undefined,
    });
    closers.push(() => connection.close());
    await soon(() => expect(lines.some((line) => line.startsWith('{"t":"ping"'))).toBe(true));
    expect(lines[0]).toMatch(/^\{"t":"welcome"/);
    expect(lines.some((line) => line.startsWith('{"t":"session"'))).toBe(false);
    expect(lines.find((line) => line.startsWith('{"t":"ping"'))).not.toContain('\t');
    expect((await worker.transport.post(PING, pingOf(worker), 5_000)).status).toBe(200);
    expect(requests.map(({ kind }) => kind)).toEqual(['signature', 'signature']);

    const local = new FeedProbe({ socketPath: control.feedSocket, gatewayId: 'local/0' });
    closers.push(() => local.close());
    await local.until(() => local.position !== null);
    expect(local.frames.map(({ t }) => String(t))).not.toContain('session');
  });
});

/** A ping of the worker's session-1 with a MAC of these keys, as somebody would send it who has them. */
async function askWith(
  keys: SessionKeys,
  worker: Worker,
  counter = 1_000,
  to = server,
): Promise<[number, string | null]> {
  const body = pingOf(worker);
  const stamp = { instanceId: worker.instanceId, sessionId: keys.id, counter, timeMs: Date.now() };
  const headers = macRequest({ method: 'POST', path: PING, body }, stamp, keys);
  const response = await fetch(`${addressOf(to)}${PING}`, { method: 'POST', body, headers });
  const { code = null } = (await response.json()) as { code?: string };
  return [response.status, code];
}

interface Worker {
  readonly instanceId: string;
  readonly answer: JoinAnswer;
  readonly privateKey: string;
  readonly transport: HttpsFeedTransport;
  readonly signer: RequestSigner;
  /** Of its newest stream. */
  keys(): SessionKeys;
  agreed(keys: SessionKeys): void;
}

async function joined(to = server, instanceId: string = randomUUID()): Promise<Worker> {
  const { json } = await control.call('POST', '/fleet/join-token', { body: { region: 'eu' } });
  const pair = makeSigningPair();
  const asked = {
    token: json.token,
    instanceId,
    region: null,
    role: 'worker',
    version: '0',
    publicKey: pair.publicKey,
  };
  const response = await fetch(`${addressOf(to)}/feed/v1/join`, { method: 'POST', body: JSON.stringify(asked) });
  const answer = parseJoinAnswer(await response.text());
  const { privateKey } = pair;
  let keys: SessionKeys | null = null;
  return {
    instanceId,
    answer,
    privateKey,
    ...transportTo(to, { instanceId, privateKey }),
    keys: () => keys!,
    agreed: (agreed) => {
      keys = agreed;
    },
  };
}

function transportTo(to: Server, { instanceId, privateKey }: Pick<Worker, 'instanceId' | 'privateKey'>) {
  const identity = { current: () => ({ instanceId, privateKey: readPrivateKey(privateKey) }), reload: () => false };
  const signer = new RequestSigner({ identity, clock: systemClock, log: silentLog });
  const client = new ControlPlaneClient(OUTBOUND);
  const transport = new HttpsFeedTransport({ addresses: [addressOf(to)], client, signer, log: silentLog });
  closers.push(() => transport.close());
  return { transport, signer };
}

/** A stream that is read as a gateway process does it, with everything that it was sent at first. */
async function connected(worker: Worker) {
  const { gatewayId, session } = helloOf(worker);
  const reader = new SessionLines({
    parties: { installation: worker.answer.installation, gatewayId, session },
    installationKey: readPublicKey(worker.answer.installationKey),
    onAgreed(keys) {
      worker.agreed(keys);
      return worker.signer.useSession(keys);
    },
  });
  const decoder = new DownFrameDecoder(FEED_LINE_BYTES_MAX, reader);
  const frames: DownFrame[] = [];
  let text = '';
  const stream = {
    frames,
    ended: null as string | null,
    get lines() {
      return text.split('\n').slice(0, -1);
    },
    position() {
      const newest = frames.findLast(({ t }) => t === 'delta' || t === 'snapshot-end')!;
      if (newest.t === 'delta') return { epoch: newest.epoch, rev: newest.to };
      if (newest.t === 'snapshot-end') return newest.position;
      throw new Error('there is no position yet');
    },
    close: () => connection.close(),
  };
  const hello = { ...helloOf(worker), sessionKey: reader.sessionKey };
  const connection = worker.transport.stream('/feed/v1/stream', JSON.stringify(hello), {
    onOpen: () => undefined,
    onData(chunk) {
      text += chunk.toString();
      try {
        decoder.push(chunk, (frame) => frames.push(frame));
      } catch (error) {
        stream.ended = (error as Error).message;
      }
    },
    onEnd: (reason) => {
      stream.ended ??= reason;
    },
  });
  closers.push(() => connection.close());
  await soon(() =>
    expect(
      frames.some(({ t }) => t === 'snapshot-end'),
      stream.ended ?? '',
    ).toBe(true),
  );
  return stream;
}

function helloOf({ instanceId, answer }: Worker) {
  return {
    protocol: FEED_PROTOCOL,
    gatewayId: `${instanceId}/0`,
    session: 'session-1',
    region: answer.region,
    role: 'worker',
    version: '0',
    have: null,
  };
}

function ackOf(worker: Worker, { epoch, rev }: { epoch: number; rev: number }): string {
  const { gatewayId, session } = helloOf(worker);
  return JSON.stringify({ gatewayId, session, epoch, rev });
}

function pingOf(worker: Worker): string {
  const { gatewayId, session } = helloOf(worker);
  return JSON.stringify({ gatewayId, session, sentAtMs: 1, epoch: 1, rev: 0, fresh: false, stats: statsOf() });
}

function soon<T>(check: () => T | Promise<T>, timeout = 10_000): Promise<T> {
  return vi.waitFor(check, { timeout, interval: 10 });
}

async function serve({ plane }: TestControlPlane, isOther: boolean): Promise<Server> {
  const made = createServer((request, response) => {
    const { headers, url = '' } = request;
    if (headers[MAC_HEADER] !== undefined) requests.push({ path: url, isOther, kind: 'mac' });
    if (headers[SIGNATURE_HEADER] !== undefined) requests.push({ path: url, isOther, kind: 'signature' });
    if (!plane.signedFeed.serve(request, response)) response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  return made;
}

function addressOf(of: Server): string {
  return `http://127.0.0.1:${(of.address() as AddressInfo).port}`;
}
