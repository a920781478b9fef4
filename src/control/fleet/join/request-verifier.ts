import { createHmac, timingSafeEqual } from 'node:crypto';
import { type RequestSignature, SIGNATURE_WINDOW_MS } from '../../../feed/request-signature.ts';
import type { Clock } from '../../../util/clock.ts';
import { Refusal } from '../feed-refusal.ts';

/** Nonces remembered per instance. At the bound the oldest is forgotten, and requests as old as it are refused. */
export const NONCES_MAX = 32_768;
/** A challenge is good for so long. */
export const CHALLENGE_MS = 60_000;

interface Seen {
  /** By nonce, in order of arrival: when it may be forgotten, because a replay would be refused by its time. */
  readonly nonces: Map<string, number>;
  /** Requests of this time or older are refused: nonces of then have been forgotten. */
  floorMs: number;
  /** Challenges made before that mean nothing any more, for the same reason. */
  challengesFromMs: number;
}

/**
 * Whether a signed request is new: sent about now, and never seen before. `admit` is asked before the body is read and the signature is
 * checked, `remember` after: nobody can use up the nonces of somebody else.
 */
export class RequestVerifier {
  readonly #clock: Clock;
  readonly #challengeKey: Uint8Array;
  readonly #noncesMax: number;
  readonly #seen = new Map<string, Seen>();
  /** Processes of one instance may be challenged at the same moment, and each needs a challenge of its own. */
  #challenges = 0;

  constructor({
    clock,
    challengeKey,
    noncesMax = NONCES_MAX,
  }: {
    readonly clock: Clock;
    /** Random bytes of this process. */
    readonly challengeKey: Uint8Array;
    readonly noncesMax?: number;
  }) {
    this.#clock = clock;
    this.#challengeKey = challengeKey;
    this.#noncesMax = noncesMax;
  }

  /** Of a request that can not be replayed, because its session counts; a challenge means that it is to be signed. Throws `Refusal`. */
  admitTime({ instanceId, timeMs }: Pick<RequestSignature, 'instanceId' | 'timeMs'>): void {
    const nowMs = this.#clock.nowMs();
    if (Math.abs(timeMs - nowMs) > SIGNATURE_WINDOW_MS) throw this.#untimely(instanceId, timeMs, nowMs);
  }

  /** Throws `Refusal`. */
  admit({ instanceId, nonce, timeMs }: RequestSignature): void {
    const seen = this.#seen.get(instanceId);
    if (seen?.nonces.has(nonce)) throw replayed();
    const nowMs = this.#clock.nowMs();
    const isTimely = Math.abs(timeMs - nowMs) <= SIGNATURE_WINDOW_MS && timeMs > (seen?.floorMs ?? 0);
    const madeAtMs = isTimely ? null : this.#challengeMadeAtMs(instanceId, nonce);
    if (isTimely || (madeAtMs !== null && madeAtMs >= (seen?.challengesFromMs ?? 0))) return;
    throw this.#untimely(instanceId, timeMs, nowMs);
  }

  /** The signature is good. Throws `Refusal` when the same request came in meanwhile. */
  remember({ instanceId, nonce, timeMs }: RequestSignature): void {
    let seen = this.#seen.get(instanceId);
    if (seen === undefined) {
      seen = { nonces: new Map(), floorMs: 0, challengesFromMs: 0 };
      this.#seen.set(instanceId, seen);
    }
    const { nonces } = seen;
    if (nonces.has(nonce)) throw replayed();
    const challengedAtMs = this.#challengeMadeAtMs(instanceId, nonce);
    const untilMs = Math.max(timeMs + SIGNATURE_WINDOW_MS, challengedAtMs === null ? 0 : challengedAtMs + CHALLENGE_MS);
    nonces.set(nonce, untilMs);
    const nowMs = this.#clock.nowMs();
    for (const [oldest, oldestUntilMs] of nonces) {
      if (oldestUntilMs >= nowMs) {
        if (nonces.size <= this.#noncesMax) break;
        seen.floorMs = Math.max(seen.floorMs, oldestUntilMs - SIGNATURE_WINDOW_MS);
        seen.challengesFromMs = nowMs;
      }
      nonces.delete(oldest);
    }
  }

  /** Of an instance that is gone. */
  forget(instanceId: string): void {
    this.#seen.delete(instanceId);
  }

  #untimely(instanceId: string, timeMs: number, nowMs: number): Refusal {
    return new Refusal(
      401,
      `this request is from ${new Date(timeMs).toISOString()}, and here it is ${new Date(nowMs).toISOString()}`,
      'clock',
      { serverTimeMs: nowMs, challenge: this.#challenge(instanceId, nowMs) },
    );
  }

  /** Holds no state: whoever can present one was told it by this process, for this instance, just now. */
  #challenge(instanceId: string, nowMs: number): string {
    this.#challenges += 1;
    const made = `${nowMs.toString(36)}.${this.#challenges.toString(36)}`;
    return `${made}.${this.#mac(instanceId, made).toString('base64url')}`;
  }

  /** Null: it is none of ours for this instance, or too old. */
  #challengeMadeAtMs(instanceId: string, nonce: string): number | null {
    const [, made, time, mac] = CHALLENGE.exec(nonce) ?? [];
    if (made === undefined || time === undefined || mac === undefined) return null;
    const madeAtMs = Number.parseInt(time, 36);
    const ageMs = this.#clock.nowMs() - madeAtMs;
    if (!(ageMs >= 0 && ageMs <= CHALLENGE_MS)) return null;
    const isOurs = timingSafeEqual(Buffer.from(mac, 'base64url'), this.#mac(instanceId, made));
    return isOurs ? madeAtMs : null;
  }

  #mac(instanceId: string, made: string): Buffer {
    return createHmac('sha256', this.#challengeKey).update(`challenge\n${instanceId}\n${made}`).digest();
  }
}

/** Time and number, then a MAC of 32 bytes. */
const CHALLENGE = /^(([0-9a-z]{1,11})\.[0-9a-z]{1,11})\.([A-Za-z0-9_-]{43})$/;

export function replayed(): Refusal {
  return new Refusal(401, 'this request has been here before', 'replayed');
}
