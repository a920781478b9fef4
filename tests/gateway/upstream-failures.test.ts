import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/domain/virtual-key.ts';
import { freePort } from '../support/free-port.ts';
import { type GatewayHarness, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { expectError } from './envelope.ts';
import {
  beginStream,
  COMPLETION,
  chunk,
  DONE,
  type FaultUpstream,
  STREAM,
  sendJson,
  startFaultUpstream,
} from './fault-upstream.ts';
import { leavesNothingOpen } from './leaks.ts';

const MESSAGES = [{ role: 'user', content: 'hello' }];
const SECRET = 'upstream-credential-0123456789';
const HEADER_SECRET = 'tenant-credential-0123456789';
const TIMEOUT_S = 0.3;

describe('a provider that fails', () => {
  leavesNothingOpen();
  let gateway: GatewayHarness;
  let upstream: FaultUpstream;
  let second: FaultUpstream;
  let before = 0;
  beforeAll(async () => {
    upstream = await startFaultUpstream();
    second = await startFaultUpstream();
    const at = (base: string, more: JsonObject = {}): JsonObject => ({
      model: 'openai/gpt',
      api_base: base,
      api_key: SECRET,
      timeout: TIMEOUT_S,
      extra_headers: { 'x-tenant-key': HEADER_SECRET },
      ...more,
    });
    const nobody = `http://127.0.0.1:${await freePort()}/v1`;
    gateway = await startGateway({
      models: [
        modelEntry('gpt', at(`${upstream.url}/v1`), { id: 'only' }),
        modelEntry('日本語', at(`${upstream.url}/v1`), { id: '東京' }),
        modelEntry('nobody', at(nobody)),
        modelEntry('nowhere', at('http://no-such-host.invalid/v1')),
        modelEntry('tls-for-clear', at(`https://127.0.0.1:${upstream.port}/v1`)),
        modelEntry('pair', at(`${upstream.url}/v1`, { order: 1 }), { id: 'first' }),
        modelEntry('pair', at(`${second.url}/v1`, { order: 2 }), { id: 'second' }),
        modelEntry('refused-first', at(nobody, { order: 1 })),
        modelEntry('refused-first', at(`${second.url}/v1`, { order: 2 }), { id: 'second-2' }),
      ],
    });
  });
  beforeEach(() => {
    before = gateway.usage().settled.length;
    second.answer((call) => {
      const { stream } = JSON.parse(call.body.toString()) as { stream?: boolean };
      if (stream) call.response.writeHead(200, { 'content-type': 'text/event-stream' }).end(STREAM);
      else sendJson(call, 200, COMPLETION);
    });
  });
  afterAll(async () => {
    await gateway.stop();
    await upstream.stop();
    await second.stop();
  });

  const ask = (model: string, more: JsonObject = {}) => gateway.call({ model, messages: MESSAGES, ...more });
  const settled = async (httpStatus: number, errorCode: string): Promise<void> => {
    const [record] = await gateway.settledSince(before);
    expect(record).toMatchObject({ status: 'failure', httpStatus, errorCode, costNano: 0 });
  };

  describe('below HTTP is told without addresses', () => {
    it.each([
      ['refuses', 'nobody', 'The provider can not be reached.'],
      ['does not exist', 'nowhere', 'The provider can not be reached.'],
    ])('when it %s', async (_what, model, text) => {
      const answer = await ask(model);
      expectError(answer, 'upstream_connection', { message: `litellm.APIConnectionError: OpenAIException - ${text}` });
      expect(answer.text).not.toMatch(/127\.0\.0\.1|ECONN|ENOTFOUND|invalid\/v1/);
      await settled(500, 'upstream_connection');
    });

    it('when it speaks no TLS where TLS is expected', async () => {
      const answer = await ask('tls-for-clear');
      expectError(answer, 'upstream_connection', {
        message: /No trusted TLS connection to the provider could be made/,
      });
      await settled(500, 'upstream_connection');
    });

    it('when it resets the connection', async () => {
      upstream.answer(({ socket }) => socket.resetAndDestroy());
      expectError(await ask('gpt'), 'upstream_connection', {
        message: /closed the connection before the answer was complete/,
      });
      await settled(500, 'upstream_connection');
    });

    it('when it closes without a word', async () => {
      upstream.answer(({ socket }) => socket.end());
      expectError(await ask('gpt'), 'upstream_connection');
      await settled(500, 'upstream_connection');
    });

    it.each([false, true])('when it sends no head in time (stream: %s)', async (stream) => {
      upstream.answer(() => undefined);
      const startedAt = performance.now();
      const answer = await ask('gpt', { stream });
      expectError(answer, 'upstream_timeout', { message: /The provider did not answer in time/ });
      expect(performance.now() - startedAt).toBeLessThan(TIMEOUT_S * 1_000 + 2_000);
      await (await upstream.call(0)).closed;
      await settled(408, 'upstream_timeout');
    });

    it('when the client allows it less time than the configuration does', async () => {
      upstream.answer(() => undefined);
      const startedAt = performance.now();
      const answer = await gateway.call(
        { model: 'gpt', messages: MESSAGES },
        { headers: { 'x-litellm-timeout': '0.05' } },
      );
      expectError(answer, 'upstream_timeout');
      expect(performance.now() - startedAt).toBeLessThan(TIMEOUT_S * 1_000);
      await settled(408, 'upstream_timeout');
    });

    it('when it stops in the middle of a JSON answer', async () => {
      upstream.answer(({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write('{"id":"x",');
      });
      expectError(await ask('gpt'), 'upstream_timeout');
      await settled(408, 'upstream_timeout');
    });

    it.each([
      ['content-length', { 'content-length': '1000' }],
      ['chunks', {}],
    ])('when it cuts a JSON answer off, whole as it may look (%s)', async (_framing, headers) => {
      upstream.answer(({ response, socket }) => {
        response.writeHead(200, { 'content-type': 'application/json', ...headers });
        response.write(JSON.stringify(COMPLETION), () => socket.destroy());
      });
      expectError(await ask('gpt'), 'upstream_connection');
      await settled(500, 'upstream_connection');
    });
  });

  describe('by sending garbage is told as an invalid answer', () => {
    it.each([
      ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n'],
      ['a broken status line', 'HTTP/1.1 abc OK\r\n\r\n'],
      ['a broken header', 'HTTP/1.1 200 OK\r\nno colon here\r\n\r\n'],
      ['headers without end', `HTTP/1.1 200 OK\r\nx-fill: ${'x'.repeat(1_000_000)}\r\n\r\n`],
      [
        'broken chunks',
        'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}',
      ],
      ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}'],
    ])('in place of HTTP: %s', async (_what, bytes) => {
      upstream.answer(({ socket }) => socket.end(bytes));
      expectError(await ask('gpt'), 'upstream_invalid_response', { message: /not a valid HTTP answer/ });
      await settled(500, 'upstream_invalid_response');
    });

    it.each([
      ['nothing', '', /empty body/],
      ['bytes', Buffer.from([0xff, 0xfe, 0x00, 0x7b]), /not the JSON that was expected/],
      ['half an object', '{"id":"x","choices":[', /not the JSON that was expected/],
      ['an array', '[{"id":"x"}]', /not the JSON that was expected/],
      ['a text', '"hello"', /not the JSON that was expected/],
      [
        'a page',
        '<!doctype html><html><head><title>Welcome to the hotel</title></head></html>',
        /Welcome to the hotel/,
      ],
    ])('with status 200, in place of a JSON object: %s', async (_what, body, message) => {
      upstream.answer(({ response }) => response.writeHead(200, { 'content-type': 'application/json' }).end(body));
      expectError(await ask('gpt'), 'upstream_invalid_response', { message });
      await settled(500, 'upstream_invalid_response');
    });

    it('with status 200 and an error inside', async () => {
      upstream.answer((call) => sendJson(call, 200, { error: { message: 'rate limit reached', code: 429 } }));
      const answer = await ask('gpt');
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect((answer.json()['error'] as JsonObject)['message']).toMatch(/rate limit reached/);
    });

    it('with a compressed answer that nobody asked for', async () => {
      upstream.answer(({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
        response.end(Buffer.from('1f8b0800000000000003', 'hex'));
      });
      expectError(await ask('gpt'), 'upstream_invalid_response');
    });

    it('with headers that can not be passed on', async () => {
      upstream.answer(({ socket }) => {
        const body = JSON.stringify(COMPLETION);
        const strange =
          'x-bytes: caf\xe9 \x80\r\nx-empty:\r\nset-cookie: a=b\r\nx-twice: 1\r\nx-twice: 2\r\nx-litellm-call-id: theirs\r\n';
        const head = `HTTP/1.1 200 OK\r\n${strange}content-type: application/json\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
        socket.write(Buffer.from(head, 'latin1'));
        socket.end(body);
      });
      const answer = await ask('gpt');
      expect(answer.json()).toEqual(COMPLETION);
      expect(answer.headers['x-litellm-call-id']).not.toBe('theirs');
      expect(answer.headers['llm_provider-x-litellm-call-id']).toBe('theirs');
      expect(answer.headers).not.toHaveProperty('set-cookie');
      expect(answer.headers).not.toHaveProperty('llm_provider-set-cookie');
    });

    it('with informational answers before the real one is no failure', async () => {
      upstream.answer((call) => {
        call.response.writeProcessing();
        call.response.writeEarlyHints({ link: '</x>; rel=preload' });
        sendJson(call, 200, COMPLETION);
      });
      expect((await ask('gpt')).json()).toEqual(COMPLETION);
    });
  });

  describe('with an error status keeps its class', () => {
    const JSON_ERROR = { error: { message: 'as told', type: 'some_type', param: 'temperature', code: 'some_code' } };
    const HTML =
      '<!DOCTYPE html><html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx/1.2</body></html>';
    it.each([
      [400, 'upstream_bad_request', 400],
      [401, 'upstream_authentication', 401],
      [402, 'upstream_api_error', 402],
      [403, 'upstream_permission_denied', 403],
      [404, 'upstream_not_found', 404],
      [408, 'upstream_timeout', 408],
      [409, 'upstream_api_error', 409],
      [413, 'upstream_api_error', 413],
      [418, 'upstream_api_error', 418],
      [422, 'upstream_unprocessable', 422],
      [429, 'upstream_rate_limit', 429],
      [500, 'upstream_internal', 500],
      [502, 'upstream_bad_gateway', 502],
      [503, 'upstream_unavailable', 503],
      [504, 'upstream_timeout', 408],
      [529, 'upstream_unavailable', 503],
      [599, 'upstream_api_error', 599],
    ] as const)('%d, in JSON and in HTML, streaming and not', async (status, code, shown) => {
      const client = {
        status: shown,
        ...(code === 'upstream_api_error' && shown < 500 ? { type: 'invalid_request_error' } : {}),
      };
      for (const stream of [false, true]) {
        upstream.answer((call) => sendJson(call, status, JSON_ERROR));
        expectError(await ask('gpt', { stream }), code, {
          ...client,
          param: 'temperature',
          message: /Exception - as told$/,
        });
        upstream.answer(({ response }) => response.writeHead(status, { 'content-type': 'text/html' }).end(HTML));
        const page = await ask('gpt', { stream });
        expectError(page, code, { ...client, message: /HTML page: 503 Service Temporarily Unavailable$/ });
        expect(page.text).not.toMatch(/<|nginx/);
      }
      const records = await gateway.settledSince(before, 4);
      for (const record of records)
        expect(record).toMatchObject({ status: 'failure', httpStatus: shown, errorCode: code, costNano: 0 });
    });

    it.each([301, 302, 307, 304])('%d is not followed: a provider that moved is a bad gateway', async (status) => {
      upstream.answer(({ response }) => response.writeHead(status, { location: `${second.url}/v1/elsewhere` }).end());
      expectError(await ask('gpt'), 'upstream_bad_gateway');
      expect(second.calls).toEqual([]);
      await settled(502, 'upstream_bad_gateway');
    });

    it('an error without a body or with a very long one', async () => {
      upstream.answer(({ response }) => response.writeHead(500).end());
      expectError(await ask('gpt'), 'upstream_internal', { message: /HTTP status 500 without a message/ });
      upstream.answer((call) => sendJson(call, 500, 'x'.repeat(3_000_000)));
      const answer = await ask('gpt');
      expectError(answer, 'upstream_internal', { message: /x{2000}\.\.\. \(cut\)$/ });
      expect(answer.text.length).toBeLessThan(3_000);
    });

    it('an error whose body never ends', async () => {
      upstream.answer(({ response }) => response.writeHead(503).write('partly'));
      const answer = await ask('gpt');
      expect(answer.status).toBeGreaterThanOrEqual(400);
      await (await upstream.call(0)).closed;
    });

    it.each([
      ['the key of the deployment', SECRET],
      ['a secret header of the deployment', HEADER_SECRET],
      ['a key of anybody', 'sk-proj-abcdefghijklmnopqrstuvwxyz'],
      ['a bearer token', 'Bearer abcdefghijklmnop.qrstuv'],
    ])('and strikes %s from its text, in the answer and in the log', async (_what, secret) => {
      const logged = gateway.logText().length;
      for (const status of [401, 200]) {
        upstream.answer((call) =>
          sendJson(call, status, { error: { message: `Incorrect API key provided: ${secret}.` } }),
        );
        const answer = await ask('gpt');
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect(answer.text).toContain('[credential]');
        expect(answer.text + JSON.stringify(answer.headers)).not.toContain(secret);
      }
      upstream.answer(({ response }) => response.writeHead(200).end(`this is not JSON but ${secret}`));
      expect((await ask('gpt')).text).not.toContain(secret);
      expect(gateway.logText().slice(logged)).not.toContain(secret);
      expect(gateway.metricsText()).not.toContain(secret);
    });
  });

  describe('is replaced by the next deployment of its group', () => {
    it.each([false, true])('when it refuses (stream: %s)', async (stream) => {
      const answer = await ask('refused-first', { stream });
      expect(answer.status).toBe(200);
      expect(answer.headers['x-litellm-model-id']).toBe('second-2');
      const [failed, served] = await gateway.settledSince(before, 2);
      expect(failed).toMatchObject({ status: 'failure', errorCode: 'upstream_connection', costNano: 0 });
      expect(served).toMatchObject({ status: 'success', modelId: 'second-2', costNano: 11 * 1_000 + 7 * 2_000 });
      // Both attempts are rows of one call.
      expect(served?.callId).toBe(answer.headers['x-litellm-call-id']);
      expect(failed?.callId).toBe(served?.callId);
      expect(failed?.requestId).not.toBe(served?.requestId);
      expect(gateway.access().at(-1)).toMatchObject({ status: 200, modelId: 'second-2' });
    });

    const failures: readonly [string, (upstream: FaultUpstream) => void][] = [
      ['500', (first) => first.answer((call) => sendJson(call, 500, { error: { message: 'no' } }))],
      ['429', (first) => first.answer((call) => sendJson(call, 429, { error: { message: 'no' } }))],
      ['401', (first) => first.answer((call) => sendJson(call, 401, { error: { message: 'no' } }))],
      ['a reset', (first) => first.answer(({ socket }) => socket.resetAndDestroy())],
      ['silence', (first) => first.answer(() => undefined)],
      ['garbage', (first) => first.answer(({ socket }) => socket.end('garbage'))],
      ['no JSON', (first) => first.answer(({ response }) => response.end('garbage'))],
      [
        'an error as the first event of a stream',
        (first) =>
          first.answer(({ response }) => {
            response.writeHead(200, { 'content-type': 'text/event-stream' });
            response.end('data: {"error":{"message":"overloaded","code":529}}\n\n');
          }),
      ],
      [
        'a stream that ends before it begins',
        (first) =>
          first.answer(({ response }) =>
            response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': hello\n\n'),
          ),
      ],
      [
        'a stream that is cut before its first event',
        (first) =>
          first.answer((call) => {
            beginStream(call, ': hello\n\ndata: {"id":');
            setTimeout(() => call.socket.destroy(), 20);
          }),
      ],
    ];
    it.each(failures)('after %s, and the client sees nothing of it', async (_what, fail) => {
      for (const stream of [false, true]) {
        fail(upstream);
        before = gateway.usage().settled.length;
        const answer = await ask('pair', { stream });
        expect({ status: answer.status, id: answer.headers['x-litellm-model-id'] }).toEqual({
          status: 200,
          id: 'second',
        });
        if (stream) expect(answer.text).toBe(STREAM.replace(/data: [^\n]*"usage"[^\n]*\n\n/, ''));
        else expect(answer.json()).toEqual(COMPLETION);
        const [failed, served] = await gateway.settledSince(before, 2);
        expect([failed?.status, served?.status]).toEqual(['failure', 'success']);
        expect([failed?.modelId, served?.modelId]).toEqual(['first', 'second']);
      }
    });

    it.each([400, 413, 422])('but not after %d: what the client got wrong is wrong everywhere', async (status) => {
      upstream.answer((call) => sendJson(call, status, { error: { message: 'your fault' } }));
      expect((await ask('pair')).status).toBe(status);
      expect(second.calls).toEqual([]);
      expect(await gateway.settledSince(before)).toHaveLength(1);
    });

    it('but not after content was sent: the client is told instead', async () => {
      upstream.answer((call) => {
        beginStream(call, chunk('a'), chunk('b'));
        setTimeout(() => call.socket.destroy(), 20);
      });
      const answer = await ask('pair', { stream: true });
      expect(answer.status).toBe(200);
      expect(answer.text.startsWith(chunk('a') + chunk('b'))).toBe(true);
      expect(answer.text).not.toContain(DONE);
      expect(second.calls).toEqual([]);
      expect(await gateway.settledSince(before)).toHaveLength(1);
    });

    it('and when all fail, the last error is the answer', async () => {
      upstream.answer((call) => sendJson(call, 500, { error: { message: 'first' } }));
      second.answer((call) => sendJson(call, 429, { error: { message: 'second' } }));
      expectError(await ask('pair'), 'upstream_rate_limit', { message: /second$/ });
      const records = await gateway.settledSince(before, 2);
      expect(records.map(({ httpStatus }) => httpStatus)).toEqual([500, 429]);
      expect(gateway.access().at(-1)).toMatchObject({ status: 429, errorCode: 'upstream_rate_limit' });
    });
  });

  it('is named in headers whatever letters its configuration has', async () => {
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    const answer = await ask('日本語');
    expect(answer.json()).toEqual(COMPLETION);
    expect(answer.headers['x-litellm-model-id']).toBe(encodeURIComponent('東京'));
    expect(answer.headers['x-litellm-model-group']).toBe(encodeURIComponent('日本語'));
    expect((await gateway.settledSince(before))[0]).toMatchObject({ modelId: '東京', modelGroup: '日本語' });
  });

  it('does no harm: the next call is served', async () => {
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    expect((await ask('gpt')).json()).toEqual(COMPLETION);
    await gateway.settledSince(before);
    expect(gateway.logText()).not.toContain('internal_error');
    expect(gateway.logText()).not.toContain('A request failed when');
  });
});
