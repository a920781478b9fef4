import { UpstreamError } from '../upstream.ts';

/** Status line and headers together. A provider that sends more is not speaking the protocol. */
export const RESPONSE_HEAD_BYTES_MAX = 64 * 1024;
/** A chunk-size line with its extensions, or all trailers. */
const LINE_BYTES_MAX = 8 * 1024;

export interface ResponseEvents {
  /** `headers` is the flat list of names and values as received. */
  onHead(status: number, headers: readonly string[]): void;
  /** The bytes are the parser's input: copy what is kept. */
  onBody(chunk: Buffer): void;
  /** The answer is complete; `keepAlive` tells whether the connection may carry another request. */
  onComplete(keepAlive: boolean): void;
}

type State = 'head' | 'length' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailers' | 'until-close' | 'done';

/**
 * Reads HTTP/1.1 responses to requests other than HEAD from bytes as they come. Strict about framing, because a connection is
 * used again: both framings at once, two lengths, or bytes after the end are errors (`UpstreamError` of kind `protocol`).
 */
export class ResponseParser {
  readonly #events: ResponseEvents;
  #state: State = 'head';
  /** Bytes of a head or line that is not complete. */
  #partial: Buffer | null = null;
  /** Bytes left of the body or of the chunk. */
  #left = 0;
  #keepAlive = false;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** Ready for the answer to the next request. */
  reset(): void {
    this.#state = 'head';
    this.#partial = null;
  }

  /** True until the first byte of an answer. */
  get isFresh(): boolean {
    return this.#state === 'head' && this.#partial === null;
  }

  execute(input: Buffer): void {
    let at = 0;
    while (at < input.length) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(input, at);
          break;
        case 'length':
        case 'chunk-data': {
          const end = Math.min(input.length, at + this.#left);
          this.#left -= end - at;
          this.#events.onBody(at === 0 && end === input.length ? input : input.subarray(at, end));
          at = end;
          if (this.#left === 0) {
            if (this.#state === 'length') this.#complete();
            else this.#state = 'chunk-end';
          }
          break;
        }
        case 'chunk-size':
          at = this.#readChunkSize(input, at);
          break;
        case 'chunk-end':
          at = this.#readChunkEnd(input, at);
          break;
        case 'trailers':
          at = this.#readTrailers(input, at);
          break;
        case 'until-close':
          this.#events.onBody(at === 0 ? input : input.subarray(at));
          at = input.length;
          break;
        case 'done':
          throw protocol('bytes after the end of the answer');
      }
    }
  }

  /** The connection was closed by the provider: the end of an answer without a length, else a cut. Returns false for a cut. */
  finish(): boolean {
    if (this.#state !== 'until-close') return false;
    this.#keepAlive = false;
    this.#complete();
    return true;
  }

  #complete(): void {
    this.#state = 'done';
    this.#events.onComplete(this.#keepAlive);
  }

