import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { silentLog } from '../../../../tests/support/silent-log.ts';
import {
  startControlPlane,
  TEST_SEALING_KEY,
  type TestControlPlane,
} from '../../../../tests/support/test-control-plane.ts';
import { modelSecretContext } from '../../../domain/model-secrets.ts';
import type { SealedSecret } from '../../../domain/sealed-secret.ts';
import type { StoredModel } from '../../../domain/stored-model.ts';
import { DownFrameDecoder, FEED_LINE_BYTES_MAX } from '../../../feed/codec.ts';
import { type JoinAnswer, parseJoinAnswer } from '../../../feed/join.ts';
import { type DownFrame, FEED_PROTOCOL } from '../../../feed/protocol.ts';
import { INSTANCE_HEADER, signRequest } from '../../../feed/request-signature.ts';
import { LineVerifier } from '../../../feed/signed-line.ts';
import { ControlPlaneClient } from '../../../gateway/live/control-plane-client.ts';
import { HttpsFeedTransport } from '../../../gateway/live/https-feed-transport.ts';
import { RequestSigner } from '../../../gateway/live/request-signer.ts';
import { type Clock, systemClock } from '../../../util/clock.ts';
import { makeSigningPair, readPrivateKey, readPublicKey, type SigningPair } from '../../../util/ed25519.ts';
import { unseal } from '../../../util/sealed-value.ts';
import { ENROLMENT_REFRESH_MS } from './enrolled-instances.ts';

const OUTBOUND = { httpsProxy: null, httpProxy: null, noProxy: [], caFile: null, sslVerify: true };
const HOUR_MS = 3_600_000;

let control: TestControlPlane;
let other: TestControlPlane;
let server: Server;
let otherServer: Server;
const closers: (() => void)[] = [];

beforeAll(async () => {
  control = await startControlPlane();
  other = await startControlPlane({ database: control.database });
  [server, otherServer] = await Promise.all([serve(control), serve(other)]);
});
afterEach(() => {
  for (const close of closers.splice(0)) close();
});
afterAll(async () => {
  for (const each of [server, otherServer]) each?.close();
  await other?.stop();
  await control?.stop();
});

