import type { Clock } from '../../../util/clock.ts';
import { UpstreamError, type UpstreamHandler } from '../upstream.ts';
import { type Connect, Http1Connection } from './http1-connection.ts';

/** One request, framed: head as latin1 text with its blank line, and the whole body. */
export interface WireRequest {
  readonly head: string;
  readonly body: Buffer;
  /** 0 or Infinity: none. */
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
}

export interface Http1PoolOptions {
  readonly connect: Connect;
  readonly clock: Clock;
  /** At the bound a request waits for a free connection, within its own time-out. */
  readonly connectionsMax: number;
  /** Connections that are being opened at once; at the bound a request waits for any that becomes free. */
  readonly openingMax: number;
  readonly connectTimeoutMs: number;
  /** An idle connection is closed after this; shorter when the provider's `keep-alive` header says so. */
  readonly idleTimeoutMs: number;
}

/** A request from `send` to its end; holds its deadline, which the pool watches. */
export class Http1Exchange {
  readonly request: WireRequest;
  readonly handler: UpstreamHandler;
  connection: Http1Connection | null = null;
  /** Monotonic; Infinity while nothing is waited for. */
  deadlineMs = Number.POSITIVE_INFINITY;
  over = false;
  readonly #pool: Http1Pool;

  constructor(pool: Http1Pool, request: WireRequest, handler: UpstreamHandler) {
    this.#pool = pool;
    this.request = request;
    this.handler = handler;
  }

  readonly abort = (): void => this.#pool.fail(this, new UpstreamError('aborted', 'the call was aborted'));
}

/**
 * Keep-alive connections to one origin. One request at a time on each; the one used last is used first, so that a burst's
 * surplus goes idle and is closed. A request that finds none free waits for whichever is free first, one that finished its
 * request or one that is new: bound to the new one, each request of a burst would pay a handshake, which delays those that
 * come next, which would open more. One timer serves all deadlines: they are nearly always met, so it is rarely set.
 */
