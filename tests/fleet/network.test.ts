import { rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, request as requestHttp, type Server, type ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRelay, RELAYED_REQUESTS_MAX, type Relay } from '../../src/gateway/endpoints/relay-to-control.ts';
import { type GatewayHarness, KEY, startGateway } from '../support/gateway-harness.ts';
import { connectRaw, type RawAnswer, requestText, sendRaw } from '../support/http-raw.ts';
import { pick } from '../support/length.ts';
import { type Claviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';

const MESSAGES = [{ role: 'user', content: 'hello' }];
const ORIGIN = 'https://app.example.com';
/** Documentation addresses: they belong to nobody. */
const CLIENT = '203.0.113.7';
const SECRET_SALT = 'salt-that-no-log-may-show';

const hasIpv6 = await canListen('::1');
if (!hasIpv6)
  process.stderr.write('This machine has no IPv6: tests with IPv6 clients are skipped. Enable ::1 on lo.\n');

describe('an instance that listens on ::, behind a trusted proxy, with listed origins and JSON logs', () => {
  let claviger: Claviger;
  let key: string;
  beforeAll(async () => {
    claviger = await startClaviger({
      env: {
        HOST: hasIpv6 ? '::' : '0.0.0.0',
        LITELLM_SALT_KEY: SECRET_SALT,
        LITELLM_CORS_ORIGINS: `https://console.example.com, ${ORIGIN}`,
        LITELLM_CORS_ALLOW_CREDENTIALS: 'true',
        CLAVIGER_TRUSTED_PROXIES: '127.0.0.0/8, 10.0.0.0/8',
        LITELLM_LOG: 'DEBUG',
        JSON_LOGS: 'true',
      },
    });
    key = await claviger.generateKey({ key_alias: 'network' });
  });
  afterAll(() => claviger?.stop());

  it.runIf(hasIpv6)('answers clients of both families', async () => {
    for (const host of ['127.0.0.1', '::1']) {
      expect([host, (await chat(claviger, { key, host })).status]).toEqual([host, 200]);
    }
  });

  it('answers the preflight of a listed origin, without a key', async () => {
    const answer = await preflight(claviger, ORIGIN);
    expect(answer.status).toBe(200);
    expect(answer.header('access-control-allow-origin')).toBe(ORIGIN);
    expect(answer.header('access-control-allow-credentials')).toBe('true');
    expect(answer.header('access-control-allow-methods')).toContain('POST');
    expect(answer.header('access-control-allow-headers')?.toLowerCase()).toContain('authorization');
    expect(answer.header('vary')?.toLowerCase()).toContain('origin');
  });

  it.each([
    ['an LLM route', 'POST', '/v1/chat/completions'],
    ['a management route', 'GET', '/key/list'],
    ['a refusal', 'GET', '/nothing/here'],
  ])('lets pages of a listed origin read the answer of %s, and no others', async (_what, method, path) => {
    const ask = (origin: string) =>
      sendRaw(
        { port: claviger.port },
        requestText(
          method,
          path,
          { Origin: origin, Authorization: `Bearer ${claviger.masterKey}` },
          method === 'POST' ? JSON.stringify({ model: 'fake-gpt', messages: MESSAGES }) : '',
        ),
      );
    const listed = await ask(ORIGIN);
    expect(listed.header('access-control-allow-origin')).toBe(ORIGIN);
    expect(listed.header('access-control-allow-credentials')).toBe('true');
    for (const origin of ['https://evil.example', `${ORIGIN}.evil.example`, 'http://app.example.com', 'null']) {
      const other = await ask(origin);
      expect([origin, other.header('access-control-allow-origin')]).toEqual([origin, null]);
      expect(other.header('access-control-allow-credentials')).toBeNull();
      expect(other.status).toBe(listed.status);
    }
  });

  it('gives a preflight of another origin no permission', async () => {
    const answer = await preflight(claviger, 'https://evil.example');
    expect(answer.header('access-control-allow-origin')).toBeNull();
    expect(answer.header('access-control-allow-credentials')).toBeNull();
  });

  it.each([
    ['the client that the trusted proxy names', CLIENT, CLIENT],
    ['the nearest one that is not trusted itself', `198.51.100.1, ${CLIENT}, 10.1.2.3`, CLIENT],
    ['the proxy when the header holds nothing else', '10.1.2.3', '127.0.0.1'],
    ['an IPv6 client', '2001:db8::7', '2001:db8::7'],
  ])('records as address of the caller %s', async (_what, forwarded, expected) => {
    const { callId } = await chat(claviger, { key, forwarded });
    expect(await recordedAddress(claviger, callId)).toBe(expected);
  });

  it.runIf(hasIpv6)('believes no such header from a peer that is not in the list', async () => {
    const { callId } = await chat(claviger, { key, host: '::1', forwarded: CLIENT });
    expect(await recordedAddress(claviger, callId)).toBe('::1');
  });

  it('writes log lines that are JSON, one record each, with everything that its level asks for', async () => {
    await chat(claviger, { key });
    await chat(claviger, { key: 'sk-a-key-that-nobody-has-0123456789' });
    await claviger.waitForLog(/"message":"request"/);
    const lines = claviger.logs().split('\n').slice(0, -1);
    const broken = lines.filter((line) => !isRecord(line));
    // What a person at the terminal sees first is no log line.
    const banner = broken.filter(
      (line) => !/^(Claviger is serving on|\s+(master key|data directory|try):|\s+curl|\s+-[Hd]|$)/.test(line),
    );
    expect(banner).toEqual([]);
    const records = lines.filter(isRecord).map((line) => JSON.parse(line));
    for (const record of records) {
      expect(record).toMatchObject({
        time: expect.any(String),
        level: expect.any(String),
        message: expect.any(String),
      });
    }
    const levels = new Set(records.map(({ level }) => level));
    expect(levels).toContain('info');
  });

  it('writes no secret into its log', async () => {
    await claviger.api('GET', `/key/info?key=${key}`);
    await claviger.api('POST', '/key/update', { key, metadata: 'wrong type' });
    await chat(claviger, { key, headers: { 'X-Api-Key': key } });
    await claviger.waitForLog(/"route":"\/key\/update"/);
    const logs = claviger.logs();
    for (const secret of [claviger.masterKey, key, SECRET_SALT, 'sk-a-key-that-nobody-has-0123456789']) {
      expect(logs.includes(secret)).toBe(false);
    }
  });
});

describe('an instance with a .env file', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await temporaryDirectory();
    await writeFile(join(dir, '.env'), 'CLAVIGER_REGION=from-dot-env\nLITELLM_LOG=ERROR\nCLAVIGER_DRAIN_TIMEOUT=5\n');
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  it('takes its variables, of which LITELLM_LOG keeps the log quiet; any page may ask, but not with credentials', async () => {
    await using claviger = await startClaviger({ cwd: dir, env: { LITELLM_CORS_ALLOW_CREDENTIALS: 'true' } });
    const key = await claviger.generateKey();
    const { answer, callId } = await chat(claviger, { key, forwarded: CLIENT, headers: { Origin: ORIGIN } });
    expect(answer.status).toBe(200);
    expect(answer.header('x-claviger-region')).toBe('from-dot-env');
    expect(answer.header('access-control-allow-origin')).toBe('*');
    expect(answer.header('access-control-allow-credentials')).toBeNull();
    const permission = await preflight(claviger, ORIGIN);
    expect(permission.header('access-control-allow-origin')).toBe('*');
    expect(permission.header('access-control-allow-credentials')).toBeNull();
    // Nobody is trusted unless it is said.
    expect(await recordedAddress(claviger, callId)).toBe('127.0.0.1');
    expect(await claviger.stop()).toBe(0);
    expect(claviger.logs()).not.toMatch(/ (info|debug|INFO|DEBUG) /);
  });

  it('whose value the environment has already keeps that of the environment', async () => {
    await using claviger = await startClaviger({ cwd: dir, env: { CLAVIGER_REGION: 'from-environment' } });
    expect((await claviger.api('GET', '/models')).headers.get('x-claviger-region')).toBe('from-environment');
  });

  it('ignores it in production, and logs what is worth knowing but no details', async () => {
    await using claviger = await startClaviger({ cwd: dir, env: { LITELLM_MODE: 'PRODUCTION' } });
    const { answer } = await chat(claviger, { key: claviger.masterKey });
    expect(answer.header('x-claviger-region')).toBe('default');
    await claviger.waitForLog(/ INFO {2}POST \/v1\/chat\/completions 200 /);
    expect(claviger.logs()).not.toMatch(/ (debug|DEBUG) /);
  });
});

