import type { Deployment } from '../../domain/deployment.ts';

/** One attempt at one deployment, ready to be sent: same wire format in and out, so the body is bytes. */
export interface UpstreamRequest {
  readonly deployment: Deployment;
  readonly method: 'POST' | 'GET';
  /** Path below the deployment's `apiBase`, e.g. `/chat/completions`. */
  readonly path: string;
  /** Flat list: name, value, name, value, ... The very same array for all requests of a deployment. */
  readonly sharedHeaders?: readonly string[];
  /** The same form; of this request. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  readonly stream: boolean;
  /** Until the response head. */
  readonly headersTimeoutMs: number;
  /** Between two body chunks; 0 = none. */
  readonly bodyTimeoutMs: number;
}

export type UpstreamErrorKind = 'connect' | 'timeout' | 'reset' | 'protocol' | 'aborted' | 'tls';

/** A failure below HTTP. `sentAny`: the request may have reached the provider. */
export class UpstreamError extends Error {
  readonly kind: UpstreamErrorKind;
  constructor(kind: UpstreamErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/**
 * Receives one answer. Order: `onStart` once, then `onHead` once, `onData` any number of times, then exactly one of
 * `onEnd` or `onError`; `onError` may come at any point after `onStart`, and ends it.
 */
export interface UpstreamHandler {
  /** `abort` may be called at any time until the end; leads to `onError` of kind `aborted`. */
  onStart(abort: () => void): void;
  /** `headers` is the raw flat list as received. `resume` restarts data after `onData` returned false. */
  onHead(status: number, headers: readonly Buffer[] | readonly string[], resume: () => void): void;
  /** Returns false to stop the flow until `resume`. */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(error: UpstreamError): void;
}

/** Sends requests to a provider: over the network (`upstream-client.ts`) or, for `fake/...`, in this process. */
export interface Upstream {
  dispatch(request: UpstreamRequest, handler: UpstreamHandler): void;
  close(): Promise<void>;
}
