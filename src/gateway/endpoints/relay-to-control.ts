import {
  Agent,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { INSTANCE_HEADER, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER } from '../../feed/request-signature.ts';
import { COUNTER_HEADER, MAC_HEADER, SESSION_HEADER } from '../../feed/session-request.ts';

/** Requests relayed at once. One more is answered 503: management traffic must not starve completions of sockets. */
export const RELAYED_REQUESTS_MAX = 256;
/** The same for the feed of joined workers: each of their processes has a stream open all the time. */
export const FEED_RELAYED_MAX = 4_096;
/** Bytes buffered per direction of a relayed request; then the sender waits. */
export const RELAY_BUFFER_BYTES_MAX = 64 * 1024;

export interface Relay {
  /** `target` is the normalised path with its query. */
  relay(
    request: IncomingMessage,
    response: ServerResponse,
    target: RelayTarget,
    onError: (error: ClavigerError) => void,
  ): void;
  /** A protocol upgrade: the bytes of both sockets are joined when the control process accepts. */
  relayUpgrade(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    target: RelayTarget,
    onError: (error: ClavigerError) => void,
  ): void;
  /** Ends the streams of joined workers, which would hold up the end of this process; they come back elsewhere. */
  endFeeds(): void;
  close(): void;
}

export interface RelayTarget {
  readonly path: string;
  readonly callId: string;
  readonly clientAddress: string | null;
  /** True when the peer is a trusted proxy: its `x-forwarded-*` are then believed and passed on. */
  readonly trusted: boolean;
  readonly isTls: boolean;
  /** A path of the feed. What it says of its sender is signed. */
  readonly isFeed: boolean;
}

/** Passes management paths to the control process of the instance, byte for byte, with back-pressure. */
export function createRelay(controlSocket: string): Relay {
  const agent = new Agent({ keepAlive: true, maxSockets: RELAYED_REQUESTS_MAX, keepAliveMsecs: 10_000 });
  const feedAgent = new Agent({ keepAlive: true, maxSockets: FEED_RELAYED_MAX, keepAliveMsecs: 10_000 });
  const feeds = new Set<() => void>();
  let open = 0;

  const start = (request: IncomingMessage, target: RelayTarget, upgrade: boolean): ClientRequest => {
    if (!target.isFeed) open++;
    const options: RequestOptions & { highWaterMark: number } = {
      socketPath: controlSocket,
      agent: upgrade ? false : target.isFeed ? feedAgent : agent,
      method: request.method ?? 'GET',
      path: target.path,
      headers: requestHeaders(request, target, upgrade),
      highWaterMark: RELAY_BUFFER_BYTES_MAX,
    };
    const upstream = httpRequest(options);
    if (!target.isFeed) {
      upstream.once('close', () => {
        open--;
      });
    }
    return upstream;
  };

  return {
    relay(request, response, target, onError) {
      const limit = target.isFeed ? FEED_RELAYED_MAX : RELAYED_REQUESTS_MAX;
      if ((target.isFeed ? feeds.size : open) >= limit) {
        onError(new ClavigerError('relay_busy', { limit }));
        return;
      }
      const upstream = start(request, target, false);
      if (target.isFeed) keepEnd(upstream, response, feeds);
      upstream.on('error', (cause) => {
        if (response.headersSent) response.destroy();
        else onError(new ClavigerError('control_process_away', {}, { cause }));
      });
      upstream.on('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, answerHeaders(answer.rawHeaders));
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
      });
      response.on('close', () => {
        if (!response.writableFinished) upstream.destroy();
      });
      request.pipe(upstream);
      request.on('error', () => upstream.destroy());
    },

    relayUpgrade(request, socket, head, target, onError) {
      if (open >= RELAYED_REQUESTS_MAX) {
        onError(new ClavigerError('relay_busy', { limit: RELAYED_REQUESTS_MAX }));
        return;
      }
      const upstream = start(request, target, true);
      upstream.on('error', (cause) => onError(new ClavigerError('control_process_away', {}, { cause })));
      upstream.on('response', (answer) => {
        socket.write(
          rawHead(answer.statusCode ?? 502, answer.statusMessage ?? '', [
            ...answerHeaders(answer.rawHeaders),
            'connection',
            'close',
          ]),
        );
        answer.pipe(socket);
      });
      upstream.on('upgrade', (answer, inner, innerHead) => {
        socket.write(rawHead(101, 'Switching Protocols', answer.rawHeaders));
        if (innerHead.length > 0) socket.write(innerHead);
        if (head.length > 0) inner.write(head);
        inner.pipe(socket).pipe(inner);
        inner.on('error', () => socket.destroy());
        socket.on('error', () => inner.destroy());
        socket.on('close', () => inner.destroy());
      });
      socket.on('error', () => upstream.destroy());
      upstream.end();
    },

    endFeeds() {
      for (const end of [...feeds]) end();
    },

    close() {
      feedAgent.destroy();
      agent.destroy();
    },
  };
}

