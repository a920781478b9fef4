/**
 * The feed on the unix socket of the instance: protocol 1 as in src/feed/protocol.ts. Plain node:http, because it is reached by our own
 * gateway processes only, and a stream that stays open for days wants nothing between it and the socket.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  FeedFormatError,
  parseAck,
  parseDenialReport,
  parseHello,
  parsePingRequest,
  parseUsageBatch,
} from '../../feed/codec.ts';
import { parseLeaseAsk } from '../../feed/lease-codec.ts';
import {
  type DenialReply,
  type DenialReport,
  type DownFrame,
  FEED_PING_INTERVAL_MS,
  FEED_PROTOCOL,
  FEED_PROTOCOL_MIN,
  type Hello,
  type LeaseAsk,
  type LeaseReply,
  type PingReply,
  type PingRequest,
  type UsageBatch,
  type UsageReply,
} from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import { type Database, DatabaseBusy, DatabaseUnavailable } from '../../storage/db.ts';
import type { Clock } from '../../util/clock.ts';
import { LoopShare } from '../../util/loop-share.ts';
import { ForeignUsage } from '../money/ingest.ts';
import { catchUp, createCatchUpPlaces } from './catch-up.ts';
import type { ChangeTail } from './change-tail.ts';
import { assertOwn, type FeedPeer } from './feed-peer.ts';
import { Refusal } from './feed-refusal.ts';
import { RecentChanges } from './recent-changes.ts';
import type { Registry, RegistryEntry } from './registry.ts';
import { RestrictingAccounts } from './restricting-accounts.ts';
import { Subscriber, SubscriberGone } from './subscriber.ts';

export interface FeedServerOptions {
  readonly tail: ChangeTail;
  readonly registry: Registry;
  readonly db: Database;
  /** Base64; null until the database has been opened. */
  readonly fleetKey: () => string | null;
  readonly ingest: (batch: UsageBatch) => Promise<UsageReply>;
  readonly answerLeaseAsk: (ask: LeaseAsk) => Promise<LeaseReply>;
  readonly answerPing: (ping: PingRequest) => Promise<PingReply>;
  readonly takeDenials: (report: DenialReport) => Promise<DenialReply>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: () => number;
  readonly log: Log;
  readonly pingIntervalMs?: number;
  readonly ackWindowMaxMs?: number;
  readonly snapshotsAtOnceMax?: number;
}

/** A larger body is refused; the longest honest one is a batch of some hundred records. */
export const FEED_BODY_BYTES_MAX = 16 * 1024 * 1024;
/** While the database is away or the control process leaves. */
const COME_BACK_MS = 500;
/**
 * When the control process leaves, those who are connected come back spread over this time for each of them, and over `GOAWAY_SPREAD_MS` at
 * most: two need not wait for each other, a thousand must.
 */
export const GOAWAY_SPREAD_PER_SUBSCRIBER_MS = 10;
export const GOAWAY_SPREAD_MS = 10_000;
/** An epoch so far beyond ours is not one that this installation has been through. */
const EPOCHS_AHEAD_MAX = 1_000;

export interface FeedServer {
  readonly server: Server;
  /** Answers one request whose body was read: of a joined worker whose signature was verified, or (null) of the own instance. */
  handle(path: string, body: string, peer: FeedPeer | null, response: ServerResponse): Promise<void>;
  /** Tells all subscribers to come back, to the next control process. */
  close(): Promise<void>;
}

