/**
 * How the two ends of a stream of a joined worker agree on keys that are good for as long as it is open. What is signed, and what the keys are
 * for: docs/specs/joining.md.
 */
import { createHash, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import { isSignedBy } from '../util/ed25519.ts';
import { AGREEMENT_KEY, makeAgreementPair } from '../util/x25519.ts';
import { LineSignatureError } from './signed-line.ts';

/** Whom the keys are for: nobody else comes to the same ones. */
export interface SessionParties {
  readonly installation: string;
  readonly gatewayId: string;
  /** As in `Hello`. */
  readonly session: string;
}

export interface SessionKeys {
  /** Name of the session between the two ends. */
  readonly id: string;
  /** Of the MACs of requests. */
  readonly requests: Buffer;
  /** Of the MACs of lines. */
  readonly lines: Buffer;
}

/** The admin's part. `firstLine` is to be written before everything else; throws when `sessionKey` is none. */
export function answerOffer(
  parties: SessionParties,
  sessionKey: string,
  sign: (text: string) => string,
): SessionKeys & { readonly firstLine: string } {
  const pair = makeAgreementPair();
  const id = randomBytes(ID_BYTES).toString('base64url');
  const json = JSON.stringify({ t: 'session', id, key: pair.publicKey });
  const text = firstLineText(parties, sessionKey, json);
  return { firstLine: `${json}\t${sign(text)}`, ...derive(id, pair.agree(sessionKey), text) };
}

/** The worker's part, for one attempt to open a stream. */
export class SessionOffer {
  readonly #pair = makeAgreementPair();

  get sessionKey(): string {
    return this.#pair.publicKey;
  }

  /** `line` is the first one, without its MAC. Throws `LineSignatureError` when it is not the answer to this offer. */
  accept(line: string, parties: SessionParties, installationKey: KeyObject): SessionKeys {
    const [json = '', signature = ''] = line.split('\t');
    const answer = readAnswer(json);
    if (answer === null) {
      throw new LineSignatureError(
        'the stream does not begin with a session; an admin that is older than its workers has to be upgraded first',
      );
    }
    const text = firstLineText(parties, this.sessionKey, json);
    if (!isSignedBy(text, signature, installationKey)) {
      throw new LineSignatureError('the session that the stream begins with is not signed by the installation for us');
    }
    return derive(answer.id, this.#pair.agree(answer.key), text);
  }
}

const ID_BYTES = 16;
export const SESSION_ID = /^[A-Za-z0-9_-]{21}[AQgw]$/;
const KEY_BYTES = 32;

function readAnswer(json: string): { readonly id: string; readonly key: string } | null {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return null;
  }
  const { t, id, key } = (value ?? {}) as { t?: unknown; id?: unknown; key?: unknown };
  if (t !== 'session' || typeof id !== 'string' || typeof key !== 'string') return null;
  return SESSION_ID.test(id) && AGREEMENT_KEY.test(key) ? { id, key } : null;
}

/** As JSON, so that no two parties make the same text, whatever their names hold. */
function firstLineText({ installation, gatewayId, session }: SessionParties, sessionKey: string, json: string): string {
  return `claviger-session-1\n${JSON.stringify([installation, gatewayId, session, sessionKey])}\n${json}`;
}

function derive(id: string, secret: Buffer, text: string): SessionKeys {
  const salt = createHash('sha256').update(text).digest();
  const key = (purpose: string): Buffer => Buffer.from(hkdfSync('sha256', secret, salt, purpose, KEY_BYTES));
  return { id, requests: key('claviger session requests'), lines: key('claviger session lines') };
}
