import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { type Dispatcher, Pool, ProxyAgent } from 'undici';
import type { Deployment } from '../../domain/deployment.ts';
import type { OutboundSettings } from '../../settings/settings.ts';
import {
  type Upstream,
  UpstreamError,
  type UpstreamErrorKind,
  type UpstreamHandler,
  type UpstreamRequest,
} from './upstream.ts';

/** Connections per origin. At the bound undici queues the request inside the process until a connection is free. */
export const UPSTREAM_CONNECTIONS_MAX = 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** Providers and balancers close idle connections after 5 to 60 s; staying below avoids a reset on a reused one. */
const KEEP_ALIVE_TIMEOUT_MS = 4_000;

/** Sends requests over HTTP/1.1 with undici's `dispatch`: one pool for each origin and TLS identity. */
export class UpstreamClient implements Upstream {
  readonly #options: OutboundSettings;
  readonly #pools = new Map<string, Dispatcher>();
  readonly #targets = new WeakMap<Deployment, Target>();
  #ca: string[] | undefined;

  constructor(options: OutboundSettings) {
    this.#options = options;
  }

  dispatch(request: UpstreamRequest, handler: UpstreamHandler): void {
    const exchange = new UpstreamExchange(handler);
    handler.onStart(exchange.abort);
    try {
      const target = this.#targetOf(request.deployment);
      target.dispatcher.dispatch(
        {
          origin: target.origin,
          path: target.basePath + request.path,
          method: request.method,
          headers: request.headers as string[],
          body: request.body,
          headersTimeout: request.headersTimeoutMs,
          bodyTimeout: request.bodyTimeoutMs,
        },
        exchange,
      );
    } catch (error) {
      exchange.onError(error as Error);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
    this.#pools.clear();
  }

  #targetOf(deployment: Deployment): Target {
    let target = this.#targets.get(deployment);
    if (target === undefined) {
      const url = new URL(deployment.apiBase);
      target = {
        origin: url.origin,
        basePath: url.pathname === '/' ? '' : url.pathname.replace(/\/$/, ''),
        dispatcher: this.#poolOf(url, deployment),
      };
      this.#targets.set(deployment, target);
    }
    return target;
  }

  #poolOf(url: URL, deployment: Deployment): Dispatcher {
    const name = [url.origin, deployment.sslVerify, deployment.clientCertPath, deployment.clientKeyPath].join(' ');
    let pool = this.#pools.get(name);
    if (pool === undefined) {
      const tls = this.#tlsOptions(deployment);
      const proxy = proxyFor(url, this.#options);
      const common = {
        connections: UPSTREAM_CONNECTIONS_MAX,
        pipelining: 1,
        keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
        keepAliveMaxTimeout: 60_000,
        connectTimeout: CONNECT_TIMEOUT_MS,
      };
      pool =
        proxy === null
          ? new Pool(url.origin, { ...common, connect: { timeout: CONNECT_TIMEOUT_MS, ...tls } })
          : new ProxyAgent({ ...common, uri: proxy, requestTls: tls, proxyTls: this.#ca ? { ca: this.#ca } : {} });
      this.#pools.set(name, pool);
    }
    return pool;
  }

  #tlsOptions(deployment: Deployment) {
    if (this.#options.caFile !== null && this.#ca === undefined) {
      // Added to Node's own authorities, not instead of them: a file with one private authority must not cut off the public ones.
      this.#ca = [...rootCertificates, readFileSync(this.#options.caFile, 'utf8')];
    }
    return {
      rejectUnauthorized: deployment.sslVerify && this.#options.sslVerify,
      ...(this.#ca ? { ca: this.#ca } : {}),
      ...(deployment.clientCertPath ? { cert: readFileSync(deployment.clientCertPath, 'utf8') } : {}),
      ...(deployment.clientCertPath
        ? { key: readFileSync(deployment.clientKeyPath ?? deployment.clientCertPath, 'utf8') }
        : {}),
    };
  }
}

interface Target {
  readonly origin: string;
  readonly basePath: string;
  readonly dispatcher: Dispatcher;
}

/** undici's raw handler on one side, ours on the other. The raw form is used because it allocates least. */
class UpstreamExchange implements Dispatcher.DispatchHandler {
  readonly #handler: UpstreamHandler;
  #abortUndici: ((error?: Error) => void) | null = null;
  #over = false;

  constructor(handler: UpstreamHandler) {
    this.#handler = handler;
  }

  /** Ends the attempt at once, also when undici still waits for a connection. */
  readonly abort = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#abortUndici?.();
    this.#handler.onError(new UpstreamError('aborted', 'the call was aborted'));
  };

  onConnect(abort: (error?: Error) => void): void {
    if (this.#over) abort();
    else this.#abortUndici = abort;
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    // An informational answer (100, 103) is not the answer.
    if (status >= 200 && !this.#over) this.#handler.onHead(status, headers, resume);
    return true;
  }

  onData(chunk: Buffer): boolean {
    return this.#over ? true : this.#handler.onData(chunk);
  }

  onComplete(): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.onEnd();
  }

  onError(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.onError(upstreamErrorFrom(error));
  }
}

export function upstreamErrorFrom(error: Error & { code?: string }): UpstreamError {
  const code = error.code ?? '';
  return new UpstreamError(kindOf(code), code === '' ? error.message : `${error.message} (${code})`, { cause: error });
}

function kindOf(code: string): UpstreamErrorKind {
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT' || code === 'UND_ERR_CONNECT_TIMEOUT')
    return 'timeout';
  if (code === 'ETIMEDOUT') return 'timeout';
  if (code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE') return 'reset';
  if (code.startsWith('HPE_') || code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return 'protocol';
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'UND_ERR_INVALID_ARG') return 'protocol';
  if (code.startsWith('ERR_TLS') || code.startsWith('ERR_SSL') || code.includes('CERT') || code.includes('SIGNATURE'))
    return 'tls';
  if (code === 'UND_ERR_ABORTED') return 'aborted';
  return 'connect';
}

/** The proxy for this URL by the usual variables, or null for a direct connection. */
export function proxyFor(
  url: URL,
  options: Pick<OutboundSettings, 'httpProxy' | 'httpsProxy' | 'noProxy'>,
): string | null {
  const proxy = url.protocol === 'https:' ? options.httpsProxy : options.httpProxy;
  if (proxy === null || proxy === '') return null;
  for (const rule of options.noProxy) {
    if (rule === '*') return null;
    const [host, port] = splitPort(rule);
    if (port !== null && port !== (url.port || (url.protocol === 'https:' ? '443' : '80'))) continue;
    const suffix = host.replace(/^\*?\./, '');
    const name = url.hostname.toLowerCase();
    if (name === suffix || name.endsWith(`.${suffix}`)) return null;
  }
  return proxy;
}

function splitPort(rule: string): [host: string, port: string | null] {
  const match = /^(.*[^:]):(\d+)$/.exec(rule);
  return match ? [match[1] ?? rule, match[2] ?? null] : [rule, null];
}