describe('an offer to speak HTTP/2, as Java clients make it', () => {
  const OFFER = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAEAAEAAAAIAAAABAAMAAABk' };

  it('is ignored: the request is answered, and so are the next ones on its connection', async () => {
    const gateway = await startGateway();
    const headers = { ...OFFER, Authorization: `Bearer ${KEY}` };
    // Long enough to come in several pieces.
    const body = (stream: boolean) =>
      JSON.stringify({ model: 'fake-gpt', stream, messages: [{ role: 'user', content: 'x'.repeat(300_000) }] });
    const connection = await connectRaw({ port: gateway.port });
    for (const stream of [false, true, false]) {
      await connection.write(requestText('POST', '/v1/chat/completions', headers, body(stream)));
      const answer = await connection.answer();
      expect(answer.status).toBe(200);
      expect(answer.text()).toMatch(stream ? /data: \[DONE\]\s*$/ : /"object":"chat.completion"/);
    }
    await connection.write(requestText('GET', '/v1/models', { ...OFFER, Authorization: 'Bearer sk-nobody' }));
    expect((await connection.answer()).status).toBe(401);
    connection.destroy();
    await gateway.settled(3);
    await gateway.stop();
  });
});

describe('the relay to the control process', () => {
  const timeLimits = { headersTimeoutMs: 300, requestTimeoutMs: 300, keepAliveTimeoutMs: 300 };
  /** Much longer than every limit of the public port. */
  const silenceMs = pick(2_500, 20_000);
  const held: ServerResponse[] = [];
  let dir: string;
  let control: Server;
  let relay: Relay;
  let gateway: GatewayHarness;

  beforeAll(async () => {
    dir = await temporaryDirectory();
    const socket = join(dir, 'control.sock');
    control = createHttpServer((request, response) => {
      request.resume();
      if (request.url === '/key/list') response.end('{}');
      else held.push(response);
    });
    await new Promise<void>((resolve) => control.listen(socket, () => resolve()));
    relay = createRelay(socket);
    gateway = await startGateway({ relay, limits: timeLimits });
  });
  afterAll(async () => {
    relay?.close();
    control?.closeAllConnections();
    await gateway?.stop();
    await new Promise((resolve) => control?.close(resolve));
    await rm(dir, { recursive: true, force: true });
  });

  it(
    'has no time-out for a stream of events, and passes each one on at once',
    async () => {
      const events: string[] = [];
      const ended = new Promise<string>((resolve, reject) => {
        const request = requestHttp(`${gateway.url}/auto_router/events`, { agent: false }, (answer) => {
          answer.on('data', (piece: Buffer) => events.push(piece.toString()));
          answer.once('error', reject);
          answer.once('end', () => resolve(String(answer.headers['content-type'])));
        });
        request.once('error', reject).end();
      });
      const stream = await until('the control process has the request', () => held.pop());
      stream.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of ['one', 'two', 'three']) {
        stream.write(`data: ${event}\n\n`);
        await until(`event ${event}`, () => (events.at(-1) === `data: ${event}\n\n` ? true : null));
        if (event !== 'three') await new Promise((resolve) => setTimeout(resolve, silenceMs));
      }
      stream.end();
      expect(await ended).toBe('text/event-stream');
      expect(events).toHaveLength(3);
    },
    3 * silenceMs + 20_000,
  );

  it(`answers 503 when ${RELAYED_REQUESTS_MAX} requests are under way, goes on with completions, and with the next when one has ended`, async () => {
    const open = Array.from({ length: RELAYED_REQUESTS_MAX }, () =>
      gateway.call('', { method: 'POST', path: '/key/generate' }),
    );
    await until('the control process has them all', () => (held.length === RELAYED_REQUESTS_MAX ? true : null));
    const refused = await gateway.call('', { method: 'POST', path: '/key/generate' });
    expect(refused.status).toBe(503);
    expect(refused.headers['retry-after']).toBe('1');
    expect(refused.json().error).toMatchObject({ type: 'overloaded_error', code: '503' });
    expect(refused.headers['x-litellm-call-id']).toBeDefined();
    expect(held).toHaveLength(RELAYED_REQUESTS_MAX);
    expect((await gateway.call({ model: 'fake-gpt', messages: MESSAGES })).status).toBe(200);

    held.pop()?.end('{}');
    await Promise.race(open);
    const list = () => gateway.call('', { method: 'GET', path: '/key/list' });
    await until('a place is free', async () => ((await list()).status === 200 ? true : null));
    for (const response of held.splice(0)) response.end('{}');
    expect((await Promise.all(open)).every(({ status }) => status === 200)).toBe(true);
  });
});

