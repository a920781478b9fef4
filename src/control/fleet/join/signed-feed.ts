/**
 * The feed for joined workers, as the public port of an admin serves it: who asks is established here, and what is asked is answered by the
 * feed server, as for the gateway processes of the own instance. Order of the checks: docs/specs/joining.md.
 */
import { type KeyObject, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseHello } from '../../../feed/codec.ts';
import { JOIN_BODY_BYTES_MAX, parseJoinRequest, parseRenewRequest } from '../../../feed/join.ts';
import type { DownFrame } from '../../../feed/protocol.ts';
import { type RequestSignature, readSignature, verifyRequest } from '../../../feed/request-signature.ts';
import { type RequestMac, readMac, SESSION_HEADER, SESSION_PATHS, verifyMac } from '../../../feed/session-request.ts';
import { LineSigner, SIGNED_KINDS_IN_SESSION } from '../../../feed/signed-line.ts';
import type { Log } from '../../../observe/log.ts';
import { type Database, DatabaseBusy, DatabaseUnavailable } from '../../../storage/db.ts';
import type { Clock } from '../../../util/clock.ts';
import { signText } from '../../../util/ed25519.ts';
import { encodeFrame } from '../encoded-change.ts';
import { assertOwn, type FeedPeer } from '../feed-peer.ts';
import { Refusal } from '../feed-refusal.ts';
import { answer, answerFailure, FEED_BODY_BYTES_MAX, type FeedServer, readBody } from '../feed-server.ts';
import type { EnrolledInstances, KnownInstance } from './enrolled-instances.ts';
import {
  expired,
  type InstallationSecrets,
  joinInstance,
  RENEWABLE_AFTER_EXPIRY_MS,
  renewCredential,
  revoked,
} from './join-instance.ts';
import { RememberedSignatures } from './remembered-signatures.ts';
import { RequestVerifier, replayed } from './request-verifier.ts';
import { resealFrame } from './reseal-models.ts';
import { type StreamSession, StreamSessions } from './stream-sessions.ts';

