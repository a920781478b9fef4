import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { UsageRecord } from '../../src/domain/usage.ts';
import { type StreamingCall, startCall } from '../support/fake-client.ts';
import { type GatewayHarness, KEY, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { connectRaw, requestText } from '../support/http-raw.ts';
import { until } from '../support/until.ts';
import {
  beginStream,
  COMPLETION,
  chunk,
  DONE,
  type FaultUpstream,
  STREAM,
  sendJson,
  sse,
  startFaultUpstream,
  USAGE_CHUNK,
} from './fault-upstream.ts';
import { leavesNothingOpen } from './leaks.ts';

const PATH = '/v1/chat/completions';
const CHAT = { model: 'gpt', messages: [{ role: 'user', content: 'x'.repeat(300) }] };
/** What the prompt is taken to be when the provider does not say: bytes at 3.5 a token. */
const promptTokens = (body: object) => Math.ceil(Buffer.byteLength(JSON.stringify(body)) / 3.5);
/** The promise: the provider hears of it within a second. */
const ABORT_MAX_MS = 1_000;
const HELD_BYTES_MAX = 64 * 1024;

/** Plain requests are read by the gateway's own front; anything else, like one from a browser, by Node's server. */
const REQUESTS = [
  ['a plain request', {}],
  ['a request of a browser', { Origin: 'http://localhost' }],
] as const;

describe.each(REQUESTS)('a client that leaves, after %s', (_request, more) => {
  const AUTH = { Authorization: `Bearer ${KEY}`, ...more };
  leavesNothingOpen();
  let gateway: GatewayHarness;
  let upstream: FaultUpstream;
  let before = 0;
  let logged = 0;
  beforeAll(async () => {
    upstream = await startFaultUpstream();
    const up = { model: 'openai/gpt', api_base: `${upstream.url}/v1`, api_key: 'sk-up' };
    gateway = await startGateway({
      models: [modelEntry('gpt', up), modelEntry('pair', { ...up, order: 1 }), modelEntry('pair', { ...up, order: 2 })],
      responseHeldBytesMax: HELD_BYTES_MAX,
    });
  });
  beforeEach(() => {
    before = gateway.usage().settled.length;
    logged = gateway.access().length;
  });
  afterAll(async () => {
    await gateway.stop();
    await upstream.stop();
  });

  const start = (body: object): StreamingCall => startCall({ url: gateway.url, key: KEY, body, headers: more });
  /** Leaves, and says after how many milliseconds the provider saw its connection close. */
  const leave = async (client: StreamingCall): Promise<number> => {
    const call = await upstream.call(0);
    const leftAt = performance.now();
    client.leave();
    return (await call.closed) - leftAt;
  };
  /** The one settlement of the call that was left. */
  const settledAsLeft = async (): Promise<UsageRecord> => {
    const [record] = await gateway.settledSince(before);
    expect(record).toMatchObject({ status: 'failure', httpStatus: 499, errorCode: 'client_closed_request' });
    const { usage, costNano } = record!;
    expect(costNano).toBe(usage.promptTokens * 1_000 + usage.completionTokens * 2_000);
    const access = await until('the access log tells', () => gateway.access()[logged]);
    expect(access).toMatchObject({ status: 499, errorCode: 'client_closed_request', costNano });
    await gateway.quiet();
    expect((await gateway.settledSince(before)).length).toBe(1);
    return record!;
  };

  it('before its request is complete costs nothing and reaches no provider', async () => {
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    const connection = await connectRaw({ port: gateway.port });
    await connection.write(
      requestText('POST', PATH, { ...AUTH, 'Content-Length': '500', 'X-Request-Id': 'left-early' }),
    );
    await connection.write('{"model":"gpt",');
    await until('the request is seen', async () => ((await gateway.connections()) > 0 ? true : null));
    connection.destroy();
    const record = await until('the access log tells', () =>
      gateway.access().find(({ callId }) => callId === 'left-early'),
    );
    expect(record).toMatchObject({ status: 499, errorCode: 'client_closed_request', costNano: 0 });
    await gateway.quiet();
    expect(gateway.usage().settled.length).toBe(before);
    expect(upstream.calls).toEqual([]);
  });

  it('in the moment in which its request is complete is settled once and not sent on', async () => {
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    // Request and end arrive together, so the client is gone before the intent is on disk, or just after.
    for (let round = 0; round < 20; round++) {
      const connection = await connectRaw({ port: gateway.port });
      connection.socket.write(requestText('POST', PATH, AUTH, JSON.stringify(CHAT)));
      connection.socket.resetAndDestroy();
    }
    await delay(50);
    await gateway.quiet();
    const { settled, open } = gateway.usage();
    expect(open).toEqual([]);
    for (const record of settled.slice(before)) expect([200, 499]).toContain(record.httpStatus);
    expect(upstream.calls.length).toBeLessThanOrEqual(settled.length - before);
  });

  it.each([false, true])('while the provider thinks: it hears of it within a second (stream: %s)', async (stream) => {
    upstream.answer(() => undefined);
    const body = { ...CHAT, stream };
    expect(await leave(start(body))).toBeLessThan(ABORT_MAX_MS);
    const record = await settledAsLeft();
    expect(record).toMatchObject({ estimated: true, stream, firstTokenAtMs: null });
    expect(record.usage).toMatchObject({ promptTokens: promptTokens(body), completionTokens: 0 });
  });

  it('while a JSON answer is held: the provider hears of it within a second, and what had come is counted', async () => {
    const text = JSON.stringify({ ...COMPLETION, choices: [{ index: 0, message: { content: 'x'.repeat(7_000) } }] });
    upstream.answer(({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(text.slice(0, 3_500));
    });
    const client = start(CHAT);
    await upstream.call(0);
    await delay(50);
    expect(await leave(client)).toBeLessThan(ABORT_MAX_MS);
    const record = await settledAsLeft();
    expect(record.estimated).toBe(true);
    expect(record.usage).toMatchObject({ promptTokens: promptTokens(CHAT), completionTokens: 1_000 });
  });

  it('during an answer that is too long to be held: what had come is counted', async () => {
    const length = 4 * HELD_BYTES_MAX;
    upstream.answer(({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write(`{"choices":[{"message":{"content":"${'x'.repeat(length)}`);
    });
    const client = start(CHAT);
    await client.read(length / 2);
    await delay(50);
    expect(await leave(client)).toBeLessThan(ABORT_MAX_MS);
    const record = await settledAsLeft();
    expect(record.usage.completionTokens).toBeGreaterThan(length / 4);
    expect(record.usage.completionTokens).toBeLessThan(length / 3);
  });

  it('during a stream: the provider hears of it within a second, and what was delivered is counted', async () => {
    upstream.answer((call) => beginStream(call, ...Array.from({ length: 20 }, () => chunk('word '))));
    const body = { ...CHAT, stream: true };
    const client = start(body);
    await client.read(20 * chunk('word ').length);
    expect(await leave(client)).toBeLessThan(ABORT_MAX_MS);
    const record = await settledAsLeft();
    expect(record).toMatchObject({ estimated: true, providerId: 'chatcmpl-upstream', answeredModel: 'up-model' });
    expect(record.firstTokenAtMs).not.toBeNull();
    expect(record.usage.promptTokens).toBe(promptTokens(body));
    expect(record.usage.completionTokens).toBeGreaterThanOrEqual(19);
    expect(record.usage.completionTokens).toBeLessThanOrEqual(30);
  });

  it('during a stream whose chunks carry the usage so far: that is what is settled', async () => {
    const withUsage = (completion: number) =>
      sse({
        id: 'u-1',
        choices: [{ index: 0, delta: { content: 'x' } }],
        usage: { prompt_tokens: 5, completion_tokens: completion },
      });
    upstream.answer((call) => beginStream(call, withUsage(1), withUsage(2), withUsage(3)));
    const client = start({ ...CHAT, stream: true });
    await client.read(3 * withUsage(1).length);
    await leave(client);
    const record = await settledAsLeft();
    expect(record.estimated).toBe(false);
    expect(record.usage).toMatchObject({ promptTokens: 5, completionTokens: 3 });
  });

  it('after the last chunk but before the end: the usage that the provider reported is settled', async () => {
    upstream.answer((call) => beginStream(call, chunk('a'), chunk('', 'stop'), USAGE_CHUNK));
    const client = start({ ...CHAT, stream: true });
    await client.read(chunk('a').length + 10);
    await delay(20);
    await leave(client);
    const record = await settledAsLeft();
    expect(record).toMatchObject({ estimated: false, usage: { promptTokens: 11, completionTokens: 7 } });
  });

  it('after the end has been a good client: the call is settled as a success', async () => {
    upstream.answer((call) => beginStream(call, STREAM));
    const client = start({ ...CHAT, stream: true });
    await until('the end has come', () => (client.text().endsWith(DONE) ? true : null));
    client.leave();
    // The provider kept its side open after [DONE]; its connection must not be waited for.
    const [record] = await gateway.settledSince(before);
    expect(record).toMatchObject({
      status: 'success',
      httpStatus: 200,
      usage: { promptTokens: 11, completionTokens: 7 },
    });
    (await upstream.call(0)).response.end();
    await gateway.quiet();
  });

  it('while it has stopped reading: the provider hears of it within a second', async () => {
    const big = chunk('x'.repeat(64 * 1024));
    upstream.answer((call) => {
      beginStream(call);
      const pump = (): void => {
        while (call.response.write(big));
      };
      call.response.on('drain', pump);
      pump();
    });
    const connection = await connectRaw({ port: gateway.port });
    await connection.write(requestText('POST', PATH, AUTH, JSON.stringify({ ...CHAT, stream: true })));
    connection.socket.pause();
    const call = await upstream.call(0);
    await until('the provider is stopped', async () => {
      const { bytesWritten } = call.socket;
      await delay(100);
      return call.socket.bytesWritten === bytesWritten && bytesWritten > 0 ? true : null;
    });
    const leftAt = performance.now();
    connection.destroy();
    expect((await call.closed) - leftAt).toBeLessThan(ABORT_MAX_MS);
    await settledAsLeft();
  });

  it('by closing only its own direction is gone all the same', async () => {
    upstream.answer((call) => beginStream(call, chunk('a')));
    const connection = await connectRaw({ port: gateway.port });
    await connection.write(requestText('POST', PATH, AUTH, JSON.stringify({ ...CHAT, stream: true })));
    const call = await upstream.call(0);
    const leftAt = performance.now();
    connection.socket.end();
    expect((await call.closed) - leftAt).toBeLessThan(ABORT_MAX_MS);
    connection.destroy();
    await settledAsLeft();
  });

  it('between two attempts is not tried for again, or is settled as left', async () => {
    let client: StreamingCall | null = null;
    for (let round = 0; round < 10; round++) {
      before = gateway.usage().settled.length;
      // The failure and the news that the client has left arrive together, in this order or the other.
      upstream.answer((call) => {
        if (upstream.calls.length > 1) return;
        client?.leave();
        sendJson(call, 500, { error: { message: 'no' } });
      });
      client = start({ ...CHAT, model: 'pair' });
      await client.end;
      await gateway.quiet();
      const records = gateway.usage().settled.slice(before);
      expect(records.at(-1)).toMatchObject({ status: 'failure' });
      expect(records.length).toBeLessThanOrEqual(2);
      if (records.length === 2) expect(records[1]).toMatchObject({ httpStatus: 499 });
    }
  });

  it.each(['end', 'reset'])('with a large request sent ahead, it is noticed all the same (%s)', async (how) => {
    upstream.answer((call) => beginStream(call, chunk('a')));
    const connection = await connectRaw({ port: gateway.port });
    const request = requestText('POST', PATH, AUTH, JSON.stringify({ ...CHAT, stream: true }));
    await connection.write(request);
    const call = await upstream.call(0);
    const ahead = requestText('POST', PATH, AUTH, JSON.stringify({ ...CHAT, user: 'x'.repeat(500_000) }));
    // Less than the whole: what is under way is the first request only.
    connection.socket.write(ahead.subarray(0, 400_000));
    await delay(100);
    const leftAt = performance.now();
    if (how === 'reset') connection.socket.resetAndDestroy();
    else connection.destroy();
    expect((await call.closed) - leftAt).toBeLessThan(ABORT_MAX_MS);
    await gateway.settledSince(before);
    await gateway.quiet();
  });

  it('with several requests on one connection leaves all of them: each is aborted and settled once', async () => {
    upstream.answer((call) => beginStream(call, chunk('a')));
    const connection = await connectRaw({ port: gateway.port });
    const request = requestText('POST', PATH, AUTH, JSON.stringify({ ...CHAT, stream: true }));
    await connection.write(Buffer.concat([request, request, request]));
    const calls = await Promise.all([0, 1, 2].map((index) => upstream.call(index)));
    const leftAt = performance.now();
    connection.destroy();
    for (const { closed } of calls) expect((await closed) - leftAt).toBeLessThan(ABORT_MAX_MS);
    const records = await gateway.settledSince(before, 3);
    for (const record of records) expect(record).toMatchObject({ status: 'failure', httpStatus: 499 });
    await gateway.quiet();
  });
});
