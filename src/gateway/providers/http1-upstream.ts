import { connect as connectTcp, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Clock } from '../../util/clock.ts';
import { Http1Pool } from './http1/http1-pool.ts';
import { type Upstream, UpstreamError, type UpstreamHandler, type UpstreamRequest } from './upstream.ts';
import {
  CONNECT_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  UPSTREAM_CONNECTIONS_MAX,
  UPSTREAM_OPENING_MAX,
} from './upstream-bounds.ts';
import type { UpstreamTls } from './upstream-tls.ts';

/** Requests to one origin over keep-alive HTTP/1.1 connections of our own. */
export class Http1Upstream implements Upstream {
  readonly #basePath: string;
  readonly #hostLine: string;
  readonly #pool: Http1Pool;
  /** Shared headers as text, checked. */
  readonly #sharedLines = new WeakMap<readonly string[], string>();

  constructor(url: URL, tls: UpstreamTls, clock: Clock) {
    this.#basePath = url.pathname === '/' ? '' : url.pathname.replace(/\/$/, '');
    this.#hostLine = ` HTTP/1.1\r\nhost: ${url.host}\r\n`;
    this.#pool = new Http1Pool({
      connect: url.protocol === 'https:' ? tlsConnector(url, tls) : tcpConnector(url),
      clock,
      connectionsMax: UPSTREAM_CONNECTIONS_MAX,
      openingMax: UPSTREAM_OPENING_MAX,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
    });
  }

  dispatch(request: UpstreamRequest, handler: UpstreamHandler): void {
    const { body, headers, sharedHeaders = NO_HEADERS, headersTimeoutMs, bodyTimeoutMs } = request;
    let shared = this.#sharedLines.get(sharedHeaders);
    const unsafe = unsafeHeader(headers) ?? (shared === undefined ? unsafeHeader(sharedHeaders) : null);
    if (unsafe !== null) {
      handler.onStart(() => {});
      handler.onError(new UpstreamError('protocol', `the value of the header ${unsafe} can not be sent`));
      return;
    }
    if (shared === undefined) {
      shared = headerLines(sharedHeaders);
      this.#sharedLines.set(sharedHeaders, shared);
    }
    const requestLine = `${request.method} ${this.#basePath}${request.path}${this.#hostLine}`;
    const head = [requestLine, shared, headerLines(headers), `content-length: ${body.length}\r\n\r\n`].join('');
    this.#pool.send({ head, body, headersTimeoutMs, bodyTimeoutMs }, handler);
  }

  async close(): Promise<void> {
    this.#pool.close();
  }
}

/** A line break would begin another header; anything beyond latin1 would be cut to something else. */
const UNSAFE_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

const NO_HEADERS: readonly string[] = [];

/** Name of the first header that can not be sent, or null. */
function unsafeHeader(headers: readonly string[]): string | null {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (UNSAFE_VALUE.test(headers[index + 1]!)) return headers[index]!;
  }
  return null;
}

function headerLines(headers: readonly string[]): string {
  const parts: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    parts.push(headers[index]!, ': ', headers[index + 1]!, '\r\n');
  }
  return parts.join('');
}

function hostOf(url: URL): string {
  return url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
}

function tcpConnector(url: URL) {
  const host = hostOf(url);
  const port = url.port === '' ? 80 : Number(url.port);
  return (onread: OnReadOpts, onReady: () => void): Socket =>
    connectTcp({ host, port, onread, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, onReady);
}

function tlsConnector(url: URL, tls: UpstreamTls) {
  const host = hostOf(url);
  const port = url.port === '' ? 443 : Number(url.port);
  const isAddress = /^[\d.]+$|:/.test(host);
  let session: Buffer | undefined;
  return (onread: OnReadOpts, onReady: () => void): Socket => {
    // `onread` is an option of the socket below, which the types of `tls.connect` leave out.
    const options = {
      ...tls,
      ...(isAddress ? {} : { servername: host }),
      ...(session === undefined ? {} : { session }),
      host,
      port,
      onread,
      ALPNProtocols: ['http/1.1'],
    };
    const socket: TLSSocket = connectTls(options, onReady);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    // A resumed session saves the expensive half of the next handshake.
    socket.on('session', (ticket) => {
      session = ticket;
    });
    return socket;
  };
}
