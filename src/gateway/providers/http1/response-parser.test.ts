import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RESPONSE_HEAD_BYTES_MAX, ResponseParser } from './response-parser.ts';

interface Read {
  head: [number, readonly string[]] | null;
  body: string;
  complete: boolean | null;
  error: string | null;
}

function read(pieces: Buffer[], closed = false): Read {
  const result: Read = { head: null, body: '', complete: null, error: null };
  const chunks: Buffer[] = [];
  const parser = new ResponseParser({
    onHead: (status, headers) => {
      result.head = [status, headers];
    },
    onBody: (chunk) => chunks.push(Buffer.from(chunk)),
    onComplete: (keepAlive) => {
      result.complete = keepAlive;
    },
  });
  try {
    for (const piece of pieces) parser.execute(piece);
    if (closed) parser.finish();
  } catch (error) {
    result.error = (error as Error).message;
  }
  result.body = Buffer.concat(chunks).toString();
  return result;
}

const whole = (text: string, closed = false) => read([Buffer.from(text, 'latin1')], closed);

function cut(text: string, points: number[]): Buffer[] {
  const bytes = Buffer.from(text, 'latin1');
  const at = [0, ...[...new Set(points.map((point) => point % bytes.length))].sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

const ANSWERS: Record<string, [text: string, body: string, keepAlive: boolean]> = {
  'a content-length': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhello', 'hello', true],
  'no body': ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', '', true],
  chunks: [
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n, worlds!!\r\n0\r\nx-trailer: 1\r\n\r\n',
    'hello, worlds!!',
    true,
  ],
  'connection: close': ['HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok', 'ok', false],
  'HTTP/1.0': ['HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok', 'ok', false],
  'an informational answer before it': [
    'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
    'ok',
    true,
  ],
  'no content': ['HTTP/1.1 204 No Content\r\n\r\n', '', true],
};

describe('ResponseParser', () => {
  it.each(Object.entries(ANSWERS))(
    'reads an answer with %s, wherever the bytes are cut',
    (_name, [text, body, keepAlive]) => {
      fc.assert(
        fc.property(fc.array(fc.nat(), { maxLength: 20 }), (points) => {
          const result = read(cut(text, points));
          expect(result).toMatchObject({ body, complete: keepAlive, error: null });
          expect(result.head).toEqual(whole(text).head);
        }),
        { numRuns: 200 },
      );
    },
  );

  it('reads an answer without a length until the connection is closed', () => {
    expect(whole('HTTP/1.1 200 OK\r\n\r\nhello')).toMatchObject({ body: 'hello', complete: null });
    expect(whole('HTTP/1.1 200 OK\r\n\r\nhello', true)).toMatchObject({ body: 'hello', complete: false });
  });

  it.each([
    ['HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello'],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n'],
    ['HTTP/1.1 200 OK\r\ncont'],
  ])('never takes a cut answer for a complete one: %j', (text) => {
    expect(whole(text, true).complete).toBeNull();
  });

  it.each([
    [
      'two framings',
      'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!'],
    ['a signed length', 'HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello'],
    ['another transfer coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nx-a: 1\r\n folded: 2\r\n\r\n'],
    ['a header without a colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n'],
    ['a bare line feed in the framing', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n'],
    ['a chunk longer than its size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n'],
    ['bytes after the end', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n'],
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n'],
    ['a control character in a value', 'HTTP/1.1 200 OK\r\nx-a: a\x00b\r\n\r\n'],
  ])('refuses %s', (_name, text) => {
    expect(whole(text).error).not.toBeNull();
  });

  it('refuses headers without end instead of keeping them', () => {
    expect(read([Buffer.from('HTTP/1.1 200 OK\r\n'), Buffer.alloc(RESPONSE_HEAD_BYTES_MAX + 1, 0x61)]).error).toMatch(
      'too large',
    );
  });
});
