import type { IncomingHttpHeaders } from 'node:http';

/** A request head that leaves no question open. */
export interface SimpleRequest {
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  /** Bytes of the head, blank line included. */
  readonly headBytes: number;
  readonly contentLength: number;
}

/** A longer head goes to Node's parser. */
export const SIMPLE_HEAD_BYTES_MAX = 16 * 1024;

/**
 * Reads `POST <target> HTTP/1.1` with plain headers and a content-length, as SDKs send it. Null for everything else: an incomplete
 * head, another method or version, chunked or compressed bodies, `expect`, `upgrade`, `connection: close`, browsers (`origin`),
 * repeated headers, folded or odd lines. Null is not an error: Node's own parser then reads the same bytes and decides. So what is
 * accepted here must be what Node's parser would read in the same way, and nothing else.
 */
export function parseSimpleRequest(bytes: Buffer, headBytesMax: number): SimpleRequest | null {
  const end = bytes.indexOf(HEAD_END);
  if (end < 0 || end + 4 > Math.min(headBytesMax, SIMPLE_HEAD_BYTES_MAX) || bytes[0] !== 0x50) return null;
  const text = bytes.toString('latin1', 0, end);
  if (ODD_CHARACTER.test(text)) return null;
  const lineEnd = text.indexOf('\r\n');
  if (lineEnd < 0) return null;
  const line = text.slice(0, lineEnd);
  if (!line.startsWith('POST /') || !line.endsWith(' HTTP/1.1')) return null;
  const target = line.slice(5, -9);
  if (!TARGET.test(target)) return null;

  const headers: Record<string, string> = {};
  let at = lineEnd + 2;
  while (at < text.length) {
    let stop = text.indexOf('\r\n', at);
    if (stop < 0) stop = text.length;
    const colon = text.indexOf(':', at);
    if (colon <= at || colon >= stop) return null;
    const name = text.slice(at, colon).toLowerCase();
    if (!HEADER_NAME.test(name) || Object.hasOwn(headers, name) || NOT_SIMPLE.has(name)) return null;
    headers[name] = trimSpace(text, colon + 1, stop);
    at = stop + 2;
  }
  const { connection, host } = headers;
  if (host === undefined || (connection !== undefined && connection.toLowerCase() !== 'keep-alive')) return null;
  const length = headers['content-length'];
  if (length === undefined || !CONTENT_LENGTH.test(length)) return null;
  return { target, headers, headBytes: end + 4, contentLength: Number(length) };
}

const HEAD_END = Buffer.from('\r\n\r\n');
/** Anything but printable ASCII and CR LF pairs. A lone CR or LF is odd, and a tab, which Node's parser takes in some places only. */
const ODD_CHARACTER = /[^\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n/;
const TARGET = /^[\x21-\x7e]+$/;
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
const CONTENT_LENGTH = /^\d{1,9}$/;
const NOT_SIMPLE = new Set([
  'transfer-encoding',
  'expect',
  'upgrade',
  'te',
  'trailer',
  'origin',
  'content-encoding',
  'proxy-connection',
  '__proto__',
]);

const SPACE = 0x20;

function trimSpace(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && text.charCodeAt(start) === SPACE) start++;
  while (end > start && text.charCodeAt(end - 1) === SPACE) end--;
  return text.slice(start, end);
}
