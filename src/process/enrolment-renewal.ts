import { setTimeout as delay } from 'node:timers/promises';
import { parseRenewAnswer } from '../feed/join.ts';
import type { FeedTransport } from '../gateway/live/feed-transport.ts';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../util/clock.ts';
import { publicKeyOf, readPrivateKey } from '../util/ed25519.ts';
import { type JoinedIdentity, nextPrivateKey, writeIdentity } from './joined-identity.ts';

export interface RenewalOptions {
  readonly dataDir: string;
  readonly identity: JoinedIdentity;
  readonly transport: Pick<FeedTransport, 'post'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly lookMs?: number;
}

/** Between two looks at whether it is time, and between two attempts. */
export const RENEWAL_LOOK_MS = 60_000;
const RENEW_TIMEOUT_MS = 15_000;

/** Renews the credential each time that half of its life is over, until `signal`. Nothing that goes wrong here stops traffic. */
export async function keepRenewing(options: RenewalOptions): Promise<void> {
  const { clock, log, lookMs = RENEWAL_LOOK_MS, signal } = options;
  let { identity } = options;
  let said = '';
  while (!signal.aborted) {
    if (isRenewalDue(identity, clock.nowMs())) {
      try {
        identity = await renew(identity, options);
        log.info({ validForMs: identity.validForMs }, 'The credential of this worker was renewed');
        said = '';
      } catch (error) {
        const { message } = error as Error;
        if (message !== said) log.warn({}, `The credential of this worker could not be renewed: ${message}`);
        said = message;
      }
    }
    // Rejects when it is aborted.
    await delay(lookMs, undefined, { ref: false, signal }).catch(() => undefined);
  }
}

/** Also when the clock was set back behind the last renewal: then nobody knows how much is over. */
export function isRenewalDue(
  { renewedAtMs, validForMs }: Pick<JoinedIdentity, 'renewedAtMs' | 'validForMs'>,
  nowMs: number,
) {
  const passedMs = nowMs - renewedAtMs;
  return passedMs >= validForMs / 2 || passedMs < -validForMs;
}

async function renew(identity: JoinedIdentity, options: RenewalOptions): Promise<JoinedIdentity> {
  const { clock, dataDir, transport } = options;
  // On disk before anybody hears of it: whatever happens in between, the key that counts is here.
  const privateKey = nextPrivateKey(dataDir, identity.privateKey);
  const body = JSON.stringify({ publicKey: publicKeyOf(readPrivateKey(privateKey)) });
  const { status, body: text } = await transport.post('/feed/v1/renew', body, RENEW_TIMEOUT_MS);
  if (status !== 200) throw new Error(`the control plane answered ${status}${text === '' ? '' : `: ${text}`}`);
  const renewed = { ...identity, ...parseRenewAnswer(text), privateKey, renewedAtMs: clock.nowMs() };
  writeIdentity(dataDir, renewed);
  return renewed;
}