export interface SignedFeedOptions {
  readonly feed: Pick<FeedServer, 'handle'>;
  readonly enrolled: EnrolledInstances;
  readonly db: Database;
  /** Null until the database has been opened. */
  readonly secrets: () => (InstallationSecrets & { readonly signingKey: KeyObject }) | null;
  /** '' or '/prefix'. */
  readonly serverRootPath: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SignedFeed {
  /** False: the path is none of the feed's, and nothing was done. */
  serve(request: IncomingMessage, response: ServerResponse): boolean;
}

export const FEED_PREFIX = '/feed/v1/';
const STREAM_PATH = `${FEED_PREFIX}stream`;
/** Joins at the same time; each holds a connection of the database, and anybody may ask for one. */
const JOINS_MAX = 4;
/** Of everything else; a body is read before its signature can be checked. */
const SMALL_BODY_BYTES_MAX = 256 * 1024;
/** Larger ones that are read at the same time; their senders come again. */
const LARGE_BODIES_MAX = 16;
const LARGE_BODIES: ReadonlySet<string> = new Set([`${FEED_PREFIX}usage`, `${FEED_PREFIX}denials`]);

export function createSignedFeed(options: SignedFeedOptions): SignedFeed {
  const { feed, enrolled, db, secrets, serverRootPath, clock, log } = options;
  const verifier = new RequestVerifier({ clock, challengeKey: randomBytes(32) });
  /** Open answers, by instance. */
  const streams = new Map<string, Set<ServerResponse>>();
  const sessions = new StreamSessions();
  let signatures: RememberedSignatures | null = null;
  let joins = 0;
  let largeBodies = 0;

  enrolled.onEnd((instanceId) => {
    log.warn({ instanceId }, 'a joined worker was revoked; its streams are closed');
    sessions.endOf(instanceId);
    for (const response of streams.get(instanceId) ?? []) response.destroy();
    verifier.forget(instanceId);
  });

  function opened() {
    const known = secrets();
    if (known === null) throw new DatabaseUnavailable('the database has not been reached yet');
    return known;
  }

  async function route(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') throw new Refusal(405, 'the feed takes POST requests only');
    // A proxy that collects answers would keep a stream until its end.
    response.setHeader('x-accel-buffering', 'no');
    if (path === `${FEED_PREFIX}join`) return join(request, response);
    const { instance, body, session } = await verified(path, request);
    if (path === `${FEED_PREFIX}renew`) {
      const renewed = await renewCredential(db, instance.instanceId, parseRenewRequest(body).publicKey);
      await enrolled.reload([instance.instanceId]);
      log.info({ instanceId: instance.instanceId }, 'a joined worker has renewed its credential');
      return answer(response, 200, renewed);
    }
    if (path === STREAM_PATH) return stream(instance, body, response);
    return feed.handle(path, body, peerOf(instance, session), response);
  }

  async function stream(instance: KnownInstance, body: string, response: ServerResponse): Promise<void> {
    // Who has left already would never be forgotten.
    if (response.destroyed) return;
    remember(instance.instanceId, response);
    const { sessionKey, ...hello } = parseHello(body);
    if (sessionKey === undefined) return feed.handle(STREAM_PATH, body, peerOf(instance, null), response);
    // Nothing is agreed on for somebody else.
    assertOwn(peerOf(instance, null), hello);
    const { instanceId } = instance;
    const { installation, signingKey } = opened();
    const session = sessions.open({
      instanceId,
      installation,
      hello: { ...hello, sessionKey },
      sign: (text) => signText(text, signingKey),
    });
    response.once('close', () => sessions.end(session));
    return feed.handle(STREAM_PATH, body, peerOf(instance, session), response);
  }

  async function join(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (joins >= JOINS_MAX) throw new DatabaseBusy('too many workers join at the moment');
    joins += 1;
    try {
      const asked = parseJoinRequest((await readBody(request, JOIN_BODY_BYTES_MAX)).toString('utf8'));
      const joined = await joinInstance(db, opened(), asked);
      await enrolled.reload([joined.instanceId]);
      const { instanceId, region, role } = joined;
      log.info({ instanceId, region, role, version: asked.version }, 'a worker has joined');
      answer(response, 200, joined);
    } finally {
      joins -= 1;
    }
  }

  async function verified(path: string, request: IncomingMessage): Promise<Verified> {
    const isOfSession = SESSION_PATHS.has(path) && request.headers[SESSION_HEADER] !== undefined;
    const sent = isOfSession ? readMac(request.headers) : readSignature(request.headers);
    if (sent === null) throw new Refusal(401, 'requests on this path are signed by a worker that joined', 'unsigned');
    const instance = await admitted(path, sent.instanceId);
    if ('mac' in sent) return verifiedBySession(path, request, sent, instance);
    verifier.admit(sent);
    const body = await readUnverified(request, LARGE_BODIES.has(path));
    await checkSignature(sent, { method: 'POST', path, body }, instance);
    // It may have been revoked meanwhile: a body can take its time.
    await admitted(path, sent.instanceId);
    verifier.remember(sent);
    return { instance, body: body.toString('utf8'), session: null };
  }

  async function verifiedBySession(
    path: string,
    request: IncomingMessage,
    sent: RequestMac,
    instance: KnownInstance,
  ): Promise<Verified> {
    const session = sessions.find(sent.sessionId, instance.instanceId);
    if (session === null) throw unknownSession();
    verifier.admitTime(sent);
    if (!session.counters.isNew(sent.counter)) throw replayed();
    const body = await readUnverified(request, false);
    // It may have ended meanwhile, with its stream or its instance.
    if (sessions.find(sent.sessionId, instance.instanceId) !== session) throw unknownSession();
    if (!verifyMac({ method: 'POST', path, body }, sent, session.keys)) {
      throw new Refusal(401, 'the MAC of this request is not that of its session', 'bad_mac');
    }
    if (!session.counters.use(sent.counter)) throw replayed();
    return { instance, body: body.toString('utf8'), session };
  }

  async function admitted(path: string, instanceId: string): Promise<KnownInstance> {
    const instance = await enrolled.find(instanceId);
    if (instance === null) {
      throw new Refusal(401, `instance ${instanceId} is not enrolled in this installation`, 'unknown_instance');
    }
    if (instance.revoked) throw revoked(instanceId);
    const expiredForMs = instance.expiredForMs();
    const isForGood = expiredForMs > RENEWABLE_AFTER_EXPIRY_MS;
    if (expiredForMs > 0 && (isForGood || path !== `${FEED_PREFIX}renew`)) throw expired(expiredForMs, isForGood);
    return instance;
  }

  /** Whose it is can not be said before it is there. */
  async function readUnverified(request: IncomingMessage, mayBeLarge: boolean): Promise<Buffer> {
    const declaredBytes = Number(request.headers['content-length'] ?? Number.POSITIVE_INFINITY);
    if (!mayBeLarge || declaredBytes <= SMALL_BODY_BYTES_MAX) return readBody(request, SMALL_BODY_BYTES_MAX);
    if (largeBodies >= LARGE_BODIES_MAX) throw new DatabaseBusy('too many large requests are read at the moment');
    largeBodies += 1;
    try {
      return await readBody(request, FEED_BODY_BYTES_MAX);
    } finally {
      largeBodies -= 1;
    }
  }

  async function checkSignature(
    signed: RequestSignature,
    request: { readonly method: string; readonly path: string; readonly body: Buffer },
    known: KnownInstance,
  ): Promise<void> {
    if (verifyRequest(request, signed, known.key)) return;
    // Another admin may have taken a new key a moment ago.
    const instance =
      known.nextKey === null ? await enrolled.findNewest(known.instanceId).catch(orWhileAway(known)) : known;
    if (instance === null || instance.revoked) throw revoked(known.instanceId);
    if (instance.nextKey !== null && verifyRequest(request, signed, instance.nextKey)) {
      // While the database is away both keys stay good.
      await enrolled.keyUsed(instance.instanceId).catch(orWhileAway(undefined));
      return;
    }
    if (instance !== known && verifyRequest(request, signed, instance.key)) return;
    throw new Refusal(401, 'the signature of this request is not that of its instance', 'bad_signature');
  }

  function peerOf({ instanceId, region, role, sealingKey }: KnownInstance, session: StreamSession | null): FeedPeer {
    const own = opened();
    signatures ??= new RememberedSignatures(own.signingKey);
    const signer = new LineSigner(
      own.installation,
      signatures.sign,
      session === null ? undefined : SIGNED_KINDS_IN_SESSION,
    );
    const encode = (frame: DownFrame | null): string => {
      const json = frame === null ? '' : encodeFrame(resealFrame(frame, own.sealingKey, sealingKey)).slice(0, -1);
      const line = frame === null ? '' : signer.sign(frame.t, json);
      return `${session === null ? line : session.seal(line)}\n`;
    };
    return { instanceId, region, role, session, encode };
  }

  function remember(instanceId: string, response: ServerResponse): void {
    const open = streams.get(instanceId) ?? new Set();
    streams.set(instanceId, open.add(response));
    response.once('close', () => {
      open.delete(response);
      if (open.size === 0 && streams.get(instanceId) === open) streams.delete(instanceId);
    });
  }

  return {
    serve(request, response) {
      const path = feedPath(request.url ?? '', serverRootPath);
      if (path === null) return false;
      route(path, request, response).catch((error: unknown) => answerFailure(error, path, response, log));
      return true;
    },
  };
}

interface Verified {
  readonly instance: KnownInstance;
  readonly body: string;
  /** Null: the request is signed. */
  readonly session: StreamSession | null;
}

/** The worker signs the request then. */
function unknownSession(): Refusal {
  return new Refusal(401, 'the session of this request is not open here; sign the request', 'unknown_session');
}

function feedPath(target: string, root: string): string | null {
  const path = target.split('?', 1)[0]!;
  return path.startsWith(`${root}${FEED_PREFIX}`) ? path.slice(root.length) : null;
}

function orWhileAway<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof DatabaseUnavailable || error instanceof DatabaseBusy) return instead;
    throw error;
  };
}
