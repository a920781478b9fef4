import { request as requestHttp } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GatewayHarness, KEY, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { connectRaw, requestText, sendRaw } from '../support/http-raw.ts';
import { until } from '../support/until.ts';
import { expectError } from './envelope.ts';
import { COMPLETION, type FaultUpstream, sendJson, startFaultUpstream } from './fault-upstream.ts';
import { leavesNothingOpen } from './leaks.ts';

const BODY_BYTES_MAX = 1_000_000;
const PATH = '/v1/chat/completions';
const AUTH = { Authorization: `Bearer ${KEY}` };
const chat = (content = 'hello') => JSON.stringify({ model: 'gpt', messages: [{ role: 'user', content }] });

describe('a request that is hard to read', () => {
  leavesNothingOpen();
  let gateway: GatewayHarness;
  let upstream: FaultUpstream;
  beforeAll(async () => {
    upstream = await startFaultUpstream();
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    gateway = await startGateway({
      models: [modelEntry('gpt', { model: 'openai/gpt', api_base: `${upstream.url}/v1`, api_key: 'sk-up' })],
      bodyBytesMax: BODY_BYTES_MAX,
      limits: { headerBytesMax: 8 * 1024, headersTimeoutMs: 400, requestTimeoutMs: 1_200 },
    });
  });
  afterAll(async () => {
    await gateway.stop();
    await upstream.stop();
  });
  const send = (bytes: Buffer | string) => sendRaw({ port: gateway.port }, bytes);
  /** The proof that a spoiled connection did no harm to the others. */
  const stillServes = async (): Promise<void> => {
    expect((await gateway.call(chat())).status).toBe(200);
  };

  describe('because it is too large', () => {
    it('is 413 with a declared length over the limit, before the body is sent', async () => {
      const head = `POST ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nContent-Length: ${BODY_BYTES_MAX + 1}\r\n\r\n`;
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(head);
      const answer = await connection.answer();
      expectError(answer, 'body_too_large', {
        message: `The request body is larger than the limit of ${BODY_BYTES_MAX} bytes.`,
      });
      expect(answer.header('connection')).toBe('close');
      await connection.closed();
      connection.destroy();
      await stillServes();
    });

    it('is 413 in chunks at the byte that passes the limit, and the connection ends', async () => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(
        `POST ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      );
      const piece = 'x'.repeat(100_000);
      for (let sent = 0; sent <= BODY_BYTES_MAX; sent += piece.length) {
        await connection.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
      }
      expectError(await connection.answer(), 'body_too_large');
      await connection.closed();
      connection.destroy();
      await stillServes();
    });

    it.each(['content-length', 'chunked'])('reaches a client that sends on without looking: %s', async (framing) => {
      // Closing with unread bytes resets the connection, and a reset may throw the answer away on its way.
      for (let round = 0; round < 10; round++) {
        const status = await new Promise<number>((resolve, reject) => {
          const request = requestHttp({
            port: gateway.port,
            host: '127.0.0.1',
            path: PATH,
            method: 'POST',
            agent: false,
            headers: {
              ...AUTH,
              ...(framing === 'chunked'
                ? { 'transfer-encoding': 'chunked' }
                : { 'content-length': 4 * BODY_BYTES_MAX }),
            },
          });
          request.once('response', (answer) => {
            answer.resume();
            answer.once('close', () => resolve(answer.statusCode ?? 0));
          });
          request.once('error', reject);
          for (let sent = 0; sent < 4; sent++) request.write(Buffer.alloc(BODY_BYTES_MAX, 0x20));
          request.end();
        });
        expect(status).toBe(413);
      }
      await stillServes();
    });

    it('is served with a body of exactly the limit', async () => {
      const fill = BODY_BYTES_MAX - chat('').length;
      expect((await gateway.call(chat('x'.repeat(fill)))).status).toBe(200);
      expectError(await gateway.call(chat('x'.repeat(fill + 1))), 'body_too_large');
    });

    it('is 413 over the limit of the configuration when that is lower', async () => {
      const small = await startGateway({ generalSettings: { max_request_size_mb: 0.001 } });
      expectError(await small.call(chat('x'.repeat(1_100))), 'body_too_large', { message: /1048 bytes/ });
      await small.stop();
    });

    it('is 431 with headers over the limit', async () => {
      expectError(
        await send(requestText('POST', PATH, { ...AUTH, 'X-Fill': 'x'.repeat(9_000) }, chat())),
        'headers_too_large',
      );
      const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`X-${index}`, 'x'.repeat(20)]));
      expectError(await send(requestText('POST', PATH, { ...AUTH, ...many }, chat())), 'headers_too_large');
      expectError(await send(`POST /${'x'.repeat(9_000)} HTTP/1.1\r\n\r\n`), 'headers_too_large');
      await stillServes();
    });
  });

  describe('because it is slow', () => {
    it('is 408 when its headers do not come in time, one byte after the other', async () => {
      const connection = await connectRaw({ port: gateway.port });
      const trickle = connection.trickle(requestText('POST', PATH, AUTH, chat()), 1, 20);
      expectError(await connection.answer(), 'request_timeout');
      await connection.closed();
      await trickle;
      connection.destroy();
      await stillServes();
    });

    it('is 408 when its body does not come in time, under the call id that the client gave', async () => {
      const body = chat('x'.repeat(500));
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(
        requestText('POST', PATH, { ...AUTH, 'Content-Length': String(body.length), 'X-Request-Id': 'slow-1' }),
      );
      const trickle = connection.trickle(body, 1, 20);
      const answer = await connection.answer();
      expectError(answer, 'request_timeout');
      expect(answer.header('x-litellm-call-id')).toBe('slow-1');
      await connection.closed();
      await trickle;
      connection.destroy();
      const record = await until('the access log tells', () =>
        gateway.access().find(({ callId }) => callId === 'slow-1'),
      );
      expect(record).toMatchObject({ status: 408, errorCode: 'request_timeout' });
      await stillServes();
    });

    it('is served when it comes one byte at a time but in time', async () => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(requestText('POST', PATH, { ...AUTH, 'Content-Length': String(chat().length) }));
      await connection.trickle(chat(), 1, 1);
      expect((await connection.answer()).status).toBe(200);
      connection.destroy();
    });

    it('costs nothing when nothing is ever sent: the connection is closed', async () => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.closed();
      connection.destroy();
      await stillServes();
    });

    it('is 408 as the second request of a connection, too', async () => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(requestText('POST', PATH, AUTH, chat()));
      expect((await connection.answer()).status).toBe(200);
      await connection.write('POST /v1/chat/comp');
      expectError(await connection.answer(), 'request_timeout');
      await connection.closed();
      connection.destroy();
    });
  });

  describe('because of how it is framed', () => {
    it('is answered in order when several are pipelined, whichever is ready first', async () => {
      upstream.answer(async (call) => {
        const { messages } = JSON.parse(call.body.toString()) as { messages: [{ content: string }] };
        const { content } = messages[0];
        await delay(content === '0' ? 120 : 10);
        sendJson(call, 200, { ...COMPLETION, id: content });
      });
      const connection = await connectRaw({ port: gateway.port });
      const requests = ['0', '1', '2'].map((content) => requestText('POST', PATH, AUTH, chat(content)));
      await connection.write(
        Buffer.concat([...requests, requestText('POST', PATH, {}, chat()), requestText('POST', PATH, AUTH, '{')]),
      );
      for (const content of ['0', '1', '2']) expect(JSON.parse((await connection.answer()).text()).id).toBe(content);
      expectError(await connection.answer(), 'no_api_key');
      expectError(await connection.answer(), 'malformed_json');
      connection.destroy();
      upstream.answer((call) => sendJson(call, 200, COMPLETION));
    });

    it('is answered when it comes in pieces around the end of the answer before it', async () => {
      for (let turns = 0; turns < 12; turns++) {
        const connection = await connectRaw({ port: gateway.port });
        const next = requestText('POST', PATH, AUTH, chat('second'));
        upstream.answer((call) => {
          if (upstream.calls.length > 1) sendJson(call, 200, { ...COMPLETION, id: '2' });
        });
        await connection.write(requestText('POST', PATH, AUTH, chat('first')));
        const first = await upstream.call(0);
        await connection.write(next.subarray(0, next.length - 20));
        await delay(5);
        sendJson(first, 200, { ...COMPLETION, id: '1' });
        // The rest arrives so many turns of the event loop after the provider has answered the first request.
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
        connection.socket.write(next.subarray(next.length - 20));
        for (const id of ['1', '2']) expect(JSON.parse((await connection.answer()).text()).id).toBe(id);
        connection.destroy();
      }
      upstream.answer((call) => sendJson(call, 200, COMPLETION));
    });

    it('may expect 100-continue, and is answered at once when it would be refused', async () => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(
        requestText('POST', PATH, { ...AUTH, Expect: '100-continue', 'Content-Length': String(chat().length) }),
      );
      expect((await connection.answer()).status).toBe(100);
      await connection.write(chat());
      expect((await connection.answer()).status).toBe(200);
      connection.destroy();

      const large = { ...AUTH, Expect: '100-continue', 'Content-Length': String(BODY_BYTES_MAX + 1) };
      expectError(await send(requestText('POST', PATH, large)), 'body_too_large');
      const stranger = { Expect: '100-continue', 'Content-Length': '10' };
      expectError(await send(requestText('POST', PATH, stranger)), 'no_api_key');
    });

    it('may expect something else, which is not looked at', async () => {
      expect((await send(requestText('POST', PATH, { ...AUTH, Expect: 'the-unexpected' }, chat()))).status).toBe(200);
    });

    const length = `Content-Length: ${chat().length}`;
    it.each([
      ['both a length and chunks', `${length}\r\nTransfer-Encoding: chunked`],
      ['both, in the other order', `Transfer-Encoding: chunked\r\n${length}`],
      ['two lengths that differ', `${length}\r\nContent-Length: 5`],
      ['two lengths that agree', `${length}\r\n${length}`],
      ['a list of lengths', `Content-Length: ${chat().length}, ${chat().length}`],
      ['a length with a sign', `Content-Length: +${chat().length}`],
      ['a length in hexadecimal', 'Content-Length: 0x10'],
      ['a negative length', 'Content-Length: -1'],
      ['a length beyond all numbers', `Content-Length: ${'9'.repeat(30)}`],
      ['a folded header', `X-Long: one\r\n two\r\n${length}`],
      ['a folded transfer-encoding', `Transfer-Encoding:\r\n chunked`],
      ['a blank before the colon', `Transfer-Encoding : chunked`],
      ['a name with a control character', `X\x01Y: 1\r\n${length}`],
      ['a value with a zero byte', `X-Y: a\0b\r\n${length}`],
      ['a bare line feed inside a value', `X-Y: a\nInjected: b\r\n${length}`],
      ['a bare carriage return inside a value', `X-Y: a\rInjected: b\r\n${length}`],
      ['chunks that are not the last encoding', 'Transfer-Encoding: chunked, gzip'],
      ['an encoding that hides chunks', 'Transfer-Encoding: xchunked'],
    ])('is refused as a whole with %s, so that no second request can hide in it', async (_what, headers) => {
      const connection = await connectRaw({ port: gateway.port });
      const seen = upstream.calls.length;
      const hidden = requestText('POST', PATH, AUTH, chat('hidden'));
      const head = `POST ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\n${headers}\r\n\r\n`;
      await connection.write(Buffer.concat([Buffer.from(head), Buffer.from(chat()), hidden]));
      expectError(await connection.answer(), 'malformed_http');
      await connection.closed();
      expect(connection.rest().toString()).toBe('');
      connection.destroy();
      expect(upstream.calls.slice(seen).map(({ body }) => body.toString())).toEqual([]);
      await stillServes();
    });

    it.each([
      ['no number', 'zz\r\nhello\r\n0\r\n\r\n'],
      ['a length that does not fit', '3\r\nhello\r\n0\r\n\r\n'],
      ['a length beyond all numbers', `${'f'.repeat(20)}\r\nhello`],
      ['a bare line feed', '5\nhello\n0\n\n'],
    ])('is 400 with a broken chunk: %s', async (_what, chunks) => {
      const head = `POST ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${KEY}\r\nX-Request-Id: broken-chunk\r\nTransfer-Encoding: chunked\r\n\r\n`;
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(head + chunks);
      const answer = await connection.answer();
      expectError(answer, 'malformed_http');
      expect(answer.header('x-litellm-call-id')).toBe('broken-chunk');
      await connection.closed();
      connection.destroy();
      await stillServes();
    });

    it.each([
      ['not HTTP at all', 'hello there\r\n\r\n'],
      ['TLS on a clear port', Buffer.from('16030100f1010000ed0303', 'hex')],
      ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n'],
      ['HTTP/2 in clear', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['a version that does not exist', `GET / HTTP/9.9\r\nHost: x\r\n\r\n`],
      ['no host', `POST ${PATH} HTTP/1.1\r\nAuthorization: Bearer ${KEY}\r\n${length}\r\n\r\n${chat()}`],
    ])('is 400 and the end of the connection: %s', async (_what, bytes) => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(bytes);
      expectError(await connection.answer(), 'malformed_http');
      await connection.closed();
      connection.destroy();
    });

    it('is 400 after a good request on the same connection, too', async () => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(requestText('POST', PATH, AUTH, chat()));
      expect((await connection.answer()).status).toBe(200);
      await connection.write('no HTTP\r\n\r\n');
      expectError(await connection.answer(), 'malformed_http');
      await connection.closed();
      connection.destroy();
    });

    it('never mixes a parser error into an answer that has begun', async () => {
      upstream.answer(async (call) => {
        await delay(50);
        sendJson(call, 200, COMPLETION);
      });
      const connection = await connectRaw({ port: gateway.port });
      await connection.write(Buffer.concat([requestText('POST', PATH, AUTH, chat()), Buffer.from('no HTTP\r\n\r\n')]));
      // The first request was well-formed and gets its answer; an error in its place would be taken for it.
      expect(JSON.parse((await connection.answer()).text())).toEqual(COMPLETION);
      await connection.closed();
      expect(connection.rest().toString()).toBe('');
      connection.destroy();
      upstream.answer((call) => sendJson(call, 200, COMPLETION));
    });

    it('can not ask for a tunnel or another protocol', async () => {
      const connection = await connectRaw({ port: gateway.port });
      await connection.write('CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n');
      await connection.closed();
      connection.destroy();
      const upgrade = { ...AUTH, Connection: 'Upgrade', Upgrade: 'websocket' };
      expectError(await send(requestText('GET', PATH, upgrade)), 'upgrade_not_supported');
      await stillServes();
    });
  });
});