interface ChatOptions {
  readonly key: string;
  readonly host?: string;
  readonly forwarded?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function chat(
  claviger: Claviger,
  { key, host = '127.0.0.1', forwarded, headers = {} }: ChatOptions,
): Promise<{ answer: RawAnswer; status: number; callId: string }> {
  const text = requestText(
    'POST',
    '/v1/chat/completions',
    {
      Authorization: `Bearer ${key}`,
      ...(forwarded === undefined ? {} : { 'X-Forwarded-For': forwarded }),
      ...headers,
    },
    JSON.stringify({ model: 'fake-gpt', messages: MESSAGES }),
  );
  const answer = await sendRaw({ host, port: claviger.port }, text);
  return { answer, status: answer.status, callId: answer.header('x-litellm-call-id') ?? '' };
}

function preflight(claviger: Claviger, origin: string): Promise<RawAnswer> {
  return sendRaw(
    { port: claviger.port },
    requestText('OPTIONS', '/v1/chat/completions', {
      Origin: origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization, content-type',
    }),
  );
}

function recordedAddress(claviger: Claviger, callId: string): Promise<string> {
  return until(`the usage row of ${callId}`, async () => {
    const answer = await claviger.api('GET', `/spend/logs?request_id=${callId}`);
    return answer.status === 200 ? answer.json()[0]?.requester_ip_address : null;
  });
}

function isRecord(line: string): boolean {
  try {
    return typeof JSON.parse(line) === 'object';
  } catch {
    return false;
  }
}

function canListen(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(0, host, () => server.close(() => resolve(true)));
  });
}
