import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/domain/error-catalogue.ts';
import { ERROR_CATALOGUE } from '../../src/domain/error-catalogue.ts';
import type { UsageRecord } from '../../src/domain/usage.ts';
import type { JsonObject } from '../../src/domain/virtual-key.ts';
import { EVENT_BYTES_MAX } from '../../src/gateway/streaming/stream-tap.ts';
import { startCall } from '../support/fake-client.ts';
import { type Answer, type GatewayHarness, KEY, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { requestText } from '../support/http-raw.ts';
import { until } from '../support/until.ts';
import { expectError } from './envelope.ts';
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
  type UpstreamCall,
  USAGE_CHUNK,
} from './fault-upstream.ts';
import { leavesNothingOpen } from './leaks.ts';

const SECRET = 'upstream-credential-0123456789';
const CHAT = { model: 'gpt', messages: [{ role: 'user', content: 'hello' }], stream: true };
const TIMEOUT_S = 1;
/** What a client sees of `STREAM` that did not ask for usage. */
const CONTENT = chunk('Grüße ') + chunk('🌍') + chunk('', 'stop');

describe('a provider whose stream is not as it should be', () => {
  leavesNothingOpen();
  let gateway: GatewayHarness;
  let upstream: FaultUpstream;
  let before = 0;
  beforeAll(async () => {
    upstream = await startFaultUpstream();
    const up = { model: 'openai/gpt', api_base: `${upstream.url}/v1`, api_key: SECRET, stream_timeout: TIMEOUT_S };
    gateway = await startGateway({
      models: [modelEntry('gpt', up), modelEntry('patient', { ...up, stream_timeout: 25 })],
    });
  });
  beforeEach(() => {
    before = gateway.usage().settled.length;
  });
  afterAll(async () => {
    await gateway.stop();
    await upstream.stop();
  });

  const ask = (more: JsonObject = {}): Promise<Answer> => gateway.call({ ...CHAT, ...more });
  const settled = async (): Promise<UsageRecord> => {
    const [record] = await gateway.settledSince(before);
    return record!;
  };
  const expectServed = async (answer: Answer, text: string, estimated = false): Promise<UsageRecord> => {
    expect(answer.text).toBe(text);
    expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
    const record = await settled();
    expect(record).toMatchObject({ status: 'success', httpStatus: 200, errorCode: null, estimated });
    if (!estimated) expect(record.usage).toMatchObject({ promptTokens: 11, completionTokens: 7 });
    return record;
  };
  /** Status 200, then `content`, then one event with the error, and nothing behind it. */
  const expectCut = async (answer: Answer, content: string, code: ErrorCode, message: RegExp): Promise<UsageRecord> => {
    expect(answer.status).toBe(200);
    expect(answer.text.slice(0, content.length)).toBe(content);
    const [frame, ...rest] = answer.text.slice(content.length).split('\n\n');
    expect(rest).toEqual(['']);
    const { status, type } = ERROR_CATALOGUE[code];
    expect(JSON.parse(frame!.replace('data: ', ''))).toEqual({
      error: { message: expect.stringMatching(message), type, param: null, code: String(status) },
    });
    const record = await settled();
    expect(record).toMatchObject({ status: 'failure', httpStatus: status, errorCode: code });
    return record;
  };
  const stream = (call: UpstreamCall, ...pieces: readonly (string | Buffer)[]): void => {
    beginStream(call, ...pieces);
    call.response.end();
  };

  describe('in form is relayed all the same', () => {
    it('with the usage chunk only for a client that asked for it', async () => {
      upstream.answer((call) => stream(call, STREAM));
      await expectServed(await ask(), CONTENT + DONE);
      before += 1;
      upstream.answer((call) => stream(call, STREAM));
      await expectServed(await ask({ stream_options: { include_usage: true } }), CONTENT + USAGE_CHUNK + DONE);
    });

    it('with CR LF for line ends', async () => {
      upstream.answer((call) => stream(call, STREAM.replaceAll('\n', '\r\n')));
      await expectServed(await ask(), CONTENT.replaceAll('\n', '\r\n') + DONE);
    });

    it('with comments and other events first, in between and last', async () => {
      const comment = ': OPENROUTER PROCESSING\n\n';
      const text = `${comment}event: ping\ndata: {}\n\n${chunk('a')}${comment}${chunk('', 'stop')}${comment}${USAGE_CHUNK}${DONE}${comment}`;
      upstream.answer((call) => stream(call, text));
      const answer = await ask();
      expect(answer.text).toContain(chunk('a'));
      expect(answer.text.endsWith(DONE)).toBe(true);
      expect((await settled()).usage).toMatchObject({ promptTokens: 11, completionTokens: 7 });
    });

    it('with fields that have no blank after the colon, an id and a name', async () => {
      const text = STREAM.replaceAll('data: ', 'id:1\nevent:message\ndata:');
      upstream.answer((call) => stream(call, text));
      const answer = await ask();
      expect(answer.text).toContain(chunk('🌍').replace('data: ', 'id:1\nevent:message\ndata:'));
      expect(answer.text.endsWith(DONE)).toBe(true);
      expect((await settled()).estimated).toBe(false);
    });

    it('one byte at a time', async () => {
      upstream.answer(async (call) => {
        beginStream(call);
        call.socket.setNoDelay(true);
        for (const byte of Buffer.from(STREAM)) {
          call.response.write(Buffer.from([byte]));
          await new Promise((resolve) => setImmediate(resolve));
        }
        call.response.end();
      });
      await expectServed(await ask(), CONTENT + DONE);
    });

    it('with one very large event', async () => {
      const large = chunk('ü'.repeat(2_000_000));
      upstream.answer((call) => stream(call, chunk('a'), large, chunk('', 'stop'), USAGE_CHUNK, DONE));
      await expectServed(await ask(), chunk('a') + large + chunk('', 'stop') + DONE);
    });

    it('without usage: it is estimated', async () => {
      upstream.answer((call) => stream(call, CONTENT, DONE));
      const { usage } = await expectServed(await ask(), CONTENT + DONE, true);
      expect(usage.promptTokens).toBe(Math.ceil(JSON.stringify(CHAT).length / 3.5));
      expect(usage.completionTokens).toBeGreaterThanOrEqual(2);
    });

    it('without events at all, but with an end', async () => {
      upstream.answer((call) => stream(call, DONE));
      await expectServed(await ask(), DONE, true);
    });

    it.each([
      ['[DONE]', STREAM.trimEnd()],
      ['[DONE], with one line end', `${STREAM.trimEnd()}\n`],
      ['the usage chunk', (CONTENT + USAGE_CHUNK).trimEnd()],
    ])('with no blank line behind %s', async (_what, text) => {
      upstream.answer((call) => stream(call, text));
      await expectServed(await ask(), CONTENT + DONE);
    });

    it('with no blank line behind its last chunk', async () => {
      upstream.answer((call) => stream(call, (chunk('a') + chunk('', 'stop')).trimEnd()));
      await expectServed(await ask(), chunk('a') + chunk('', 'stop') + DONE, true);
    });

    it('as a single event without a blank line', async () => {
      upstream.answer((call) => stream(call, chunk('a', 'stop').trimEnd()));
      await expectServed(await ask(), chunk('a', 'stop') + DONE, true);
    });

    it.each([[false], [true]])(
      'although it is JSON, as the stream that was asked for (usage: %s)',
      async (include_usage) => {
        upstream.answer((call) => sendJson(call, 200, COMPLETION));
        const answer = await ask({ stream_options: { include_usage } });
        const events = answer.text.split('\n\n');
        expect(events.slice(-2)).toEqual(['data: [DONE]', '']);
        const [first, ...rest] = events
          .slice(0, -2)
          .map((event) => JSON.parse(event.replace('data: ', '')) as JsonObject);
        expect(first).toMatchObject({
          id: COMPLETION.id,
          object: 'chat.completion.chunk',
          choices: [{ index: 0, delta: { role: 'assistant', content: 'Grüße 🌍' }, finish_reason: 'stop' }],
        });
        expect(rest.map(({ usage }) => usage)).toEqual(include_usage ? [COMPLETION.usage] : []);
        await expectServed(answer, answer.text);
      },
    );
  });

  describe('does not end', () => {
    it('behind [DONE]: the client is done at once, and the connection is not kept for long', async () => {
      upstream.answer((call) => beginStream(call, STREAM));
      const startedAt = performance.now();
      const answer = await ask({ model: 'patient' });
      expect(performance.now() - startedAt).toBeLessThan(1_000);
      await expectServed(answer, CONTENT + DONE);
      const call = await upstream.call(0);
      expect((await call.closed) - startedAt).toBeLessThan(5_000);
    });

    it('properly, but had a finish_reason: [DONE] is added', async () => {
      upstream.answer((call) => stream(call, CONTENT, USAGE_CHUNK));
      await expectServed(await ask(), CONTENT + DONE);
      before += 1;
      upstream.answer((call) => stream(call, CONTENT));
      await expectServed(await ask(), CONTENT + DONE, true);
    });

    it('at all, but had a finish_reason: [DONE] is added when the time is over', async () => {
      upstream.answer((call) => beginStream(call, CONTENT, USAGE_CHUNK));
      await expectServed(await ask(), CONTENT + DONE);
      await (await upstream.call(0)).closed;
    });

    it('properly and had no finish_reason: it was cut', async () => {
      upstream.answer((call) => stream(call, chunk('a'), chunk('b')));
      const record = await expectCut(
        await ask(),
        chunk('a') + chunk('b'),
        'upstream_stream_cut',
        /ended the stream before it was complete/,
      );
      expect(record.usage.completionTokens).toBeGreaterThan(0);
      expect(record.costNano).toBe(record.usage.promptTokens * 1_000 + record.usage.completionTokens * 2_000);
    });

    it('and falls silent between two chunks: that is a time-out', async () => {
      upstream.answer((call) => beginStream(call, chunk('a')));
      await expectCut(await ask(), chunk('a'), 'upstream_timeout', /did not answer in time/);
      await (await upstream.call(0)).closed;
    });

    it('and is silent before its first event: that is a status', async () => {
      upstream.answer((call) => beginStream(call, ': hello\n\n'));
      expectError(await ask(), 'upstream_timeout');
    });

    it('but is slow: as long as something comes in time, it is waited for', async () => {
      upstream.answer(async (call) => {
        beginStream(call);
        for (const piece of [': wait\n\n', chunk('a'), ': wait\n\n', chunk('', 'stop'), USAGE_CHUNK, DONE]) {
          await delay(TIMEOUT_S * 250);
          call.response.write(piece);
        }
        call.response.end();
      });
      const answer = await ask();
      expect(answer.text.endsWith(DONE)).toBe(true);
      expect((await settled()).status).toBe('success');
    });
  });

  describe('is cut', () => {
    const event = Buffer.from(chunk('wörd 🌍 wörd'));
    const insideCharacter = event.indexOf(Buffer.from('🌍')) + 2;
    it.each([
      ['in the middle of an event', event.subarray(0, 30)],
      ['in the middle of a character', event.subarray(0, insideCharacter)],
      ['just before the blank line', event.subarray(0, event.length - 1)],
      ['between two events', Buffer.alloc(0)],
    ])('%s: whole events reach the client, then one that says so', async (_what, last) => {
      upstream.answer((call) => {
        beginStream(call, chunk('a'), last);
        setTimeout(() => call.socket.destroy(), 20);
      });
      const record = await expectCut(
        await ask(),
        chunk('a'),
        'upstream_connection',
        /closed the connection before the answer was complete/,
      );
      expect(record.estimated).toBe(true);
      before += 1;
      // The same, but with a proper end of the HTTP answer behind it.
      upstream.answer((call) => stream(call, chunk('a'), last.subarray(0, Math.min(last.length, insideCharacter))));
      await expectCut(await ask(), chunk('a'), 'upstream_stream_cut', /ended the stream before it was complete/);
    });

    it('by a reset: the same', async () => {
      upstream.answer((call) => {
        beginStream(call, chunk('a'));
        setTimeout(() => call.socket.resetAndDestroy(), 20);
      });
      await expectCut(await ask(), chunk('a'), 'upstream_connection', /closed the connection/);
    });

    it('by what is no chunk of HTTP: the same', async () => {
      upstream.answer((call) => {
        beginStream(call, chunk('a'));
        setTimeout(() => call.socket.write('this is no chunk\r\n'), 20);
      });
      await expectCut(await ask(), chunk('a'), 'upstream_invalid_response', /not a valid HTTP answer/);
    });

    it('by us when one event is larger than an event may be', async () => {
      const endless = `data: {"id":"x","choices":[{"delta":{"content":"${'x'.repeat(EVENT_BYTES_MAX)}`;
      upstream.answer((call) => beginStream(call, chunk('a'), endless));
      await expectCut(await ask(), chunk('a'), 'upstream_stream_cut', /larger than an event may be/);
      await (await upstream.call(0)).closed;
    });
  });

  describe('holds an error', () => {
    const error = sse({ error: { message: `overloaded, your key is ${SECRET}`, type: 'overloaded_error', code: 503 } });

    it('before any content: that is a status', async () => {
      upstream.answer((call) => stream(call, `: hello\n\n${error}`));
      const answer = await ask();
      expectError(answer, 'upstream_unavailable', { message: /overloaded, your key is \[credential\]/ });
      expect((await settled()).costNano).toBe(0);
    });

    it.each([
      ['then the end', error + DONE],
      ['then more', error + chunk('b') + DONE],
      ['then nothing, but it stays open', error],
    ])('after content, %s: it is the last event, without credentials', async (_what, last) => {
      upstream.answer((call) => {
        beginStream(call, chunk('a'));
        setTimeout(() => call.response.write(last), 20);
      });
      const startedAt = performance.now();
      const answer = await ask({ model: 'patient' });
      expect(performance.now() - startedAt).toBeLessThan(5_000);
      await expectCut(answer, chunk('a'), 'upstream_internal', /overloaded, your key is \[credential\]/);
      await (await upstream.call(0)).closed;
    });

    it('in name only: null, or inside the content', async () => {
      const harmless = sse({
        id: 'x',
        error: null,
        choices: [{ index: 0, delta: { content: '{"error":"x"}' }, finish_reason: 'stop' }],
      });
      upstream.answer((call) => stream(call, chunk('a'), harmless, USAGE_CHUNK, DONE));
      await expectServed(await ask(), chunk('a') + harmless + DONE);
    });

    it('and garbage in place of JSON in an event goes through as it came', async () => {
      const garbage = 'data: this is no JSON\n\n';
      upstream.answer((call) => stream(call, chunk('a'), garbage, chunk('', 'stop'), USAGE_CHUNK, DONE));
      await expectServed(await ask(), chunk('a') + garbage + chunk('', 'stop') + DONE);
    });

    it('and garbage in place of a stream was never one', async () => {
      upstream.answer((call) => stream(call, Buffer.from([0xff, 0x00, 0x80, 0x0a, 0x0a, 0xfe])));
      const answer = await ask();
      expect(answer.status).toBeGreaterThanOrEqual(500);
      expect((await settled()).status).toBe('failure');
    });
  });

  describe('is slower or faster than its client', () => {
    it('stands still while the client does not read, and is not timed out for it', async () => {
      const big = chunk('x'.repeat(64 * 1024));
      const pieces = 400;
      upstream.answer(async (call) => {
        beginStream(call);
        for (let sent = 0; sent < pieces; sent++) {
          if (!call.response.write(big)) await new Promise((resolve) => call.response.once('drain', resolve));
        }
        call.response.end(chunk('', 'stop') + USAGE_CHUNK + DONE);
      });
      const socket = connect({ port: gateway.port, host: '127.0.0.1' });
      socket.write(
        requestText('POST', '/v1/chat/completions', { Authorization: `Bearer ${KEY}` }, JSON.stringify(CHAT)),
      );
      const call = await upstream.call(0);
      await until('the provider stands still', async () => {
        const { bytesWritten } = call.socket;
        await delay(200);
        return bytesWritten > 0 && call.socket.bytesWritten === bytesWritten ? true : null;
      });
      expect(call.socket.bytesWritten).toBeLessThan(pieces * big.length);
      await delay(TIMEOUT_S * 1_000 * 2);
      let received = 0;
      let last = Buffer.alloc(0);
      socket.on('data', (piece) => {
        received += piece.length;
        last = Buffer.concat([last, piece]).subarray(-100);
      });
      await until('the last byte', () => (last.toString().endsWith('0\r\n\r\n') ? true : null));
      expect(last.toString()).toContain('data: [DONE]');
      expect(received).toBeGreaterThan(pieces * big.length);
      socket.destroy();
      expect(await settled()).toMatchObject({ status: 'success', usage: { completionTokens: 7 } });
    });

    it('reaches several clients at their own pace', async () => {
      upstream.answer((call) =>
        stream(
          call,
          ...Array.from({ length: 50 }, () => chunk('x'.repeat(1_000))),
          chunk('', 'stop'),
          USAGE_CHUNK,
          DONE,
        ),
      );
      const slow = startCall({ url: gateway.url, key: KEY, body: CHAT, bytesPerSecond: 200_000 });
      const quick = await ask();
      expect(quick.text.endsWith(DONE)).toBe(true);
      expect(await slow.end).toBe('complete');
      expect(slow.text()).toBe(quick.text);
      await gateway.settledSince(before, 2);
    });
  });

  it('does no harm: nothing was logged as our own fault', async () => {
    upstream.answer((call) => stream(call, STREAM));
    await expectServed(await ask(), CONTENT + DONE);
    expect(gateway.logText()).not.toContain('internal_error');
    expect(gateway.logText()).not.toContain('A request failed when');
    expect(gateway.logText()).not.toContain(SECRET);
  });
});