export function createFeedServer(options: FeedServerOptions): FeedServer {
  const { tail, registry, log } = options;
  const subscribers = new Map<RegistryEntry, Subscriber>();
  const places = createCatchUpPlaces(options.snapshotsAtOnceMax);
  // What a fleet that comes back is sent is long; management and pings are served between two of them.
  const share = new LoopShare();
  const restricting = new RestrictingAccounts(options.db, tail);
  const recent = new RecentChanges(options.db, tail);

  const server = createServer((request, response) => {
    route(request, response).catch((error: unknown) => answerFailure(error, request.url ?? '', response, log));
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
    if (frame !== null) for (const subscriber of subscribers.values()) subscriber.ping(frame);
  }, options.pingIntervalMs ?? FEED_PING_INTERVAL_MS);

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') throw new Refusal(405, 'the feed takes POST requests only');
    const body = (await readBody(request)).toString('utf8');
    return handle(request.url ?? '', body, null, response);
  }

  async function handle(path: string, body: string, peer: FeedPeer | null, response: ServerResponse): Promise<void> {
    switch (path) {
      case '/feed/v1/stream':
        return stream(body, peer, response);
      case '/feed/v1/ack': {
        const ack = parseAck(body);
        assertOwn(peer, ack);
        if (!registry.acknowledge(ack)) throw new Refusal(409, NOT_CONNECTED);
        response.writeHead(204).end();
        // With the next delta, which may be long.
        return share.run(() => subscriberOf(ack)?.acknowledge(ack));
      }
      case '/feed/v1/ping': {
        const ping = parsePingRequest(body);
        assertOwn(peer, ping);
        if (!registry.heard(ping)) {
          if (peer === null) throw new Refusal(409, NOT_CONNECTED);
          return answer(response, 200, withoutWitness(await options.answerPing(ping)));
        }
        subscriberOf(ping)?.acknowledge(ping);
        return answer(response, 200, await options.answerPing(ping));
      }
      case '/feed/v1/denials': {
        const report = parseDenialReport(body);
        assertOwn(peer, report);
        if (registry.find(report) === null) throw new Refusal(409, NOT_CONNECTED);
        return answer(response, 200, await options.takeDenials(report));
      }
      case '/feed/v1/usage': {
        const batch = parseUsageBatch(body);
        assertOwn(peer, batch);
        return answer(response, 200, await options.ingest(batch));
      }
      case '/feed/v1/leases': {
        const ask = parseLeaseAsk(body);
        assertOwn(peer, ask);
        return answer(response, 200, await options.answerLeaseAsk(ask));
      }
      default:
        throw new Refusal(404, 'the feed has no such path');
    }
  }

  function subscriberOf(session: Pick<Hello, 'gatewayId' | 'session'>): Subscriber | undefined {
    const entry = registry.find(session);
    return entry === null ? undefined : subscribers.get(entry);
  }

  async function stream(body: string, peer: FeedPeer | null, response: ServerResponse): Promise<void> {
    const hello = parseHello(body);
    assertOwn(peer, hello);
    if (hello.protocol < FEED_PROTOCOL_MIN || hello.protocol > FEED_PROTOCOL) {
      throw new Refusal(
        400,
        `this control process speaks feed protocols ${FEED_PROTOCOL_MIN} to ${FEED_PROTOCOL}, not ${hello.protocol}`,
      );
    }
    const current = tail.position;
    const fleetKey = options.fleetKey();
    if (current === null || fleetKey === null) throw new DatabaseUnavailable('the database has not been reached yet');

    if (hello.have !== null && hello.have.epoch > current.epoch + EPOCHS_AHEAD_MAX) {
      throw new Refusal(
        409,
        `epoch ${hello.have.epoch} is not of this installation, which is in epoch ${current.epoch}`,
      );
    }

    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    response.flushHeaders();
    const { gatewayId } = hello;
    const subscriber = new Subscriber(response, {
      hello,
      epoch: current.epoch,
      nowMs: () => options.clock.nowMs(),
      encode: peer?.encode,
      isRestricted: (principal) => restricting.restrictsKey(principal),
      onClosed: (reason) => log.warn({ gatewayId, reason }, 'a gateway process was disconnected from the feed'),
      ...(options.ackWindowMaxMs === undefined ? {} : { ackWindowMaxMs: options.ackWindowMaxMs }),
    });
    const entry = registry.claim(hello, subscriber);
    if (entry === null) {
      subscriber.supersede();
      return;
    }
    // Before anything is read: what is committed from here on reaches the subscriber.
    const stopOffering = tail.onStretch((stretch) => {
      if (hello.protocol < 2 && restricting.isTurning(stretch)) subscriber.goAway(0);
      else subscriber.offer(stretch);
    });
    subscribers.set(entry, subscriber);
    response.on('close', () => {
      subscribers.delete(entry);
      stopOffering();
      registry.release(entry);
    });
    try {
      await share.turn();
      const outcome = await catchUp(subscriber, hello, { db: options.db, tail, recent, fleetKey, places, restricting });
      if (outcome === 'forked') {
        log.error({ gatewayId, have: hello.have }, HISTORY_FORKED);
        subscriber.goAway(COME_BACK_MS);
        // It notices that the epoch is another one, and this process starts anew.
        void tail.poll();
        return;
      }
      // At once, so that it can say "there is no such key" from its first second on.
      const frame = pingFrame();
      if (frame !== null) subscriber.ping(frame);
    } catch (error) {
      if (!subscriber.live && !(error instanceof SubscriberGone)) {
        log.warn({ err: error, gatewayId: hello.gatewayId }, 'a gateway process could not be brought up to date');
        subscriber.goAway(COME_BACK_MS);
      }
    }
  }

  return {
    server,
    handle,
    close: () =>
      new Promise((resolve) => {
        clearInterval(ping);
        server.close(() => resolve());
        const spreadMs = Math.min(GOAWAY_SPREAD_MS, subscribers.size * GOAWAY_SPREAD_PER_SUBSCRIBER_MS);
        for (const subscriber of subscribers.values()) {
          subscriber.goAway(COME_BACK_MS + Math.round(options.random() * spreadMs));
        }
        server.closeIdleConnections();
      }),
  };
}

/**
 * For a joined worker whose stream is at another admin, as behind a balancer. What was read here is as true for it. But nobody writes down that
 * it was heard of, so this must not move its fence: others would think it safe too early.
 */
function withoutWitness(reply: PingReply): PingReply {
  return { ...reply, witnessAgeMs: Number.MAX_SAFE_INTEGER };
}

const NOT_CONNECTED = 'this session is not connected';
const HISTORY_FORKED =
  'a gateway process has seen history that this database does not have: it was restored or lost its tail. A new epoch begins, and what is known as blocked or deleted stays refused';

/** Answers with what went wrong, unless the answer has begun. */
export function answerFailure(error: unknown, path: string, response: ServerResponse, log: Log): void {
  const { status, message } = refusalOf(error);
  if (status === 500) log.error({ err: error, path }, 'a feed request failed');
  const { code = null, extra = {} } = error instanceof Refusal ? error : {};
  answer(response, status, { error: message, ...(code === null ? {} : { code }), ...extra });
}

function refusalOf(error: unknown): { status: number; message: string } {
  if (error instanceof Refusal) return { status: error.status, message: error.message };
  if (error instanceof ForeignUsage) return { status: 409, message: error.message };
  if (error instanceof FeedFormatError) return { status: 400, message: error.message };
  if (error instanceof DatabaseUnavailable || error instanceof DatabaseBusy)
    return { status: 503, message: error.message };
  return { status: 500, message: 'internal error' };
}

export function answer(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(status === 503 ? { 'retry-after': '1' } : {}),
  });
  response.end(text);
}

export async function readBody(request: IncomingMessage, bytesMax = FEED_BODY_BYTES_MAX): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bytesMax) throw new Refusal(413, `the body is larger than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
