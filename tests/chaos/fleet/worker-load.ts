import { setTimeout as delay } from 'node:timers/promises';
import type { KnownCall } from '../check-books.ts';
import { postCall } from '../post-call.ts';
import type { Member } from './chaos-fleet.ts';
import type { KeyRing, RingKey } from './key-ring.ts';
import type { WorkerName } from './schedule.ts';
import type { EndedCall, Verdicts } from './verdicts.ts';

export interface WorkerLoadOptions {
  readonly member: Member;
  readonly ring: KeyRing;
  readonly model: string;
  readonly verdicts: Verdicts;
  readonly random: () => number;
}

const CLIENTS = 2;
/** The faults and not the load are what is tested. */
const PAUSE_MAX_MS = 120;
const PROVIDER_MS_MAX = 60;
/** Longer than any fault lasts. */
const TIMEOUT_MS = 60_000;
/** How often a key is tried that was revoked a moment ago, until it is refused. */
const PROBE_MS = 30;
const PROBE_AFTER_SECOND_MS = 400;

/** Clients of one worker: calls one after the other, each over a connection of its own. */
export class WorkerLoad {
  /** Calls whose whole answer has come. */
  readonly completed: KnownCall[] = [];
  readonly calls: EndedCall[] = [];
  readonly #options: WorkerLoadOptions;
  readonly #running = new Set<Promise<void>>();
  #stopping = false;
  #count = 0;
  #revSeen = 0;
  #life = 0;

  constructor(options: WorkerLoadOptions) {
    this.#options = options;
    for (let client = 0; client < CLIENTS; client++) this.#run(() => this.#client());
  }

  get worker(): WorkerName {
    return this.#options.member.name as WorkerName;
  }

  /** The newest revision that an answer had. */
  get revSeen(): number {
    return this.#revSeen;
  }

  /** After the process was ended: what had not been confirmed as being on disk may be gone. */
  restartAt(confirmedRev: number): void {
    this.#life += 1;
    this.#revSeen = Math.min(this.#revSeen, confirmedRev);
  }

  /** Tries a key that was revoked until it is refused, or `untilMs` on the wall clock. */
  probe(key: RingKey, untilMs: number): void {
    this.#run(async () => {
      while (!this.#stopping && Date.now() < untilMs) {
        const call = await this.#call(key);
        if (call.status !== null && call.status !== 200 && call.status !== 503) return;
        await delay(Date.now() - key.revokedAtMs! < 1_000 ? PROBE_MS : PROBE_AFTER_SECOND_MS);
      }
    });
  }

  /** No new calls, and every open one has ended when this resolves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  #run(work: () => Promise<void>): void {
    const running = work().finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #client(): Promise<void> {
    const { random, ring } = this.#options;
    while (!this.#stopping) {
      const key = ring.pick(random);
      if (key !== undefined) await this.#call(key);
      await delay(random() * PAUSE_MAX_MS);
    }
  }

  async #call(key: RingKey): Promise<EndedCall> {
    const { member, model, random, verdicts } = this.#options;
    this.#count += 1;
    const id = `${member.name}-${this.#count}`;
    const tokens = { prompt: 1 + Math.floor(random() * 500), completion: 1 + Math.floor(random() * 200) };
    const stream = random() < 0.5;
    const body = JSON.stringify({
      model,
      messages: [{ role: 'user', content: id }],
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
      upstream_script: {
        promptTokens: tokens.prompt,
        completionTokens: tokens.completion,
        delayMs: Math.floor(random() * PROVIDER_MS_MAX),
      },
    });
    const sentAtMs = Date.now();
    const [life, revSeen] = [this.#life, this.#revSeen];
    const { reason, rev, status, text } = await post(member.claviger.port, key.key, id, body);
    const isWhole = status !== 200 || !stream || text.endsWith('data: [DONE]\n\n');
    // One that was sent to a process and answered by the next says nothing about going back.
    const revBefore = life === this.#life ? revSeen : 0;
    const call: EndedCall = {
      ...{ id, worker: this.worker, key, sentAtMs, endedAtMs: Date.now(), rev, revBefore },
      status: isWhole ? status : null,
      reason: isWhole ? reason : 'the stream ended early',
    };
    this.calls.push(call);
    if (call.status === 200) this.completed.push({ id, ...tokens });
    if (rev !== null && rev > this.#revSeen) this.#revSeen = rev;
    verdicts.ended(call);
    return call;
  }
}

interface Answer {
  readonly status: number | null;
  readonly text: string;
  readonly reason: string;
  readonly rev: number | null;
}

async function post(port: number, key: string, id: string, body: string): Promise<Answer> {
  try {
    const { headers, status, text } = await postCall(port, key, id, body, TIMEOUT_MS);
    const rev = headers['x-claviger-rev'];
    return {
      status,
      text,
      reason: status === 200 ? '' : text.slice(0, 400),
      rev: typeof rev === 'string' ? Number(rev) : null,
    };
  } catch (error) {
    return { status: null, text: '', reason: (error as Error).message, rev: null };
  }
}
