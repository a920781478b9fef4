import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import type { LlmEndpoint } from '../../domain/route-class.ts';
import type { Clock } from '../../util/clock.ts';
import { FrontResponse, type FrontResponseOwner } from './front-response.ts';
import { FRONT_BODY_BYTES_MAX, type FrontHandler, type FrontLimits } from './front-server.ts';
import { parseSimpleRequest, type SimpleRequest } from './parse-simple-request.ts';

/**
 * Bytes of next requests that are kept while an answer is under way. Beyond it the connection ends. To stop reading instead would
 * be to miss that the client leaves, and its provider would go on working.
 */
const AHEAD_BYTES_MAX = 1024 * 1024;

/** A body that takes longer to arrive is slow. */
const SLOW_BODY_MS = 1_000;

type State = 'idle' | 'body' | 'answering' | 'gone';

/** One client connection, as long as its requests are simple ones. */
export class FrontConnection implements FrontResponseOwner {
  readonly socket: Socket;
  readonly keepAliveLines: string;
  onGone: () => void = () => {};
  readonly #handler: FrontHandler;
  readonly #fallback: HttpServer;
  readonly #limits: FrontLimits;
  readonly #clock: Clock;
  readonly #dateLine: () => string;
  #state: State = 'idle';
  #deadlineMs: number;
  #idleSinceMs: number;
  #request: SimpleRequest | null = null;
  #endpoint: LlmEndpoint | null = null;
  /** Bytes of a request whose body is not complete, head included: they can still be handed over. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #response: FrontResponse | null = null;
  #ahead: Buffer[] = [];
  #aheadBytes = 0;
  #ended = false;

  constructor(
    socket: Socket,
    handler: FrontHandler,
    fallback: HttpServer,
    limits: FrontLimits,
    clock: Clock,
    dateLine: () => string,
  ) {
    this.socket = socket;
    this.#handler = handler;
    this.#fallback = fallback;
    this.#limits = limits;
    this.#clock = clock;
    this.#dateLine = dateLine;
    const keepAliveSeconds = Math.floor(limits.keepAliveTimeoutMs / 1000);
    this.keepAliveLines = `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveSeconds}\r\n`;
    this.#idleSinceMs = clock.monotonicMs();
    this.#deadlineMs = this.#idleSinceMs + limits.headersTimeoutMs;
    socket.on('data', this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('close', this.#onClose);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
  }

  get dateLine(): string {
    return this.#dateLine();
  }

  get keepsAlive(): boolean {
    return !this.#handler.isDraining() && !this.#ended;
  }

  /** Ends the connection if it has been idle since then (monotonic). */
  closeIfIdle(sinceMs: number): void {
    if (this.#state === 'idle' && this.#idleSinceMs <= sinceMs) this.socket.destroy();
  }

  checkDeadline(nowMs: number): void {
    if (this.#state === 'answering' || nowMs < this.#deadlineMs) return;
    // A slow body is Node's: it asks who is calling before it waits, and it knows how to refuse what never comes.
    if (this.#state === 'body') this.#handOver(this.#pending);
    else this.socket.destroy();
  }

  onResponseEnd(): void {
    const closes = this.#response?.closesConnection ?? true;
    this.#response = null;
    if (this.#state === 'gone') return;
    this.#state = 'idle';
    if (closes) {
      this.socket.end();
      this.#leave();
      return;
    }
    this.#idleSinceMs = this.#clock.monotonicMs();
    this.#deadlineMs = this.#idleSinceMs + this.#limits.keepAliveTimeoutMs;
    // Out of the present call: an answer that is complete at once must not recurse. What arrives until then is kept behind it.
    if (this.#aheadBytes > 0) setImmediate(this.#beginAhead);
  }

  readonly #beginAhead = (): void => {
    if (this.#state !== 'idle') return;
    const ahead = this.#ahead.length === 1 ? this.#ahead[0]! : Buffer.concat(this.#ahead);
    this.#ahead = [];
    this.#aheadBytes = 0;
    this.#begin(ahead);
  };

  readonly #onData = (bytes: Buffer): void => {
    switch (this.#state) {
      case 'idle':
        if (this.#aheadBytes > 0) this.#keepAhead(bytes);
        else this.#begin(bytes);
        break;
      case 'body':
        this.#pending.push(bytes);
        this.#pendingBytes += bytes.length;
        this.#continueBody();
        break;
      case 'answering':
        this.#keepAhead(bytes);
        break;
    }
  };

  #begin(bytes: Buffer): void {
    const request = parseSimpleRequest(bytes, this.#limits.headerBytesMax);
    const endpoint = request === null ? null : this.#handler.endpointOf(request.target);
    if (request === null || endpoint === null || request.contentLength > FRONT_BODY_BYTES_MAX) {
      this.#handOver([bytes]);
      return;
    }
    this.#request = request;
    this.#endpoint = endpoint;
    const total = request.headBytes + request.contentLength;
    if (bytes.length === total) {
      this.#answer(bytes.subarray(request.headBytes));
      return;
    }
    this.#pending = [bytes];
    this.#pendingBytes = bytes.length;
    this.#state = 'body';
    this.#deadlineMs = this.#clock.monotonicMs() + SLOW_BODY_MS;
    this.#continueBody();
  }

  #continueBody(): void {
    const request = this.#request!;
    const total = request.headBytes + request.contentLength;
    if (this.#pendingBytes < total) return;
    const pending = this.#pending;
    this.#pending = [];
    if (this.#pendingBytes > total) {
      // Another request follows at once. Node's server answers pipelined requests in order.
      this.#handOver(pending);
      return;
    }
    this.#answer(Buffer.concat(pending, total).subarray(request.headBytes));
  }

  #answer(body: Buffer | null): void {
    this.#state = 'answering';
    const response = new FrontResponse(this);
    this.#response = response;
    this.#handler.handleSimple(this.#request!, this.socket, response, this.#endpoint!, body);
  }

  #keepAhead(bytes: Buffer): void {
    this.#ahead.push(bytes);
    this.#aheadBytes += bytes.length;
    if (this.#aheadBytes > AHEAD_BYTES_MAX) this.socket.destroy();
  }

  /** From here on the connection is Node's; what was read is put back in front of it. */
  #handOver(chunks: readonly Buffer[]): void {
    const { socket } = this;
    this.#leave();
    socket.off('data', this.#onData);
    socket.off('drain', this.#onDrain);
    socket.off('close', this.#onClose);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.pause();
    const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    socket.unshift(bytes);
    this.#fallback.emit('connection', socket);
    socket.resume();
  }

  #leave(): void {
    this.#state = 'gone';
    this.onGone();
  }

  readonly #onDrain = (): void => this.#response?.emitDrain();

  readonly #onEnd = (): void => {
    // A client that closes its half has left, as Node's server sees it: what is being answered is aborted.
    this.#ended = true;
    if (this.#state === 'answering') this.socket.destroy();
    else this.socket.end();
  };

  readonly #onError = (): void => {
    this.socket.destroy();
  };

  readonly #onClose = (): void => {
    if (this.#state === 'body') this.#answer(null);
    if (this.#state !== 'gone') this.#leave();
    const response = this.#response;
    this.#response = null;
    response?.emitClose();
  };
}