/** A way to end the answer in good order before the control process does. */
function keepEnd(upstream: ClientRequest, response: ServerResponse, ends: Set<() => void>): void {
  let answer: IncomingMessage | null = null;
  upstream.once('response', (begun) => {
    answer = begun;
  });
  const end = (): void => {
    if (answer !== null) {
      // Its end is not an error of the answer.
      answer
        .unpipe(response)
        .removeAllListeners('error')
        .on('error', () => undefined);
      response.end();
    }
    upstream.destroy();
  };
  ends.add(end);
  upstream.once('close', () => ends.delete(end));
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Of signed requests, and of those of a session. */
const SIGNATURE_HEADERS: ReadonlySet<string> = new Set([
  INSTANCE_HEADER,
  TIME_HEADER,
  NONCE_HEADER,
  SIGNATURE_HEADER,
  SESSION_HEADER,
  COUNTER_HEADER,
  MAC_HEADER,
]);

/** End-to-end headers only; what claims to come from a proxy or from us is dropped unless the peer may say so. */
function requestHeaders(request: IncomingMessage, target: RelayTarget, upgrade: boolean): readonly string[] {
  const named = new Set((request.headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  const headers: string[] = [];
  const { rawHeaders } = request;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    const lower = name.toLowerCase();
    if (lower === 'upgrade' && upgrade) headers.push(name, rawHeaders[index + 1]!);
    if (HOP_BY_HOP.has(lower) || named.has(lower)) continue;
    if (lower.startsWith('x-claviger-') && !(target.isFeed && SIGNATURE_HEADERS.has(lower))) continue;
    if (lower === 'x-litellm-call-id') continue;
    if (lower.startsWith('x-forwarded-') && !target.trusted) continue;
    headers.push(name, rawHeaders[index + 1]!);
  }
  if (upgrade) headers.push('connection', 'upgrade');
  // Node frames what it sends: with a declared length by that, else in chunks.
  else if (request.headers['transfer-encoding'] !== undefined) headers.push('transfer-encoding', 'chunked');
  headers.push('x-litellm-call-id', target.callId);
  if (target.clientAddress !== null) headers.push('x-claviger-client-address', target.clientAddress);
  if (!target.trusted) {
    headers.push('x-forwarded-proto', target.isTls ? 'https' : 'http');
    if (request.headers.host !== undefined) headers.push('x-forwarded-host', request.headers.host);
  }
  return headers;
}

function answerHeaders(raw: readonly string[]): string[] {
  const headers: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const lower = raw[index]!.toLowerCase();
    if (HOP_BY_HOP.has(lower)) continue;
    headers.push(raw[index]!, raw[index + 1]!);
  }
  return headers;
}

function rawHead(status: number, text: string, headers: readonly string[]): string {
  let head = `HTTP/1.1 ${status} ${text}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return `${head}\r\n`;
}