describe('a join token', () => {
  it('lets one instance join, as what the token says, and is kept as a hash', async () => {
    const token = await tokenFor('eu');
    expect(token).toMatch(/^cjt-[A-Za-z0-9_-]{43}$/);
    const { rows } = await control.db.read((tx) =>
      sql<{ text: string }>`
      select t::text as text from claviger.join_token t
    `.execute(tx),
    );
    expect(rows.some(({ text }) => text.includes(token))).toBe(false);

    const { answer } = await joined('eu', { token });
    expect(answer).toMatchObject({ region: 'eu', role: 'worker', validForMs: 7 * 24 * HOUR_MS });
    expect(answer.installation).toBe((await position()).installation_id);
    expect(await refusalOf(await join({ token }))).toEqual([403, 'token_used']);
  });

  it('gives the same answer again to the same instance with the same key, and to nobody else', async () => {
    const token = await tokenFor('eu');
    const pair = makeSigningPair();
    const instanceId = randomUUID();
    const answers = [];
    for (let count = 0; count < 2; count++) {
      const response = await join({ token, instanceId, publicKey: pair.publicKey });
      answers.push(parseJoinAnswer(await response.text()));
    }
    expect(answers[1]).toEqual(answers[0]);
    expect(await refusalOf(await join({ token, instanceId }))).toEqual([403, 'token_used']);
    expect(await refusalOf(await join({ token, publicKey: pair.publicKey }))).toEqual([403, 'token_used']);
  });

  it('used by several at once lets one in', async () => {
    const token = await tokenFor('eu');
    const answers = await Promise.all([join({ token }), join({ token }), join({ token }), join({ token })]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 403, 403, 403]);
  });

  it('that is unknown, expired or for another region is refused with a sentence that says so, and is not used up', async () => {
    const unknown = await join({ token: `cjt-${'x'.repeat(43)}` });
    expect(await refusalOf(unknown)).toEqual([403, 'token_unknown']);

    const token = await tokenFor('eu');
    const elsewhere = await join({ token, region: 'us' });
    expect(elsewhere.status).toBe(403);
    expect(await elsewhere.json()).toMatchObject({
      code: 'other_region',
      error: expect.stringMatching(/\beu\b.*\bus\b/),
    });
    await control.db.write((tx) => sql`update claviger.join_token set expires_at = now()`.execute(tx));
    const expired = await join({ token });
    expect(await expired.json()).toMatchObject({ code: 'token_expired', error: expect.stringMatching(/new token/) });
    await control.db.write((tx) =>
      sql`update claviger.join_token set expires_at = now() + interval '1 minute'`.execute(tx),
    );
    expect((await join({ token, region: 'eu' })).status).toBe(200);
  });

  it('can be used for ten minutes at most', async () => {
    const make = (body: object) => control.call('POST', '/fleet/join-token', { body });
    const { json } = await make({ region: 'eu', ttl: '90s' });
    const inMs = Date.parse(json.expires_at) - Date.now();
    expect(inMs).toBeGreaterThan(60_000);
    expect(inMs).toBeLessThan(120_000);
    for (const ttl of ['11m', '0s', '1mo', 'long']) expect((await make({ region: 'eu', ttl })).status, ttl).toBe(400);
    for (const body of [{}, { region: '' }, { region: 'a b' }, { region: 'eu', role: 'admin' }]) {
      expect((await make(body)).status, JSON.stringify(body)).toBe(422);
    }
    const { json: key } = await control.call('POST', '/key/generate', { body: {} });
    expect((await control.call('POST', '/fleet/join-token', { body: { region: 'eu' }, key: key.key })).status).toBe(
      401,
    );
  });

  it('does not take over an instance that is enrolled, until that is revoked', async () => {
    const { instanceId } = await joined('eu');
    const token = await tokenFor('eu');
    expect(await refusalOf(await join({ token, instanceId }))).toEqual([409, 'enrolled_already']);
    expect((await control.call('POST', `/fleet/workers/${instanceId}/revoke`)).status).toBe(200);
    expect((await join({ token, instanceId })).status).toBe(200);
  });

  it('is asked for with a body that is one, or nothing happens', async () => {
    for (const body of ['', 'x', '[]', '{}', JSON.stringify({ token: 'x', instanceId: '../x' })]) {
      expect((await post('/feed/v1/join', body)).status).toBe(400);
    }
    expect((await post('/feed/v1/join', 'x'.repeat(20_000))).status).toBe(413);
    expect((await fetch(`${addressOf(server)}/feed/v1/join`)).status).toBe(405);
  });
});

