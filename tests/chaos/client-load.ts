import { setTimeout as delay } from 'node:timers/promises';
import type { KnownCall } from './check-books.ts';
import { postCall } from './post-call.ts';

export interface FailedCall {
  readonly id: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** The status, or null when the connection failed before there was an answer, or in the middle of it. */
  readonly status: number | null;
  readonly reason: string;
}

export interface ClientLoadOptions {
  readonly port: number;
  readonly keys: readonly string[];
  readonly model: string;
  readonly clients: number;
  readonly random: () => number;
  /** Begins the ids of the calls; different for loads whose calls end up in the same books. */
  readonly prefix?: string;
}

/** Longest pause of a client between two calls: the load is bounded by it, the chaos and not the load is what is tested. */
const PAUSE_MAX_MS = 60;
const CALL_MS_MAX = 400;
const TIMEOUT_MS = 30_000;

/** Clients that call one after the other, half of the calls as streams, each over a connection of its own. */
export class ClientLoad {
  readonly completed: KnownCall[] = [];
  readonly failed: FailedCall[] = [];
  readonly #options: ClientLoadOptions;
  readonly #running: Promise<void>[] = [];
  #stopping = false;
  #count = 0;

  constructor(options: ClientLoadOptions) {
    this.#options = options;
    for (let client = 0; client < options.clients; client++) this.#running.push(this.#run());
  }

  /** No new calls, and every open one has ended when this resolves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  async #run(): Promise<void> {
    const { random } = this.#options;
    while (!this.#stopping) {
      await this.#call();
      await delay(random() * PAUSE_MAX_MS);
    }
  }

  async #call(): Promise<void> {
    const { keys, model, port, random } = this.#options;
    this.#count += 1;
    const call = {
      id: `${this.#options.prefix ?? 'chaos'}-${this.#count}`,
      prompt: 1 + Math.floor(random() * 500),
      completion: 1 + Math.floor(random() * 200),
      delayMs: Math.floor(random() * CALL_MS_MAX),
      chunks: 1 + Math.floor(random() * 8),
    };
    const stream = random() < 0.5;
    const body = JSON.stringify({
      model,
      messages: [{ role: 'user', content: JSON.stringify(call) }],
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
    });
    const startedAtMs = performance.now();
    const key = keys[Math.floor(random() * keys.length)] ?? '';
    const fail = (status: number | null, reason: string): void => {
      this.failed.push({ id: call.id, startedAtMs, endedAtMs: performance.now(), status, reason });
    };
    try {
      const { status, text } = await postCall(port, key, call.id, body, TIMEOUT_MS);
      if (status !== 200) return fail(status, text.slice(0, 300));
      const usage = stream ? usageOfStream(text) : usageOf(JSON.parse(text));
      if (usage === null) return fail(null, 'the stream ended early');
      this.completed.push({ id: call.id, ...usage });
    } catch (error) {
      fail(null, String(error));
    }
  }
}

/** Null: it did not come to its end. */
function usageOfStream(text: string): Omit<KnownCall, 'id'> | null {
  if (!text.endsWith('data: [DONE]\n\n')) return null;
  const events = text.split('\n\n').filter((event) => event.startsWith('data: {'));
  const last = events.map((event) => JSON.parse(event.slice('data: '.length))).find((event) => event.usage);
  return usageOf(last ?? {});
}

function usageOf(answer: { usage?: { prompt_tokens: number; completion_tokens: number } }): Omit<KnownCall, 'id'> {
  return { prompt: answer.usage?.prompt_tokens ?? -1, completion: answer.usage?.completion_tokens ?? -1 };
}
