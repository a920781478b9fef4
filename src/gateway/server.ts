import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { ClavigerError } from '../domain/error-catalogue.ts';
import type { Log } from '../observe/log.ts';
import type { Pipeline } from './pipeline.ts';

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
  readonly server: Server;
  /** Stops listening and closes idle connections; resolves when the last answer is out. */
  drain(): Promise<void>;
  /** Cuts what is still open. */
  destroy(): void;
}

/** The public port: `node:http` or `node:https` around the pipeline, with every wait bounded. */
export function createGatewayServer(
  pipeline: Pipeline,
  limits: ServerLimits,
  tls: TlsFiles | null,
  log: Log,
): GatewayServer {
  const options: ServerOptions = {
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
    noDelay: true,
    insecureHTTPParser: false,
  };
  const server: Server | TlsServer =
    tls === null ? createServer(options) : createTlsServer({ ...options, ...readPair(tls) });
  server.on('request', (request, response) => pipeline.handle(request, response));
  server.on('upgrade', (request, socket, head) => pipeline.handleUpgrade(request, socket as Socket, head));
  server.on('clientError', (error: Error & { code?: string }, socket: Socket) => {
    // A parser error after an answer has begun can not be answered any more.
    if (!socket.writable || socket.bytesWritten > 0 || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    socket.end(pipeline.rawError(clientErrorFrom(error.code, limits), null));
  });
  if (tls !== null) watchPair(tls, server as TlsServer, log);

  return {
    server,
    drain() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
        // A connection that becomes idle while draining is closed by its `connection: close`; a new one is never accepted.
      });
    },
    destroy() {
      if (tls !== null) for (const path of [tls.certPath, tls.keyPath]) unwatchFile(path);
      server.closeAllConnections();
    },
  };
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