describe('a joined worker', () => {
  it('gets the feed and is heard, signed in both directions', async () => {
    const worker = await joined('eu');
    const { json } = await control.call('POST', '/key/generate', { body: {} });
    const stream = subscribe(worker);
    await soon(() => expect(stream.tokens()).toContain(json.token));
    // The signature of a snapshot stands at its end.
    await soon(() => expect(stream.frames.some(({ t }) => t === 'snapshot-end')).toBe(true));
    expect(stream.verified).toBeGreaterThan(0);
    await control.call('POST', '/key/block', { body: { key: json.key } });
    await soon(() => expect(stream.frames.some(({ t }) => t === 'delta')).toBe(true));
    const { epoch, rev } = await position();
    expect(
      (await worker.transport.post('/feed/v1/ack', ackOf(worker, { epoch, rev: Number(rev) }), 5_000)).status,
    ).toBe(204);
  });

  it('whose clock is an hour off, either way, works all the same', async () => {
    for (const offsetMs of [HOUR_MS, -HOUR_MS, -400 * 24 * HOUR_MS]) {
      const clock = { ...systemClock, nowMs: () => Date.now() + offsetMs };
      const worker = await joined('eu', { clock });
      const stream = subscribe(worker);
      await soon(() => expect(stream.frames.some(({ t }) => t === 'snapshot-end')).toBe(true));
    }
  });

  it('speaks for itself only: other ids, regions and roles are refused', async () => {
    const [worker, another] = [await joined('eu'), await joined('us')];
    const hello = (changes: object) =>
      worker.transport.post('/feed/v1/stream', JSON.stringify({ ...helloOf(worker), ...changes }), 5_000);
    for (const changes of [
      { gatewayId: `${another.instanceId}/0` },
      { gatewayId: worker.instanceId },
      { gatewayId: `${worker.instanceId}/../0` },
      { gatewayId: `${worker.instanceId}0/0` },
      { region: 'us' },
      { role: 'admin' },
    ]) {
      expect((await hello(changes)).status, JSON.stringify(changes)).toBe(403);
    }
    const batch = { installation: worker.answer.installation, incarnation: 'i', from: 0, to: 0, records: [] };
    const usage = (fields: object) =>
      worker.transport.post('/feed/v1/usage', JSON.stringify({ ...batch, ...fields }), 5_000);
    expect((await usage({ gatewayId: `${another.instanceId}/0`, region: 'eu' })).status).toBe(403);
    expect((await usage({ gatewayId: `${worker.instanceId}/0`, region: 'us' })).status).toBe(403);
    expect((await usage({ gatewayId: `${worker.instanceId}/0`, region: 'eu' })).status).toBe(200);
    const ack = { gatewayId: `${another.instanceId}/0`, session: 's', epoch: 1, rev: 0 };
    expect((await worker.transport.post('/feed/v1/ack', JSON.stringify(ack), 5_000)).status).toBe(403);
  });

  it('that is revoked loses its stream and is refused at once, on another admin within a second', async () => {
    const worker = await joined('eu');
    const elsewhere = await joined('eu', { server: otherServer });
    const [stream, there] = [subscribe(worker), subscribe(elsewhere)];
    await soon(() => {
      for (const each of [stream, there]) expect(each.frames.some(({ t }) => t === 'snapshot-end')).toBe(true);
    });
    for (const { instanceId } of [worker, elsewhere]) {
      expect((await control.call('POST', `/fleet/workers/${instanceId}/revoke`)).status).toBe(200);
    }
    const refused = await worker.transport.post('/feed/v1/ack', ackOf(worker, { epoch: 1, rev: 0 }), 5_000);
    expect([refused.status, refused.body]).toEqual([403, expect.stringContaining('was revoked')]);
    await soon(() => expect(stream.ended).not.toBeNull());
    await soon(() => expect(there.ended).not.toBeNull(), ENROLMENT_REFRESH_MS * 3);
    expect((await control.call('POST', `/fleet/workers/${randomUUID()}/revoke`)).status).toBe(404);
  });

  it('goes on to the next address when one does not answer', async () => {
    const worker = await joined('eu', { before: ['http://127.0.0.1:1'] });
    let stream = subscribe(worker);
    await soon(() => expect(stream.ended).toMatch(/127\.0\.0\.1:1.*ECONNREFUSED/));
    stream = subscribe(worker);
    await soon(() => expect(stream.frames.some(({ t }) => t === 'snapshot-end')).toBe(true));
  });

  it('gets the secrets of its models sealed for it, and none of another region', async () => {
    const secrets = { eu: `sk-of-eu-${randomUUID()}`, us: `sk-of-us-${randomUUID()}` };
    for (const region of ['eu', 'us'] as const) {
      const { status } = await control.call('POST', '/model/new', {
        body: {
          model_name: `of-${region}`,
          litellm_params: { model: 'openai/gpt-4', api_key: secrets[region] },
          model_info: { id: `id-${region}`, regions: [region] },
        },
      });
      expect(status).toBe(200);
    }
    const worker = await joined('eu');
    const stream = subscribe(worker);
    await soon(() => expect(stream.frames.some(({ t }) => t === 'snapshot-end')).toBe(true));
    const models = stream.frames.flatMap((frame) => (frame.t === 'models' ? frame.models : []));
    expect(models.map(({ id }) => id)).toEqual(['id-eu']);
    expect(openedWith(worker.answer.sealingKey, models[0]!)).toBe(secrets.eu);
    expect(() => openedWith(TEST_SEALING_KEY, models[0]!)).toThrow(/was sealed with key/);
    const text = JSON.stringify(stream.frames);
    for (const secret of Object.values(secrets)) expect(text).not.toContain(secret);

    // And what is changed later.
    await control.call('POST', '/model/update', {
      body: { model_info: { id: 'id-eu' }, litellm_params: { model: 'openai/gpt-4', api_key: 'sk-the-second' } },
    });
    const changed = await soon(() => {
      const changes = stream.frames.flatMap((frame) => (frame.t === 'delta' ? frame.changes : []));
      const change = changes.find((each) => each.kind === 'model' && each.id === 'id-eu');
      expect(change).toBeDefined();
      return change;
    });
    expect(openedWith(worker.answer.sealingKey, changed?.value as never)).toBe('sk-the-second');
  });
});

