/**
 * The feed on the unix socket of the instance: protocol 1 as in src/feed/protocol.ts. Plain node:http, because it is reached by our own
 * gateway processes only, and a stream that stays open for days wants nothing between it and the socket.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { FeedFormatError, parseAck, parseHello, parseUsageBatch } from '../../feed/codec.ts';
import {
  type DownFrame,
  FEED_PING_INTERVAL_MS,
  FEED_PROTOCOL,
  FEED_PROTOCOL_MIN,
  type UsageBatch,
  type UsageReply,
} from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import { type Database, DatabaseBusy, DatabaseUnavailable } from '../../storage/db.ts';
import { ForeignUsage } from '../money/ingest.ts';
import { catchUp } from './catch-up.ts';
import type { ChangeTail } from './change-tail.ts';
import type { Registry } from './registry.ts';
import { Subscriber, SubscriberGone } from './subscriber.ts';

export interface FeedServerOptions {
  readonly tail: ChangeTail;
  readonly registry: Registry;
  readonly db: Database;
  /** Base64; null until the database has been opened. */
  readonly fleetKey: () => string | null;
  readonly ingest: (batch: UsageBatch) => Promise<UsageReply>;
  readonly log: Log;
  readonly pingIntervalMs?: number;
}

/** A larger body is refused; the longest honest one is a batch of some hundred records. */
export const FEED_BODY_BYTES_MAX = 16 * 1024 * 1024;
/** While the database is away or the control process leaves. */
const COME_BACK_MS = 500;

export interface FeedServer {
  readonly server: Server;
  /** Tells all subscribers to come back, to the next control process. */
  close(): Promise<void>;
}

export function createFeedServer(options: FeedServerOptions): FeedServer {
  const { tail, registry, log } = options;
  const subscribers = new Set<Subscriber>();

  const server = createServer((request, response) => {
    route(request, response).catch((error: unknown) => {
      const { status, message } = refusalOf(error);
      if (status === 500) log.error({ err: error, path: request.url }, 'a feed request failed');
      answer(response, status, { error: message });
    });
  });
  // A stream is open for days; each request is short, and its sender is one of ours.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;

  const pingFrame = (): DownFrame | null => {
    const rev = tail.position?.rev;
    return rev === undefined ? null : { t: 'ping', rev, dbAgeMs: Math.round(tail.dbAgeMs()) };
  };
  const ping = setInterval(() => {
    const frame = pingFrame();
    if (frame !== null) for (const subscriber of subscribers) subscriber.write(frame);
  }, options.pingIntervalMs ?? FEED_PING_INTERVAL_MS);

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') throw new Refusal(405, 'the feed takes POST requests only');
    const body = await readText(request);
    switch (request.url) {
      case '/feed/v1/stream':
        return stream(body, response);
      case '/feed/v1/ack':
        if (!registry.acknowledge(parseAck(body))) throw new Refusal(409, 'this session is not connected');
        response.writeHead(204).end();
        return;
      case '/feed/v1/usage':
        return answer(response, 200, await options.ingest(parseUsageBatch(body)));
      default:
        throw new Refusal(404, 'the feed has no such path');
    }
  }

  async function stream(body: string, response: ServerResponse): Promise<void> {
    const hello = parseHello(body);
    if (hello.protocol < FEED_PROTOCOL_MIN || hello.protocol > FEED_PROTOCOL) {
      throw new Refusal(
        400,
        `this control process speaks feed protocols ${FEED_PROTOCOL_MIN} to ${FEED_PROTOCOL}, not ${hello.protocol}`,
      );
    }
    const current = tail.position;
    const fleetKey = options.fleetKey();
    if (current === null || fleetKey === null) throw new DatabaseUnavailable('the database has not been reached yet');

    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    response.flushHeaders();
    const subscriber = new Subscriber(response);
    const entry = registry.claim(hello, subscriber);
    if (entry === null) {
      subscriber.supersede();
      return;
    }
    // Before anything is read: what is committed from here on reaches the subscriber.
    const stopOffering = tail.onStretch((stretch) => subscriber.offer(stretch));
    subscribers.add(subscriber);
    response.on('close', () => {
      subscribers.delete(subscriber);
      stopOffering();
      registry.release(entry);
    });
    try {
      await catchUp(subscriber, hello.have, current, { db: options.db, fleetKey });
      // At once, so that it can say "there is no such key" from its first second on.
      const frame = pingFrame();
      if (frame !== null) subscriber.write(frame);
    } catch (error) {
      if (!subscriber.live && !(error instanceof SubscriberGone)) {
        log.warn({ err: error, gatewayId: hello.gatewayId }, 'a gateway process could not be brought up to date');
        subscriber.goAway(COME_BACK_MS);
      }
    }
  }

  return {
    server,
    close: () =>
      new Promise((resolve) => {
        clearInterval(ping);
        server.close(() => resolve());
        for (const subscriber of subscribers) subscriber.goAway(COME_BACK_MS);
        server.closeIdleConnections();
      }),
  };
}

/** A refusal with a status and a sentence; gateway processes log it. */
export class Refusal extends Error {
  override name = 'Refusal';
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function refusalOf(error: unknown): { status: number; message: string } {
  if (error instanceof Refusal) return { status: error.status, message: error.message };
  if (error instanceof ForeignUsage) return { status: 409, message: error.message };
  if (error instanceof FeedFormatError) return { status: 400, message: error.message };
  if (error instanceof DatabaseUnavailable || error instanceof DatabaseBusy)
    return { status: 503, message: error.message };
  return { status: 500, message: 'internal error' };
}

function answer(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(status === 503 ? { 'retry-after': '1' } : {}),
  });
  response.end(text);
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > FEED_BODY_BYTES_MAX) throw new Refusal(413, `the body is larger than ${FEED_BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
