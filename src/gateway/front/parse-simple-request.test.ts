import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pick } from '../../../tests/support/length.ts';
import { parseSimpleRequest } from './parse-simple-request.ts';

const HEAD_BYTES_MAX = 64 * 1024;
const parse = (text: string) => parseSimpleRequest(Buffer.from(text, 'latin1'), HEAD_BYTES_MAX);
const REQUEST =
  'POST /v1/chat/completions HTTP/1.1\r\nHost: a.example:4000\r\nAuthorization: Bearer sk-1\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello';

interface Seen {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What Node's server makes of these bytes; null when it refuses them or takes them for something else than one POST. */
let port = 0;
let seen: (request: Seen) => void = () => {};
const server = createServer((request, response) => {
  let body = '';
  request.setEncoding('latin1');
  request.on('data', (chunk: string) => {
    body += chunk;
  });
  request.on('end', () => {
    seen({ url: `${request.method} ${request.url}`, headers: request.headers, body });
    response.end();
  });
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
});

function asNodeReads(text: string): Promise<Seen[]> {
  return new Promise((resolve) => {
    const requests: Seen[] = [];
    seen = (request) => requests.push(request);
    const socket = connect(port, '127.0.0.1', () => socket.end(Buffer.from(text, 'latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(requests));
    socket.resume();
  });
}

describe('parseSimpleRequest', () => {
  it('reads what an SDK sends', () => {
    expect(parse(REQUEST)).toMatchObject({
      target: '/v1/chat/completions',
      contentLength: 5,
      headBytes: REQUEST.length - 5,
      headers: { host: 'a.example:4000', authorization: 'Bearer sk-1' },
    });
  });

  it.each([
    ['an incomplete head', REQUEST.slice(0, 60)],
    ['another method', REQUEST.replace('POST', 'PUT')],
    ['HTTP/1.0', REQUEST.replace('HTTP/1.1', 'HTTP/1.0')],
    ['no host', REQUEST.replace('Host', 'Hast')],
    ['no length', REQUEST.replace('Content-Length', 'Content-Langth')],
    ['a signed length', REQUEST.replace(': 5', ': +5')],
    ['two lengths', REQUEST.replace('Host', 'Content-Length: 5\r\nHost')],
    ['a transfer coding', REQUEST.replace('Host', 'Transfer-Encoding: chunked\r\nHost')],
    ['an expectation', REQUEST.replace('Host', 'Expect: 100-continue\r\nHost')],
    ['an upgrade', REQUEST.replace('Host', 'Connection: upgrade\r\nUpgrade: websocket\r\nHost')],
    ['the end of the connection', REQUEST.replace('Host', 'Connection: close\r\nHost')],
    ['a folded header', REQUEST.replace('Content-Type: ', 'Content-Type:\r\n ')],
    ['a space before the colon', REQUEST.replace('Host:', 'Host :')],
    ['a lone line feed', REQUEST.replace('sk-1\r\n', 'sk-1\n')],
    ['a lone carriage return', REQUEST.replace('sk-1', 'sk-1\rx')],
    ['a NUL', REQUEST.replace('sk-1', 'sk-1\0')],
    ['bytes beyond ASCII', REQUEST.replace('sk-1', 'sk-\xe9')],
    ['a repeated header', REQUEST.replace('Host', 'authorization: Bearer sk-2\r\nHost')],
    ['a browser', REQUEST.replace('Host', 'Origin: https://a.example\r\nHost')],
    ['an absolute target', REQUEST.replace('/v1', 'http://a.example/v1')],
    ['a space in the target', REQUEST.replace('/v1', '/v 1')],
    ['a compressed body', REQUEST.replace('Host', 'Content-Encoding: gzip\r\nHost')],
  ])('leaves %s to Node', (_name, text) => {
    expect(parse(text)).toBeNull();
  });

  it('reads whatever it accepts exactly as Node does, so that no request can hide in another', async () => {
    const piece = fc.constantFrom(
      ...[
        '\r\n',
        '\n',
        '\r',
        ' ',
        '\t',
        ':',
        'Content-Length: 3',
        'content-length:5',
        'Transfer-Encoding: chunked',
        'X-A: b',
      ],
      ...[
        'Connection: keep-alive',
        'Connection: Keep-Alive, x',
        'Host: b',
        '\0',
        '\x7f',
        '\x80',
        'a',
        '0',
        'GET / HTTP/1.1\r\n\r\n',
      ],
      ...['__proto__: x', 'POST /x HTTP/1.1', '?q=1', '#', '%2e', '"', '\\', ';', ','],
    );
    const edit = fc.tuple(fc.nat(REQUEST.length), piece, fc.nat(3));
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        let text = REQUEST;
        for (const [at, insert, cut] of edits) text = text.slice(0, at) + insert + text.slice(at + cut);
        const mine = parse(text);
        if (mine === null || text.length < mine.headBytes + mine.contentLength) return;
        accepted++;
        const whole = text.slice(0, mine.headBytes + mine.contentLength);
        const requests = await asNodeReads(whole);
        expect(requests.length, JSON.stringify(whole)).toBe(1);
        expect(requests[0], JSON.stringify(whole)).toEqual({
          url: `POST ${mine.target}`,
          headers: mine.headers,
          body: whole.slice(mine.headBytes),
        });
      }),
      { numRuns: pick(2_000, 20_000) },
    );
    expect(accepted).toBeGreaterThan(100);
  });
});
