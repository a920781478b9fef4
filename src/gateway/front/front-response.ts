import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ClientResponse } from '../http/client-response.ts';

/** The part of a connection that an answer speaks to. */
export interface FrontResponseOwner {
  readonly socket: Socket;
  /** False: this answer is the last one on its connection. */
  readonly keepsAlive: boolean;
  /** `Date: ...` with its line end. */
  readonly dateLine: string;
  /** The two header lines of an answer that keeps the connection. */
  readonly keepAliveLines: string;
  onResponseEnd(): void;
}

const NO_BYTES = Buffer.alloc(0);
const LAST_CHUNK = '0\r\n\r\n';

/** An answer written as one buffer (with a content-length) or as chunks, without the detours of `ServerResponse`. */
export class FrontResponse implements ClientResponse {
  headersSent = false;
  writableFinished = false;
  readonly #owner: FrontResponseOwner;
  #head = '';
  #closes = false;
  #chunked = false;
  #onClose: (() => void) | null = null;
  #onDrain: (() => void) | null = null;
  #onFinish: (() => void) | null = null;

  constructor(owner: FrontResponseOwner) {
    this.#owner = owner;
  }

  get destroyed(): boolean {
    return this.#owner.socket.destroyed;
  }

  get writableNeedDrain(): boolean {
    return this.#owner.socket.writableNeedDrain;
  }

  writeHead(status: number, headers: string[]): void {
    if (this.headersSent) throw new Error('the head of this answer is sent already');
    // Joined once and not added up: each `+=` would leave a node of a rope behind.
    const parts = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`];
    let hasLength = false;
    let closes = !this.#owner.keepsAlive;
    let lines = 1;
    for (let index = 0; index + 1 < headers.length; index += 2) {
      const name = headers[index]!;
      const value = headers[index + 1]!;
      if (name === 'content-length') hasLength = true;
      else if (name === 'connection' && value === 'close') {
        closes = true;
        continue;
      }
      parts.push(name, ': ', value, '\r\n');
      lines++;
    }
    this.#chunked = !hasLength;
    if (this.#chunked) {
      parts.push('Transfer-Encoding: chunked\r\n');
      lines++;
    }
    parts.push(this.#owner.dateLine);
    lines++;
    if (closes) {
      parts.push('Connection: close\r\n');
      lines++;
    } else {
      parts.push(this.#owner.keepAliveLines);
      lines += 2;
    }
    parts.push('\r\n');
    lines++;
    const head = parts.join('');
    // One look at all of it: a line break inside a value would make a line more than there are headers.
    if (ODD_CHARACTER.test(head) || countLines(head) !== lines) {
      throw new Error('a header of the answer holds a character that can not be sent');
    }
    this.headersSent = true;
    this.#closes = closes;
    this.#head = head;
  }

  get closesConnection(): boolean {
    return this.#closes;
  }

  write(chunk: Buffer | string): boolean {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (bytes.length === 0) return !this.writableNeedDrain;
    return this.#send(bytes, false);
  }

  end(chunk?: Buffer | string): void {
    if (this.writableFinished) return;
    const bytes = chunk === undefined ? NO_BYTES : typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.#send(bytes, true);
    this.writableFinished = true;
    this.#onFinish?.();
    this.#owner.onResponseEnd();
  }

  destroy(): void {
    this.#owner.socket.destroy();
  }

  on(event: 'close' | 'drain', listener: () => void): void {
    if (event === 'close') this.#onClose = listener;
    else this.#onDrain = listener;
  }

  once(_event: 'finish', listener: () => void): void {
    this.#onFinish = listener;
  }

  /** Called by the connection. */
  emitClose(): void {
    this.#onClose?.();
  }

  emitDrain(): void {
    this.#onDrain?.();
  }

  /** Head (when it is still to go), framing and bytes leave in one buffer: a copy costs less than a second system call. */
  #send(bytes: Buffer, last: boolean): boolean {
    const { socket } = this.#owner;
    const head = this.#head;
    this.#head = '';
    if (!this.#chunked) {
      if (head === '') return socket.write(bytes);
      const whole = Buffer.allocUnsafe(head.length + bytes.length);
      whole.write(head, 0, 'latin1');
      bytes.copy(whole, head.length);
      return socket.write(whole);
    }
    const before = bytes.length === 0 ? head : `${head}${bytes.length.toString(16)}\r\n`;
    const after = (bytes.length === 0 ? '' : '\r\n') + (last ? LAST_CHUNK : '');
    const whole = Buffer.allocUnsafe(before.length + bytes.length + after.length);
    whole.write(before, 0, 'latin1');
    bytes.copy(whole, before.length);
    whole.write(after, before.length + bytes.length, 'latin1');
    return socket.write(whole);
  }
}

/** Beyond latin1 a character would be cut to another one. */
const ODD_CHARACTER = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n/;

function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
