import type { Hello } from '../../../feed/protocol.ts';
import { answerOffer, type SessionKeys } from '../../../feed/session-keys.ts';
import { LineSealer } from '../../../feed/session-line.ts';
import { Refusal } from '../feed-refusal.ts';
import { CounterWindow } from './counter-window.ts';

/** Open at once. One stream more is refused, and its worker comes again. */
export const SESSIONS_MAX = 16_384;
/** The same of one instance: as many gateway processes as a machine has room for, and those that are about to be replaced. */
export const SESSIONS_PER_INSTANCE_MAX = 256;

/** The session of a stream, from its first line to its end. */
export interface StreamSession {
  readonly instanceId: string;
  /** Whose stream it is: a request of the session speaks for nobody else. */
  readonly gatewayId: string;
  readonly session: string;
  readonly keys: SessionKeys;
  /** Of its requests. */
  readonly counters: CounterWindow;
  /** A line without its newline as it is to be written, in this order; '' is a sign of life. What comes first begins with the session's own line. */
  readonly seal: (text: string) => string;
}

export interface OpenSessionOptions {
  readonly instanceId: string;
  readonly installation: string;
  readonly hello: Pick<Hello, 'gatewayId' | 'session'> & { readonly sessionKey: string };
  readonly sign: (text: string) => string;
}

/** The sessions of the streams that are open here. In memory: they are over when their stream is. */
export class StreamSessions {
  readonly #sessionsMax: number;
  readonly #perInstanceMax: number;
  readonly #sessions = new Map<string, StreamSession>();
  readonly #idsOf = new Map<string, Set<string>>();

  constructor(sessionsMax: number = SESSIONS_MAX, perInstanceMax: number = SESSIONS_PER_INSTANCE_MAX) {
    this.#sessionsMax = sessionsMax;
    this.#perInstanceMax = perInstanceMax;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Throws `Refusal`. Whoever opens one ends it. */
  open({ instanceId, installation, hello, sign }: OpenSessionOptions): StreamSession {
    const ids = this.#idsOf.get(instanceId) ?? new Set();
    if (this.#sessions.size >= this.#sessionsMax || ids.size >= this.#perInstanceMax) {
      throw new Refusal(503, 'there are too many open streams at the moment; try again in a second');
    }
    const { gatewayId, session, sessionKey } = hello;
    const { firstLine, ...keys } = answered({ installation, gatewayId, session }, sessionKey, sign);
    const sealer = new LineSealer(keys.lines);
    let first: string | null = firstLine;
    const opened: StreamSession = {
      instanceId,
      gatewayId,
      session,
      keys,
      counters: new CounterWindow(),
      seal(text) {
        const before = first === null ? '' : `${sealer.seal(first)}\n`;
        first = null;
        return `${before}${sealer.seal(text)}`;
      },
    };
    this.#sessions.set(keys.id, opened);
    this.#idsOf.set(instanceId, ids.add(keys.id));
    return opened;
  }

  /** Null: there is no such session of this instance. */
  find(id: string, instanceId: string): StreamSession | null {
    const session = this.#sessions.get(id);
    return session?.instanceId === instanceId ? session : null;
  }

  /** Nothing happens when it has ended before. */
  end({ instanceId, keys: { id } }: StreamSession): void {
    if (!this.#sessions.delete(id)) return;
    const ids = this.#idsOf.get(instanceId);
    ids?.delete(id);
    if (ids?.size === 0) this.#idsOf.delete(instanceId);
  }

  endOf(instanceId: string): void {
    for (const id of this.#idsOf.get(instanceId) ?? []) this.#sessions.delete(id);
    this.#idsOf.delete(instanceId);
  }
}

function answered(...offer: Parameters<typeof answerOffer>): ReturnType<typeof answerOffer> {
  try {
    return answerOffer(...offer);
  } catch {
    // It has the form of a key and leads to nothing secret.
    throw new Refusal(400, 'the sessionKey of hello is no X25519 key that a session can be agreed with');
  }
}
