import { type KeyObject, randomBytes } from 'node:crypto';
import type { FeedRefusal } from '../../feed/join.ts';
import { SIGNATURE_WINDOW_MS, signRequest } from '../../feed/request-signature.ts';
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

/**
 * Signs requests, and learns from refusals: how far the clock here is off, and that the key is another one by now. `clock` is the wall clock
 * of this machine, which may be off by any amount.
 */
export class RequestSigner {
  readonly #identity: IdentitySource;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Of the control plane's clock before ours. */
  #offsetMs = 0;

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
    const timeMs = Math.max(0, Math.round(this.#clock.nowMs() + this.#offsetMs));
    return signRequest({ method: 'POST', path, body }, { instanceId, timeMs, nonce }, privateKey);
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
    if ((code === 'bad_signature' || code === 'expired') && this.#identity.reload()) return freshNonce();
    return null;
  }
}

/** 128 random bits. */
function freshNonce(): string {
  return randomBytes(16).toString('base64url');
}
