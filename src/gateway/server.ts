import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Server as NetServer, Socket } from 'node:net';
import { ClavigerError } from '../domain/error-catalogue.ts';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../util/clock.ts';
import { FrontServer } from './front/front-server.ts';
import { ignoreUpgrade, wantsWebSocket } from './http/ignore-upgrade.ts';
import type { Pipeline } from './pipeline.ts';
import { type LeaveTakingOptions, takeLeave } from './take-leave.ts';

export interface ServerLimits {
  /** Request line and headers; more is 431. */
  readonly headerBytesMax: number;
  /** From the first byte of a request to the end of its headers; more is 408. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to its last; more is 408. */
  readonly requestTimeoutMs: number;
  /** Idle time of a kept-alive connection. Above the 60 s of usual balancers, so that they close first. */
  readonly keepAliveTimeoutMs: number;
}

export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  headerBytesMax: 64 * 1024,
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 300_000,
  keepAliveTimeoutMs: 75_000,
};

export interface TlsFiles {
  readonly certPath: string;
  readonly keyPath: string;
}

/** How often certificate files are looked at; a changed pair is used for new connections without a restart. */
const TLS_WATCH_INTERVAL_MS = 2_000;

export interface GatewayServer {
  /** What listens: the front, or with TLS Node's server itself. */
  readonly server: NetServer;
  /** Closes idle connections, stops listening at the time that `leave` says, and resolves when the last answer is out. */
  drain(leave: LeaveTakingOptions): Promise<void>;
  /** Cuts what is still open. */
  destroy(): void;
}

/** While draining, connections that became idle are closed this often. */
const DRAIN_SWEEP_MS = 100;
/** A connection without a request for so long is not in use. */
const DRAIN_IDLE_MS = 1_000;

/** The public port: `node:http` or `node:https` around the pipeline, with every wait bounded. */
export function createGatewayServer(
  pipeline: Pipeline,
  limits: ServerLimits,
  tls: TlsFiles | null,
  log: Log,
  clock: Clock,
): GatewayServer {
  const options: ServerOptions = {
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
    noDelay: true,
    insecureHTTPParser: false,
    // Node would answer without our envelope; the pipeline asks for the header itself.
    requireHostHeader: false,
  };
  const server: Server | TlsServer =
    tls === null ? createServer(options) : createTlsServer({ ...options, ...readPair(tls) });
  const newest = new WeakMap<Socket, OpenRequest>();
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    const before = newest.get(socket);
    if (before !== undefined && !before.response.writableFinished) tellWhenGone(socket, response);
    newest.set(socket, pipeline.handle(request, response));
  };
  server.on('request', onRequest);
  // With a listener, Node leaves it to us to say `100 Continue`: not to a stranger, and not for a body that is refused anyway.
  server.on('checkContinue', onRequest);
  // Other expectations are none of ours; Node would answer 417 without our envelope.
  server.on('checkExpectation', onRequest);
  server.on('upgrade', (request, socket, head) => {
    if (wantsWebSocket(request)) pipeline.handleUpgrade(request, socket as Socket, head);
    else ignoreUpgrade(server, request, socket as Socket, head);
  });
  server.on('clientError', (error: Error & { code?: string }, socket: Socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const refusal = clientErrorFrom(error.code, limits);
    const open = newest.get(socket);
    // The connection ended in the middle of a body: the client has left.
    if (error.code === 'HPE_INVALID_EOF_STATE' && open?.request.complete === false) socket.destroy();
    else if (open === undefined) socket.end(pipeline.rawError(refusal, null));
    else refuseRest(socket, open, refusal, pipeline);
  });
  if (tls !== null) watchPair(tls, server as TlsServer, log);

  // With TLS the handshake and the encryption outweigh what the front saves.
  const front = tls === null ? new FrontServer(pipeline, server, limits, clock) : null;

  return {
    server: front?.server ?? server,
    drain(leave) {
      return new Promise((resolve) => {
        // A connection in use is told with its next answer (`connection: close`). To cut it in the moment between two requests
        // would be to lose the next one, so only one that stays idle is cut: an answer that began before the drain has
        // promised to keep its connection, and that must not hold up the end.
        const sweep = setInterval(() => {
          front?.closeIdle(DRAIN_IDLE_MS);
        }, DRAIN_SWEEP_MS);
        // Of its own connections Node does not say how long they have been idle.
        const nodeSweep = setInterval(() => server.closeIdleConnections(), DRAIN_IDLE_MS);
        void takeLeave(leave).then(() =>
          // Connections that the front handed over belong to its server too, so this waits for all of them.
          (front?.server ?? server).close(() => {
            clearInterval(sweep);
            clearInterval(nodeSweep);
            resolve();
          }),
        );
      });
    },
    destroy() {
      if (tls !== null) for (const path of [tls.certPath, tls.keyPath]) unwatchFile(path);
      front?.destroyAll();
      server.closeAllConnections();
    },
  };
}

/** A request that was handed to the pipeline; of each connection the newest is remembered. */
export interface OpenRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Answers with this error if nothing was answered yet, and ends the connection. */
  fail(error: ClavigerError): void;
}

/**
 * What comes next on a connection can not be read. When that is the rest of the newest request, the error is its answer. When
 * that request was complete it still gets the answer that it deserves, and then the connection ends: an error put in between
 * would be taken for that answer.
 */
function refuseRest(socket: Socket, open: OpenRequest, refusal: ClavigerError, pipeline: Pipeline): void {
  const { request, response } = open;
  if (!request.complete) {
    if (response.headersSent) socket.destroy();
    else open.fail(refusal);
  } else if (response.writableFinished) {
    socket.end(pipeline.rawError(refusal, null));
  } else if (response.shouldKeepAlive) {
    response.shouldKeepAlive = false;
    response.once('finish', () => socket.destroySoon());
  }
}

/**
 * Of several pipelined answers, Node tells only the one whose turn it is that the connection is gone. Those behind it have to
 * be told as well, or their providers would go on working.
 */
function tellWhenGone(socket: Socket, response: ServerResponse): void {
  const onClose = (): void => {
    if (response.writableFinished) return;
    response.destroy();
    response.emit('close');
  };
  socket.setMaxListeners(0);
  socket.once('close', onClose);
  response.once('close', () => socket.off('close', onClose));
}

function clientErrorFrom(code: string | undefined, limits: ServerLimits): ClavigerError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ClavigerError('headers_too_large');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ClavigerError('request_timeout', { seconds: limits.requestTimeoutMs / 1000 });
    default:
      return new ClavigerError('malformed_http');
  }
}

function readPair(tls: TlsFiles): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(tls.certPath), key: readFileSync(tls.keyPath) };
}

/** Polls instead of watching: certificate managers replace files by rename or symlink, which watchers lose. */
function watchPair(tls: TlsFiles, server: TlsServer, log: Log): void {
  const reload = (): void => {
    try {
      server.setSecureContext(readPair(tls));
      log.info({ certPath: tls.certPath }, 'TLS certificate reloaded');
    } catch (error) {
      log.warn(
        { certPath: tls.certPath, error },
        'TLS certificate changed but can not be used; the previous one stays',
      );
    }
  };
  for (const path of [tls.certPath, tls.keyPath]) {
    watchFile(path, { interval: TLS_WATCH_INTERVAL_MS, persistent: false }, reload);
  }
}
