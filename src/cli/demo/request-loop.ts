import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, call } from './call.ts';

export interface LoopResult {
  readonly calls: number;
  /** How many calls had a status. */
  readonly byStatus: ReadonlyMap<number, number>;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const PAUSE_MS = 5;

/** One call after the other, until `stop`, which waits for the last one and says how they went. */
export function requestLoop(ask: () => Promise<Answer>): { stop(): Promise<LoopResult> } {
  const answers: Answer[] = [];
  let stopped = false;
  const ended = (async () => {
    while (!stopped) {
      answers.push(await ask());
      await delay(PAUSE_MS);
    }
  })();
  return {
    async stop() {
      stopped = true;
      await ended;
      return resultOf(answers);
    },
  };
}

export function chat(url: string, key: string, model: string): Promise<Answer> {
  return call('POST', `${url}/v1/chat/completions`, key, { model, messages: [{ role: 'user', content: 'Hi' }] });
}

function resultOf(answers: readonly Answer[]): LoopResult {
  const byStatus = new Map<number, number>();
  for (const { status } of answers) byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
  const times = answers.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return { calls: answers.length, byStatus, p50Ms: at(0.5), p99Ms: at(0.99) };
}
