/** What a test and its upstream server (another process) say to each other. */

/** What the server does with a request. */
export type UpstreamMode =
  /** JSON or SSE as the request asks; completions, embeddings and `GET /models`. */
  | 'normal'
  /** As `normal`, with the field `echo`: headers and body as they arrived (JSON answers only). */
  | 'echo'
  /** No answer at all; the connection stays open. */
  | 'hang'
  /** The connection is reset before the head. */
  | 'reset'
  /** Bytes that are not HTTP. */
  | 'not-http'
  /** Status 200 with a body that is neither JSON nor UTF-8. */
  | 'garbage'
  /** `status` (default 500) with OpenAI's error JSON. */
  | 'error'
  /** `status` (default 502) with an HTML page. */
  | 'html'
  /** A stream, closed in the middle of its third event; JSON, closed in the middle of the body. */
  | 'cut-event'
  /** A stream, closed in the middle of a character of four bytes. */
  | 'cut-utf8'
  /** A stream with all its events and `[DONE]` that is never ended. */
  | 'no-end'
  /** A stream that ends properly but without `[DONE]`. */
  | 'no-done'
  /** A stream with an error event in the middle, then the end. */
  | 'error-event'
  /** JSON although a stream was asked for. */
  | 'json-for-stream'
  /** A stream of `floodBytes` as fast as the peer takes it. */
  | 'flood';

export interface UpstreamScript {
  readonly mode: UpstreamMode;
  /** Before the head. */
  readonly delayMs: number;
  /** From the head to the first event. */
  readonly firstChunkMs: number;
  /** Content events of a stream. */
  readonly chunks: number;
  readonly chunkMs: number;
  /** Bytes per write of a stream; 0: one event per write. */
  readonly splitBytes: number;
  readonly usage: boolean;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly status: number;
  readonly floodBytes: number;
  /** Further headers of the answer. */
  readonly headers: Readonly<Record<string, string>>;
}

/** One request as the server saw it: what arrived, what was answered, what it would bill. */
export interface SeenRequest {
  readonly number: number;
  /** Number of the TCP connection; equal numbers mean that a connection was used again. */
  readonly connection: number;
  readonly method: string;
  readonly path: string;
  /** As they arrived: order, case and doubles kept. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly bodyBase64: string;
  readonly stream: boolean;
  readonly mode: UpstreamMode;
  /** Common name of the client's certificate. */
  readonly clientCertificate: string | null;
  readonly receivedAtMs: number;
  readonly status: number | null;
  /** Bytes given to the socket, and those of them that the kernel has taken. */
  readonly bytesOffered: number;
  readonly bytesTaken: number;
  /** When the kernel took bytes last. */
  readonly lastTakenAtMs: number | null;
  /** Tokens a provider would bill: the whole prompt, and of the answer what was sent before the end. */
  readonly billed: { readonly promptTokens: number; readonly completionTokens: number };
  readonly end: 'open' | 'complete' | 'cut' | 'peer-closed';
  readonly endedAtMs: number | null;
}

export interface UpstreamBoot {
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** PEM; a client certificate signed by it is then required. */
  readonly clientCa: string | null;
  readonly keepAliveTimeoutMs: number;
}

export type UpstreamCommand =
  | { readonly type: 'boot'; readonly boot: UpstreamBoot }
  /** For all later requests that do not say otherwise themselves. */
  | { readonly type: 'script'; readonly script: Partial<UpstreamScript> }
  | { readonly type: 'requests' }
  | { readonly type: 'forget' }
  /** Connections are refused until `listen`; open ones are closed. */
  | { readonly type: 'refuse' }
  | { readonly type: 'listen' };

export type ToUpstream = UpstreamCommand & { readonly id: number };

export type FromUpstream =
  | { readonly id: number; readonly port: number }
  | { readonly id: number; readonly requests: readonly SeenRequest[] }
  | { readonly id: number; readonly error: string };

export const DEFAULT_UPSTREAM_SCRIPT: UpstreamScript = {
  mode: 'normal',
  delayMs: 0,
  firstChunkMs: 0,
  chunks: 8,
  chunkMs: 0,
  splitBytes: 0,
  usage: true,
  promptTokens: 11,
  completionTokens: 7,
  status: 0,
  floodBytes: 200 * 1024 * 1024,
  headers: {},
};

export const UPSTREAM_MODES: readonly UpstreamMode[] = [
  ...(['normal', 'echo', 'hang', 'reset', 'not-http', 'garbage', 'error', 'html'] as const),
  ...(['cut-event', 'cut-utf8', 'no-end', 'no-done', 'error-event', 'json-for-stream', 'flood'] as const),
];
