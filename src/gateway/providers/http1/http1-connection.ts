import type { OnReadOpts, Socket } from 'node:net';
import { UpstreamError } from '../upstream.ts';
import { upstreamErrorFrom } from '../upstream-error.ts';
import type { Http1Exchange, Http1Pool } from './http1-pool.ts';
import { type ResponseEvents, ResponseParser } from './response-parser.ts';

/** Opens a socket that reads into `onread`; calls back once it may be written to (after the TLS handshake). */
export type Connect = (onread: OnReadOpts, onReady: () => void) => Socket;

/** A head and a body up to this size leave in one buffer, which costs one copy and saves a system call. */
const SINGLE_WRITE_BYTES_MAX = 64 * 1024;
/** A provider that says "I close after n seconds" is believed, less the time of a request that is on its way. */
const IDLE_HINT_MARGIN_MS = 1_000;

/** One connection to a provider; carries one request at a time. */
export class Http1Connection implements ResponseEvents {
  /** Monotonic; meaningful while idle. */
  idleUntilMs = 0;
  /** Monotonic; meaningful while it is being opened. */
  openUntilMs = 0;
  readonly #pool: Http1Pool;
  readonly #connect: Connect;
  readonly #onread: OnReadOpts;
  readonly #parser = new ResponseParser(this);
  #socket: Socket | null = null;
  #exchange: Http1Exchange | null = null;
  #error: Error | null = null;
  #flowing = true;
  #idleHintMs: number | null = null;
  #gone = false;
  #open = false;
  /** The request left completely. Until then the connection is not free, however early the answer came. */
  #sent = false;
  #waitsForSent = false;

  constructor(pool: Http1Pool, connect: Connect, readBuffer: Buffer) {
    this.#pool = pool;
    this.#connect = connect;
    this.#onread = {
      buffer: readBuffer,
      callback: (bytes, buffer) => this.#onBytes((buffer as Buffer).subarray(0, bytes)),
    };
  }

  open(): void {
    let socket: Socket;
    try {
      socket = this.#connect(this.#onread, () => this.#onReady());
    } catch (error) {
      this.#error = error as Error;
      this.#onClose();
      return;
    }
    this.#socket = socket;
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.on('close', () => this.#onClose());
    socket.on('end', () => this.#onEnd());
  }

  /** Sends the request of `exchange` on this (idle, connected) connection. */
  begin(exchange: Http1Exchange): void {
    this.#exchange = exchange;
    exchange.connection = this;
    this.#parser.reset();
    this.#flowing = true;
    this.#sent = false;
    this.#waitsForSent = false;
    const { head, body } = exchange.request;
    const socket = this.#socket!;
    if (head.length + body.length <= SINGLE_WRITE_BYTES_MAX) {
      const bytes = Buffer.allocUnsafe(head.length + body.length);
      bytes.write(head, 0, 'latin1');
      body.copy(bytes, head.length);
      socket.write(bytes, this.#onSent);
    } else {
      socket.cork();
      socket.write(head, 'latin1');
      socket.write(body, this.#onSent);
      socket.uncork();
    }
  }

  destroy(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#exchange = null;
    this.#socket?.destroy();
    this.#pool.remove(this);
  }

  onHead(status: number, headers: readonly string[]): void {
    const exchange = this.#exchange!;
    this.#idleHintMs = idleHintOf(headers);
    this.#pool.expect(exchange, exchange.request.bodyTimeoutMs);
    exchange.handler.onHead(status, headers, this.#resume);
  }

  onBody(chunk: Buffer): void {
    const exchange = this.#exchange;
    // Null: the handler aborted in the middle of this read.
    if (exchange === null) return;
    // The read buffer is used again at once, so what is handed on is a copy.
    const flowing = exchange.handler.onData(Buffer.from(chunk));
    if (this.#exchange !== exchange) return;
    if (!flowing) {
      this.#flowing = false;
      exchange.deadlineMs = Number.POSITIVE_INFINITY;
    } else this.#pool.expect(exchange, exchange.request.bodyTimeoutMs);
  }

  onComplete(keepAlive: boolean): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    this.#exchange = null;
    exchange.connection = null;
    const socket = this.#socket!;
    this.#pool.complete(exchange);
    if (this.#gone) return;
    if (!keepAlive || socket.destroyed) this.destroy();
    else if (this.#sent) this.#release();
    else this.#waitsForSent = true;
  }

  readonly #onSent = (error?: Error | null): void => {
    if (error) return;
    this.#sent = true;
    if (this.#waitsForSent && !this.#gone) this.#release();
  };

  #release(): void {
    this.#waitsForSent = false;
    if (!this.#flowing) this.#socket!.resume();
    this.#pool.release(this, this.#idleHintMs);
  }

  readonly #resume = (): void => {
    const exchange = this.#exchange;
    if (exchange === null || this.#flowing) return;
    this.#flowing = true;
    this.#pool.expect(exchange, exchange.request.bodyTimeoutMs);
    this.#socket!.resume();
  };

  #onReady(): void {
    if (this.#gone) return;
    this.#open = true;
    this.#pool.opened(this);
  }

  /** Returns false to stop reading. */
  #onBytes(bytes: Buffer): boolean {
    if (this.#exchange === null) {
      // Nothing was asked: what comes now could be taken for the answer to the next request.
      this.destroy();
      return false;
    }
    try {
      this.#parser.execute(bytes);
    } catch (error) {
      const exchange = this.#exchange;
      if (exchange === null) this.destroy();
      else this.#pool.fail(exchange, error instanceof UpstreamError ? error : upstreamErrorFrom(error as Error));
      return false;
    }
    return this.#flowing || this.#exchange === null;
  }

  #onEnd(): void {
    if (this.#exchange !== null && this.#parser.finish()) return;
    this.#socket?.destroy();
  }

  #onClose(): void {
    if (this.#gone) return;
    this.#gone = true;
    const error =
      this.#error === null
        ? new UpstreamError('reset', 'the provider closed the connection')
        : upstreamErrorFrom(this.#error);
    if (!this.#open) {
      this.#pool.openFailed(this, error);
      return;
    }
    this.#pool.remove(this);
    const exchange = this.#exchange;
    this.#exchange = null;
    if (exchange === null) return;
    exchange.connection = null;
    this.#pool.fail(exchange, error);
  }
}

function idleHintOf(headers: readonly string[]): number | null {
  const at = headers.indexOf('keep-alive');
  if (at < 0 || at % 2 !== 0) return null;
  const match = /timeout=(\d{1,6})/.exec(headers[at + 1]!);
  return match === null ? null : Math.max(0, Number(match[1]) * 1000 - IDLE_HINT_MARGIN_MS);
}