  #readHead(input: Buffer, start: number): number {
    const bytes =
      this.#partial === null ? input.subarray(start) : Buffer.concat([this.#partial, input.subarray(start)]);
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) {
      // Another protocol is told at its first bytes; it may never send the end of a head.
      if (!STATUS_LINE_BEGIN.startsWith(bytes.toString('latin1', 0, STATUS_LINE_BEGIN.length))) {
        throw protocol('the answer does not begin like HTTP/1.1');
      }
      if (bytes.length > RESPONSE_HEAD_BYTES_MAX) throw protocol('the headers of the answer are too large');
      this.#partial = Buffer.from(bytes);
      return input.length;
    }
    if (end > RESPONSE_HEAD_BYTES_MAX) throw protocol('the headers of the answer are too large');
    const consumed = end + 4 - (this.#partial?.length ?? 0);
    this.#partial = null;
    this.#parseHead(bytes.toString('latin1', 0, end));
    return start + consumed;
  }

  #parseHead(text: string): void {
    const lineEnd = text.indexOf('\r\n');
    const status = statusOf(lineEnd < 0 ? text : text.slice(0, lineEnd));
    const headers: string[] = [];
    let length: number | null = null;
    let chunked = false;
    let close = text.charCodeAt(7) === 0x30; // HTTP/1.0
    let at = lineEnd < 0 ? text.length : lineEnd + 2;
    while (at < text.length) {
      let end = text.indexOf('\r\n', at);
      if (end < 0) end = text.length;
      const colon = text.indexOf(':', at);
      if (colon <= at || colon >= end || !TOKEN.test(text.slice(at, colon)))
        throw protocol('a header line is malformed');
      const name = text.slice(at, colon).toLowerCase();
      const value = text.slice(colon + 1, end).trim();
      if (BAD_VALUE.test(value)) throw protocol('a header value holds a control character');
      headers.push(name, value);
      if (name === 'content-length') {
        if (!/^\d{1,15}$/.test(value) || (length !== null && length !== Number(value)))
          throw protocol('the content-length is malformed');
        length = Number(value);
      } else if (name === 'transfer-encoding') {
        if (value.toLowerCase() !== 'chunked' || chunked) throw protocol('the transfer-encoding is not supported');
        chunked = true;
      } else if (name === 'connection') {
        const options = value.toLowerCase();
        if (options.includes('close')) close = true;
        else if (options.includes('keep-alive')) close = false;
      }
      at = end + 2;
    }
    if (status < 200) {
      // An informational answer; the real one follows. 101 was never asked for.
      if (status === 101) throw protocol('the provider switched protocols');
      return;
    }
    if (chunked && length !== null) throw protocol('the answer has two framings');
    const empty = status === 204 || status === 304;
    this.#keepAlive = !close && (chunked || length !== null || empty);
    this.#left = length ?? 0;
    this.#state = empty ? 'done' : chunked ? 'chunk-size' : length === null ? 'until-close' : 'length';
    this.#events.onHead(status, headers);
    if (empty || (length === 0 && !chunked)) this.#complete();
  }

  #readChunkSize(input: Buffer, start: number): number {
    const [line, next] = this.#readLine(input, start);
    if (line === null) return next;
    const match = CHUNK_SIZE.exec(line);
    if (match === null) throw protocol('a chunk size is malformed');
    this.#left = Number.parseInt(match[1]!, 16);
    this.#state = this.#left === 0 ? 'trailers' : 'chunk-data';
    return next;
  }

  #readChunkEnd(input: Buffer, start: number): number {
    const [line, next] = this.#readLine(input, start);
    if (line === null) return next;
    if (line !== '') throw protocol('a chunk is longer than its size');
    this.#state = 'chunk-size';
    return next;
  }

  #readTrailers(input: Buffer, start: number): number {
    const [line, next] = this.#readLine(input, start);
    if (line === null) return next;
    if (line === '') this.#complete();
    return next;
  }

  /** A line without its CRLF, or null when it is not complete yet; and where to go on. */
  #readLine(input: Buffer, start: number): [line: string | null, next: number] {
    const end = input.indexOf(0x0a, start);
    const piece = input.subarray(start, end < 0 ? input.length : end + 1);
    const bytes = this.#partial === null ? piece : Buffer.concat([this.#partial, piece]);
    if (bytes.length > LINE_BYTES_MAX) throw protocol('a line of the chunked framing is too long');
    if (end < 0) {
      this.#partial = Buffer.from(bytes);
      return [null, input.length];
    }
    this.#partial = null;
    if (bytes.length < 2 || bytes[bytes.length - 2] !== 0x0d)
      throw protocol('a line of the chunked framing does not end in CRLF');
    return [bytes.toString('latin1', 0, bytes.length - 2), end + 1];
  }
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const BAD_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/;
const CHUNK_SIZE = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/;
const STATUS_LINE_BEGIN = 'HTTP/1.';
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: |$)/;

function statusOf(line: string): number {
  const match = STATUS_LINE.exec(line);
  const status = match === null ? 0 : Number(match[1]);
  if (status < 100) throw protocol('the answer does not begin like HTTP/1.1');
  return status;
}

function protocol(what: string): UpstreamError {
  return new UpstreamError('protocol', what);
}
