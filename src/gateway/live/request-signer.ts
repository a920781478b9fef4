import { type KeyObject, randomBytes } from 'node:crypto';
import type { FeedRefusal } from '../../feed/join.ts';
import { SIGNATURE_WINDOW_MS, signRequest } from '../../feed/request-signature.ts';
import type { SessionKeys } from '../../feed/session-keys.ts';
import { macRequest, SESSION_PATHS } from '../../feed/session-request.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';

/** Who this worker is to the control plane. */
export interface SigningIdentity {
  readonly instanceId: string;
  readonly privateKey: KeyObject;
}

/** The identity on disk, which the supervisor renews under a running gateway process. */
export interface IdentitySource {
  current(): SigningIdentity;
  /** Reads it again; false: it is the same as before. */
  reload(): boolean;
}

/** So many refusals of the session in a row, and everything is signed until the next stream: requests do not meet the admin that has it. */
export const SESSION_REFUSALS_MAX = 3;

interface OpenSession {
  readonly keys: SessionKeys;
  counter: number;
  refusals: number;
}

/**
 * Signs requests, and learns from refusals: how far the clock here is off, and that the key is another one by now. `clock` is the wall clock
 * of this machine, which may be off by any amount. While there is a session, what is asked often has a MAC of it instead.
 */
export class RequestSigner {
  readonly #identity: IdentitySource;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Of the control plane's clock before ours. */
  #offsetMs = 0;
  #session: OpenSession | null = null;

  constructor({
    identity,
    clock,
    log,
  }: { readonly identity: IdentitySource; readonly clock: Clock; readonly log: Log }) {
    this.#identity = identity;
    this.#clock = clock;
    this.#log = log;
  }

  headers(path: string, body: string | Buffer, nonce: string = freshNonce()): Record<string, string> {
    const { instanceId, privateKey } = this.#identity.current();
    return signRequest({ method: 'POST', path, body }, { instanceId, timeMs: this.#timeMs(), nonce }, privateKey);
  }

  /** Null: there is no session for this request, it is to be signed. */
  sessionHeaders(path: string, body: string | Buffer): Record<string, string> | null {
    const session = this.#session;
    if (session === null || !SESSION_PATHS.has(path)) return null;
    const { instanceId } = this.#identity.current();
    session.counter += 1;
    const stamp = { instanceId, sessionId: session.keys.id, counter: session.counter, timeMs: this.#timeMs() };
    return macRequest({ method: 'POST', path, body }, stamp, session.keys);
  }

  /** From now on until what it returns is called, or another session is used. */
  useSession(keys: SessionKeys): () => void {
    const session: OpenSession = { keys, counter: 0, refusals: 0 };
    this.#session = session;
    return () => {
      if (this.#session === session) this.#session = null;
    };
  }

  /** A request of the session was taken. */
  sessionTaken(): void {
    if (this.#session !== null) this.#session.refusals = 0;
  }

  /** The nonce to send the request again with, once; null: that would not help. */
  learn({ code, challenge, serverTimeMs }: FeedRefusal): string | null {
    if (code === 'clock' && serverTimeMs !== null) {
      const offsetMs = serverTimeMs - this.#clock.nowMs();
      if (Math.abs(offsetMs - this.#offsetMs) > SIGNATURE_WINDOW_MS) {
        this.#log.warn(
          { offsetSeconds: Math.round(-offsetMs / 1_000) },
          'The clock of this machine is off; requests to the control plane are stamped with its time',
        );
      }
      this.#offsetMs = offsetMs;
      return challenge ?? freshNonce();
    }
    if (code === 'unknown_session' || code === 'bad_mac') {
      if (this.#session !== null && ++this.#session.refusals >= SESSION_REFUSALS_MAX) this.#session = null;
      return freshNonce();
    }
    if ((code === 'bad_signature' || code === 'expired') && this.#identity.reload()) return freshNonce();
    return null;
  }

  #timeMs(): number {
    return Math.max(0, Math.round(this.#clock.nowMs() + this.#offsetMs));
  }
}

/** 128 random bits. */
function freshNonce(): string {
  return randomBytes(16).toString('base64url');
}