export class Http1Pool {
  readonly #options: Http1PoolOptions;
  readonly #connections = new Set<Http1Connection>();
  readonly #idle: Http1Connection[] = [];
  readonly #opening = new Set<Http1Connection>();
  /** Waiting for a connection, oldest first. */
  readonly #queue: Http1Exchange[] = [];
  readonly #active = new Set<Http1Exchange>();
  /** Shared by all connections: what is read is consumed before the next read. */
  readonly #readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
  #timer: NodeJS.Timeout | null = null;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(options: Http1PoolOptions) {
    this.#options = options;
  }

  send(request: WireRequest, handler: UpstreamHandler): void {
    const exchange = new Http1Exchange(this, request, handler);
    handler.onStart(exchange.abort);
    if (exchange.over) return;
    this.#active.add(exchange);
    const idle = this.#idle.pop();
    if (idle !== undefined) {
      this.expect(exchange, request.headersTimeoutMs);
      idle.begin(exchange);
    } else if (this.#closed) {
      this.fail(exchange, new UpstreamError('aborted', 'the client is closed'));
    } else {
      const { connectTimeoutMs, connectionsMax } = this.#options;
      const headersTimeoutMs = request.headersTimeoutMs || Number.POSITIVE_INFINITY;
      const full = this.#connections.size >= connectionsMax;
      this.expect(exchange, full ? headersTimeoutMs : Math.min(connectTimeoutMs, headersTimeoutMs));
      this.#queue.push(exchange);
      this.#openForQueue();
    }
  }

  /** Ends an exchange with an error, wherever it is. Its connection can not be used again. */
  fail(exchange: Http1Exchange, error: UpstreamError): void {
    if (exchange.over) return;
    exchange.over = true;
    this.#active.delete(exchange);
    const { connection } = exchange;
    if (connection !== null) connection.destroy();
    else {
      const queued = this.#queue.indexOf(exchange);
      if (queued >= 0) this.#queue.splice(queued, 1);
    }
    exchange.handler.onError(error);
  }

  complete(exchange: Http1Exchange): void {
    exchange.over = true;
    this.#active.delete(exchange);
    exchange.handler.onEnd();
  }

  /** The connection is open and free. */
  opened(connection: Http1Connection): void {
    this.#opening.delete(connection);
    this.release(connection, null);
    this.#openForQueue();
  }

  /** The connection could not be opened, which is the answer to the request that waited longest. */
  openFailed(connection: Http1Connection, error: UpstreamError): void {
    this.#opening.delete(connection);
    this.#connections.delete(connection);
    const waiting = this.#queue[0];
    if (waiting !== undefined) this.fail(waiting, error);
    this.#openForQueue();
  }

  /** The connection is free: it takes the oldest waiting request, or goes idle. */
  release(connection: Http1Connection, idleHintMs: number | null): void {
    const next = this.#queue.shift();
    if (next !== undefined) {
      this.expect(next, next.request.headersTimeoutMs);
      connection.begin(next);
      return;
    }
    const { clock, idleTimeoutMs } = this.#options;
    const idleMs = Math.min(idleTimeoutMs, idleHintMs ?? idleTimeoutMs);
    connection.idleUntilMs = clock.monotonicMs() + idleMs;
    this.#idle.push(connection);
    this.#wakeAt(connection.idleUntilMs);
  }

  /** The connection is gone. */
  remove(connection: Http1Connection): void {
    this.#opening.delete(connection);
    if (!this.#connections.delete(connection)) return;
    const index = this.#idle.indexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
    this.#openForQueue();
  }

  /** The next event of this exchange has to come within `timeoutMs`. */
  expect(exchange: Http1Exchange, timeoutMs: number): void {
    if (timeoutMs <= 0 || timeoutMs === Number.POSITIVE_INFINITY) {
      exchange.deadlineMs = Number.POSITIVE_INFINITY;
      return;
    }
    exchange.deadlineMs = this.#options.clock.monotonicMs() + timeoutMs;
    this.#wakeAt(exchange.deadlineMs);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const exchange of [...this.#active]) this.fail(exchange, new UpstreamError('aborted', 'the client is closed'));
    for (const connection of [...this.#connections]) connection.destroy();
  }

  #openForQueue(): void {
    const { connect, connectTimeoutMs, connectionsMax, openingMax, clock } = this.#options;
    while (
      !this.#closed &&
      this.#opening.size < Math.min(this.#queue.length, openingMax) &&
      this.#connections.size < connectionsMax
    ) {
      const connection = new Http1Connection(this, connect, this.#readBuffer);
      connection.openUntilMs = clock.monotonicMs() + connectTimeoutMs;
      this.#connections.add(connection);
      this.#opening.add(connection);
      this.#wakeAt(connection.openUntilMs);
      connection.open();
    }
  }

  #wakeAt(atMs: number): void {
    // A timer that is due a little early looks again; re-arming it for each request would cost more than that.
    if (atMs >= this.#timerAtMs || this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    const delayMs = Math.min(2 ** 30, Math.max(1, Math.ceil(atMs - this.#options.clock.monotonicMs())));
    this.#timer = setTimeout(this.#onTimer, delayMs);
    this.#timer.unref();
  }

  readonly #onTimer = (): void => {
    this.#timer = null;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    const now = this.#options.clock.monotonicMs();
    let next = Number.POSITIVE_INFINITY;
    for (const exchange of [...this.#active]) {
      if (exchange.deadlineMs <= now)
        this.fail(exchange, new UpstreamError('timeout', 'the provider did not answer in time'));
      else if (exchange.deadlineMs < next) next = exchange.deadlineMs;
    }
    for (const connection of [...this.#opening]) {
      // Those who waited for it had their own deadline, which was not later.
      if (connection.openUntilMs <= now) connection.destroy();
      else if (connection.openUntilMs < next) next = connection.openUntilMs;
    }
    for (const connection of [...this.#idle]) {
      if (connection.idleUntilMs <= now) connection.destroy();
      else if (connection.idleUntilMs < next) next = connection.idleUntilMs;
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wakeAt(next);
  };
}
