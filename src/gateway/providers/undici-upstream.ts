import { type Dispatcher, ProxyAgent } from 'undici';
import { type Upstream, UpstreamError, type UpstreamHandler, type UpstreamRequest } from './upstream.ts';
import { CONNECT_TIMEOUT_MS, IDLE_TIMEOUT_MS, UPSTREAM_CONNECTIONS_MAX } from './upstream-bounds.ts';
import { upstreamErrorFrom } from './upstream-error.ts';
import type { UpstreamTls } from './upstream-tls.ts';

/** Requests to one origin through a forward proxy, with undici's `dispatch` over a CONNECT tunnel. */
export class UndiciUpstream implements Upstream {
  readonly #origin: string;
  readonly #basePath: string;
  readonly #dispatcher: Dispatcher;

  constructor(url: URL, proxy: string, tls: UpstreamTls) {
    this.#origin = url.origin;
    this.#basePath = url.pathname === '/' ? '' : url.pathname.replace(/\/$/, '');
    this.#dispatcher = new ProxyAgent({
      uri: proxy,
      requestTls: tls,
      proxyTls: tls.ca === undefined ? {} : { ca: tls.ca },
      connections: UPSTREAM_CONNECTIONS_MAX,
      pipelining: 1,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
    });
  }

  dispatch(request: UpstreamRequest, handler: UpstreamHandler): void {
    const exchange = new UndiciExchange(handler);
    handler.onStart(exchange.abort);
    try {
      this.#dispatcher.dispatch(
        {
          origin: this.#origin,
          path: this.#basePath + request.path,
          method: request.method,
          headers: [...(request.sharedHeaders ?? []), ...request.headers],
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
    await this.#dispatcher.destroy();
  }
}

/** undici's raw handler on one side, ours on the other. The raw form is used because it allocates least. */
class UndiciExchange implements Dispatcher.DispatchHandler {
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
