import { describe, expect, it } from 'vitest';
import { type RequestSignature, SIGNATURE_WINDOW_MS } from '../../../feed/request-signature.ts';
import { Refusal } from '../feed-refusal.ts';
import { CHALLENGE_MS, RequestVerifier } from './request-verifier.ts';

const INSTANCE = '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a90';
const OTHER = '3f0c5d1e-5a52-4b7e-9a63-0c1f6f1b2a91';

describe('a request is taken', () => {
  it('within five minutes of the time here, and not beyond', () => {
    const { verifier, clock } = rig();
    for (const offsetMs of [0, SIGNATURE_WINDOW_MS, -SIGNATURE_WINDOW_MS]) {
      expect(refusal(verifier, at(clock.nowMs() + offsetMs)), `${offsetMs}`).toBeNull();
    }
    for (const offsetMs of [SIGNATURE_WINDOW_MS + 1, -SIGNATURE_WINDOW_MS - 1, 3_600_000, -3_600_000]) {
      expect(refusal(verifier, at(clock.nowMs() + offsetMs)), `${offsetMs}`).toMatchObject({
        status: 401,
        code: 'clock',
      });
    }
  });

  it('once, for as long as its time would let it in again', () => {
    const { verifier, clock } = rig();
    const signed = at(clock.nowMs() + SIGNATURE_WINDOW_MS);
    verifier.admit(signed);
    verifier.remember(signed);
    for (const passedMs of [0, SIGNATURE_WINDOW_MS, SIGNATURE_WINDOW_MS - 1]) {
      clock.advance(passedMs);
      // What is remembered is looked through at each request.
      verifier.remember(at(clock.nowMs()));
      expect(refusal(verifier, signed)).toMatchObject({ code: 'replayed' });
    }
    clock.advance(2);
    verifier.remember(at(clock.nowMs()));
    expect(refusal(verifier, signed)).toMatchObject({ code: 'clock' });
  });

  it('of two that arrive at the same moment, one', () => {
    const { verifier, clock } = rig();
    const signed = at(clock.nowMs());
    verifier.admit(signed);
    verifier.admit(signed);
    verifier.remember(signed);
    expect(() => verifier.remember(signed)).toThrow(/been here before/);
  });

  it('from each instance by itself', () => {
    const { verifier, clock } = rig();
    const signed = at(clock.nowMs());
    verifier.remember(signed);
    expect(refusal(verifier, { ...signed, instanceId: OTHER })).toBeNull();
  });

  it('with whatever time when it answers a challenge, once and within a minute', () => {
    const { verifier, clock } = rig();
    const late = at(clock.nowMs() - 3_600_000);
    const refused = refusal(verifier, late)!;
    expect(refused.extra.serverTimeMs).toBe(clock.nowMs());
    const nonce = String(refused.extra.challenge);
    expect(nonce).toMatch(/^[A-Za-z0-9_.-]{16,80}$/);
    const answer = { ...late, nonce };
    expect(refusal(verifier, { ...answer, instanceId: OTHER })).toMatchObject({ code: 'clock' });
    expect(refusal(verifier, answer)).toBeNull();
    verifier.remember(answer);
    expect(refusal(verifier, answer)).toMatchObject({ code: 'replayed' });

    const second = { ...late, nonce: String(refusal(verifier, late)!.extra.challenge) };
    clock.advance(CHALLENGE_MS + 1);
    expect(refusal(verifier, second)).toMatchObject({ code: 'clock' });
    // Nor did it become forgettable while it could still be used.
    verifier.remember(at(clock.nowMs()));
    expect(refusal(verifier, answer)?.code).toMatch(/clock|replayed/);
  });

  it('never for a challenge that was made elsewhere or altered', () => {
    const { verifier, clock } = rig();
    const late = at(clock.nowMs() - 3_600_000);
    const nonce = String(refusal(rig(2).verifier, late)!.extra.challenge);
    expect(refusal(verifier, { ...late, nonce })).toMatchObject({ code: 'clock' });
    const own = String(refusal(verifier, late)!.extra.challenge);
    clock.advance(10);
    const [, number, mac] = own.split('.');
    expect(refusal(verifier, { ...late, nonce: `${clock.nowMs().toString(36)}.${number}.${mac}` })).toMatchObject({
      code: 'clock',
    });
  });

  it('at the bound of what is remembered: older ones are refused rather than let in twice', () => {
    const { verifier, clock } = rig(1, 100);
    const first = at(clock.nowMs());
    const challenged = { ...at(1), nonce: String(refusal(verifier, at(1))!.extra.challenge) };
    verifier.remember(first);
    verifier.remember(challenged);
    for (let count = 0; count < 200; count++) {
      clock.advance(1);
      verifier.remember(at(clock.nowMs()));
    }
    expect(refusal(verifier, first)).toMatchObject({ code: 'clock' });
    expect(refusal(verifier, challenged)).toMatchObject({ code: 'clock' });
    // What is new still comes in, by its time or by a challenge.
    expect(refusal(verifier, at(clock.nowMs()))).toBeNull();
    expect(refusal(verifier, { ...at(1), nonce: String(refusal(verifier, at(1))!.extra.challenge) })).toBeNull();
  });
});

let count = 0;

function at(timeMs: number): RequestSignature {
  count += 1;
  return { instanceId: INSTANCE, timeMs, nonce: `nonce-${String(count).padStart(16, '0')}`, signature: '' };
}

function rig(key = 1, noncesMax?: number) {
  let nowMs = 1_767_225_600_000;
  const clock = {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    advance: (ms: number) => {
      nowMs += ms;
    },
  };
  const challengeKey = new Uint8Array(32).fill(key);
  const verifier = new RequestVerifier({ clock, challengeKey, ...(noncesMax === undefined ? {} : { noncesMax }) });
  return { clock, verifier };
}

function refusal(verifier: RequestVerifier, signed: RequestSignature): Refusal | null {
  try {
    verifier.admit(signed);
    return null;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}