describe('a request', () => {
  it('without a signature, with a foreign or a damaged one, or a second time is refused', async () => {
    const worker = await joined('eu');
    const body = ackOf(worker, { epoch: 1, rev: 0 });
    const stamp = () => ({ instanceId: worker.instanceId, timeMs: Date.now(), nonce: randomUUID() });
    const key = readPrivateKey(worker.pair.privateKey);
    const signed = signRequest({ method: 'POST', path: '/feed/v1/ack', body }, stamp(), key);
    const ask = async (headers: Record<string, string>, sent = body, path = '/feed/v1/ack') =>
      refusalOf(await post(path, sent, headers));

    expect(await ask({})).toEqual([401, 'unsigned']);
    expect(await ask(signed, `${body} `)).toEqual([401, 'bad_signature']);
    expect(await ask(signed, body, '/feed/v1/ping')).toEqual([401, 'bad_signature']);
    expect(await ask({ ...signed, [INSTANCE_HEADER]: randomUUID() })).toEqual([401, 'unknown_instance']);
    const stranger = readPrivateKey(makeSigningPair().privateKey);
    expect(await ask(signRequest({ method: 'POST', path: '/feed/v1/ack', body }, stamp(), stranger))).toEqual([
      401,
      'bad_signature',
    ]);
    // Wrong attempts did not use up the nonce. Nobody of this session is connected, and that is said to who may hear it.
    expect(await ask(signed)).toEqual([409, null]);
    expect(await ask(signed)).toEqual([401, 'replayed']);
  });

  it('is judged by what was known last while the database is away; who is new has to wait', async () => {
    const worker = await joined('eu');
    const ask = () => worker.transport.post('/feed/v1/ack', ackOf(worker, { epoch: 1, rev: 0 }), 5_000);
    expect((await ask()).status).toBe(409);
    const down = await startControlPlane({
      database: control.database,
      databaseUrl: 'postgresql://nobody@127.0.0.1:1/none',
      waitUntilOpened: false,
      onFatal: () => undefined,
    });
    const server = await serve(down);
    try {
      const elsewhere = transportTo([addressOf(server)], worker, systemClock);
      expect((await elsewhere.post('/feed/v1/ack', ackOf(worker, { epoch: 1, rev: 0 }), 5_000)).status).toBe(503);
    } finally {
      server.close();
      await down.stop();
    }
  });
});

describe('a credential', () => {
  it('is renewed with a new key: both are good until the new one is used, then only that', async () => {
    const worker = await joined('eu');
    const next = makeSigningPair();
    const renewed = await worker.transport.post('/feed/v1/renew', JSON.stringify({ publicKey: next.publicKey }), 5_000);
    expect([renewed.status, JSON.parse(renewed.body)]).toEqual([200, { validForMs: 7 * 24 * HOUR_MS }]);
    const ask = (pair: SigningPair, server: Server) =>
      transportTo([addressOf(server)], { ...worker, pair }, systemClock).post(
        '/feed/v1/ack',
        ackOf(worker, { epoch: 1, rev: 0 }),
        5_000,
      );
    expect((await ask(worker.pair, server)).status).toBe(409);
    expect((await ask(worker.pair, otherServer)).status).toBe(409);
    expect((await ask(next, otherServer)).status).toBe(409);
    expect((await ask(worker.pair, otherServer)).status).toBe(401);
    await soon(async () => expect((await ask(worker.pair, server)).status).toBe(401));
    expect((await ask(next, server)).status).toBe(409);
  });

  it('that has expired can do nothing but renew itself, for thirty days', async () => {
    const worker = await joined('eu');
    const expire = async (interval: string) => {
      await control.db.write((tx) =>
        sql`update claviger.enrolled_instance set expires_at = now() - ${interval}::interval
             where instance_id = ${worker.instanceId}`.execute(tx),
      );
    };
    const ask = () => worker.transport.post('/feed/v1/ack', ackOf(worker, { epoch: 1, rev: 0 }), 5_000);
    const renew = (pair: SigningPair) =>
      worker.transport.post('/feed/v1/renew', JSON.stringify({ publicKey: pair.publicKey }), 5_000);
    await expire('31 days');
    await soon(async () => expect(await ask()).toMatchObject({ status: 403, body: /expired 31 days/ }));
    expect((await renew(makeSigningPair())).status).toBe(403);
    await expire('29 days');
    await soon(async () => expect((await renew(makeSigningPair())).status).toBe(200));
    expect((await ask()).status).toBe(409);
  });
});

