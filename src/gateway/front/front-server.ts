import type { Server as HttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import type { LlmEndpoint } from '../../domain/route-class.ts';
import type { Clock } from '../../util/clock.ts';
import { FrontConnection } from './front-connection.ts';
import type { FrontResponse } from './front-response.ts';
import type { SimpleRequest } from './parse-simple-request.ts';

/** A larger body goes to Node's server, which asks who is calling before it reads it. */
export const FRONT_BODY_BYTES_MAX = 64 * 1024;

export interface FrontHandler {
  /** The endpoint when this target is one that the front may serve; null hands the connection to Node's server. */
  endpointOf(target: string): LlmEndpoint | null;
  /** `body` null: the client left before it was complete. */
  handleSimple(
    request: SimpleRequest,
    socket: Socket,
    response: FrontResponse,
    endpoint: LlmEndpoint,
    body: Buffer | null,
  ): void;
  /** True while the process is draining. */
  isDraining(): boolean;
}

export interface FrontLimits {
  readonly headerBytesMax: number;
  /** For the first byte of a new connection. */
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
}

const SWEEP_INTERVAL_MS = 1_000;

/**
 * The public port for what nearly all traffic is: `POST` of a complete, plain request to an LLM endpoint. A connection whose next
 * request is anything else is handed, with the bytes read so far, to Node's HTTP server, and stays there. So every rule of
 * HTTP is Node's, and the common case does not pay for the uncommon ones.
 */
export class FrontServer {
  readonly server: Server;
  readonly #connections = new Set<FrontConnection>();
  readonly #sweep: NodeJS.Timeout;
  readonly #clock: Clock;
  #dateLine = '';
  #dateAtMs = 0;

  constructor(handler: FrontHandler, fallback: HttpServer, limits: FrontLimits, clock: Clock) {
    this.#clock = clock;
    this.server = createServer({ noDelay: true }, (socket) => {
      const connection = new FrontConnection(socket, handler, fallback, limits, clock, this.#currentDateLine);
      this.#connections.add(connection);
      connection.onGone = () => this.#connections.delete(connection);
    });
    // Node's server starts to watch its time-outs when it listens. This one never does: it gets its connections from here.
    this.server.once('listening', () => fallback.emit('listening'));
    this.#sweep = setInterval(
      () => {
        const now = clock.monotonicMs();
        for (const connection of [...this.#connections]) connection.checkDeadline(now);
      },
      Math.min(SWEEP_INTERVAL_MS, limits.headersTimeoutMs),
    );
    this.#sweep.unref();
  }

  /** Ends connections that have waited for a request for at least `idleMs`. */
  closeIdle(idleMs: number): void {
    const since = this.#clock.monotonicMs() - idleMs;
    for (const connection of [...this.#connections]) connection.closeIfIdle(since);
  }

  destroyAll(): void {
    clearInterval(this.#sweep);
    for (const connection of [...this.#connections]) connection.socket.destroy();
  }

  /** The text changes once a second; making it costs as much as a small JSON parse. */
  readonly #currentDateLine = (): string => {
    const now = this.#clock.nowMs();
    if (now - this.#dateAtMs >= 1_000 || now < this.#dateAtMs) {
      this.#dateAtMs = now - (now % 1_000);
      this.#dateLine = `Date: ${new Date(now).toUTCString()}\r\n`;
    }
    return this.#dateLine;
  };
}
