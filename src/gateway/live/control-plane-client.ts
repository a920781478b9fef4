import type { Readable } from 'node:stream';
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';
import type { OutboundSettings } from '../../settings/settings.ts';
import { proxyFor } from '../providers/upstream-client.ts';
import { readAuthorities } from '../providers/upstream-tls.ts';

export interface ControlPlaneAnswer {
  readonly status: number;
  readonly body: Readable;
}

export interface ControlPlaneCall {
  /** Below the address, begins with a slash. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  readonly signal: AbortSignal;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** A stream, and posts beside it. */
const CONNECTIONS_MAX = 8;
/** We say something every second; what was idle for longer may have been cut on the way. */
const IDLE_TIMEOUT_MS = 10_000;

/** POST requests to admins, through the proxy and with the authorities that providers are reached with too. */
export class ControlPlaneClient {
  readonly #settings: OutboundSettings;
  readonly #dispatchers = new Map<string, Dispatcher>();

  constructor(settings: OutboundSettings) {
    this.#settings = settings;
  }

  /** Rejects when no answer begins. What comes of the body is the caller's to bound. */
  async post(address: string, { path, headers, body, signal }: ControlPlaneCall): Promise<ControlPlaneAnswer> {
    const { statusCode, body: answer } = await request(`${address}${path}`, {
      dispatcher: this.#dispatcherFor(address),
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
      signal,
      // Whoever calls knows how long to wait, and streams are silent for no reason that we could judge here.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    return { status: statusCode, body: answer };
  }

  close(): void {
    for (const dispatcher of this.#dispatchers.values()) void dispatcher.destroy().catch(() => undefined);
    this.#dispatchers.clear();
  }

  #dispatcherFor(address: string): Dispatcher {
    const known = this.#dispatchers.get(address);
    if (known !== undefined) return known;
    const { sslVerify } = this.#settings;
    const ca = readAuthorities(this.#settings);
    const tls = { rejectUnauthorized: sslVerify, ...(ca === undefined ? {} : { ca }) };
    const proxy = proxyFor(new URL(address), this.#settings);
    const common = { connections: CONNECTIONS_MAX, pipelining: 1, keepAliveTimeout: IDLE_TIMEOUT_MS };
    const dispatcher =
      proxy === null
        ? new Agent({ ...common, connect: { ...tls, timeout: CONNECT_TIMEOUT_MS } })
        : new ProxyAgent({
            ...common,
            uri: proxy,
            requestTls: tls,
            proxyTls: ca === undefined ? {} : { ca },
            connectTimeout: CONNECT_TIMEOUT_MS,
          });
    this.#dispatchers.set(address, dispatcher);
    return dispatcher;
  }
}

/** What failed, in words of the address and not of a library. */
export function describeFailure(error: unknown): string {
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  if (typeof code === 'string' && code !== '' && !String(message).includes(code)) return `${String(message)} (${code})`;
  if (cause instanceof Error) return `${String(message)}: ${cause.message}`;
  return String(message);
}