/** Resolves with what `check` gives when it does not throw any more. */
function soon<T>(check: () => T | Promise<T>, timeout = 10_000): Promise<T> {
  return vi.waitFor(check, { timeout, interval: 10 });
}

function openedWith(sealingKey: string, { id, litellmParams }: StoredModel): string {
  const { $sealed } = litellmParams.api_key as SealedSecret;
  return unseal($sealed, sealingKey, modelSecretContext(id, 'litellm_params.api_key'));
}

interface Worker {
  readonly instanceId: string;
  readonly pair: SigningPair;
  readonly answer: JoinAnswer;
  readonly transport: HttpsFeedTransport;
}

async function joined(
  region: string,
  options: { token?: string; clock?: Clock; server?: Server; before?: string[] } = {},
): Promise<Worker> {
  const pair = makeSigningPair();
  const instanceId = randomUUID();
  const token = options.token ?? (await tokenFor(region));
  const response = await join({ token, instanceId, publicKey: pair.publicKey });
  const answer = parseJoinAnswer(await response.text());
  const addresses = [...(options.before ?? []), addressOf(options.server ?? server)];
  const transport = transportTo(addresses, { instanceId, pair }, options.clock ?? systemClock);
  return { instanceId, pair, answer, transport };
}

function transportTo(
  addresses: string[],
  { instanceId, pair }: Pick<Worker, 'instanceId' | 'pair'>,
  clock: Clock,
): HttpsFeedTransport {
  const identity = {
    current: () => ({ instanceId, privateKey: readPrivateKey(pair.privateKey) }),
    reload: () => false,
  };
  const transport = new HttpsFeedTransport({
    addresses,
    client: new ControlPlaneClient(OUTBOUND),
    signer: new RequestSigner({ identity, clock, log: silentLog }),
    log: silentLog,
  });
  closers.push(() => transport.close());
  return transport;
}

/** A stream whose lines are verified as a gateway process does it. */
function subscribe(worker: Worker) {
  const frames: DownFrame[] = [];
  const verifier = new LineVerifier(worker.answer.installation, readPublicKey(worker.answer.installationKey));
  const decoder = new DownFrameDecoder(FEED_LINE_BYTES_MAX, verifier);
  const state = {
    frames,
    ended: null as string | null,
    verified: 0,
    tokens: () =>
      frames.flatMap((frame) => (frame.t === 'keys' ? frame.keys.map(({ principal }) => String(principal.token)) : [])),
  };
  const connection = worker.transport.stream('/feed/v1/stream', JSON.stringify(helloOf(worker)), {
    onOpen: () => undefined,
    onData: (chunk) => {
      if (chunk.includes('\t')) state.verified += 1;
      decoder.push(chunk, (frame) => frames.push(frame));
    },
    onEnd: (reason) => {
      state.ended = reason;
    },
  });
  closers.push(() => connection.close());
  return state;
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

function ackOf({ instanceId }: Worker, at: { epoch: number; rev: number }): string {
  return JSON.stringify({ gatewayId: `${instanceId}/0`, session: 'session-1', ...at });
}

async function tokenFor(region: string): Promise<string> {
  const { status, json } = await control.call('POST', '/fleet/join-token', { body: { region } });
  expect(status).toBe(200);
  return json.token;
}

function join(fields: { token: string; instanceId?: string; region?: string; publicKey?: string }): Promise<Response> {
  const request = {
    instanceId: randomUUID(),
    region: null,
    role: 'worker',
    version: '0.0.0',
    publicKey: makeSigningPair().publicKey,
    ...fields,
  };
  return post('/feed/v1/join', JSON.stringify(request));
}

function post(path: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${addressOf(server)}${path}`, { method: 'POST', body, headers });
}

async function refusalOf(response: Response): Promise<[number, string | null]> {
  const { code = null } = (await response.json()) as { code?: string };
  return [response.status, code];
}

async function position() {
  return control.db.read((tx) => tx.selectFrom('claviger.installation').selectAll().executeTakeFirstOrThrow());
}

async function serve({ plane }: TestControlPlane): Promise<Server> {
  const server = createServer((request, response) => {
    if (!plane.signedFeed.serve(request, response)) response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
