import { expositionText, type MetricFamily, mergeFamilies } from '../observe/metrics.ts';
import type { ToChild, ToSupervisor } from './messages.ts';

/** What does not answer within this is left out: one process that hangs does not hide the others. */
export const COLLECT_TIMEOUT_MS = 1_000;

export interface MetricSource {
  readonly ready: boolean;
  send(message: ToChild): void;
}

/**
 * `/metrics` of the instance: any gateway process that is asked for it asks us, we ask all processes and merge. Questions
 * that come while a collection is under way share its answer.
 */
export class MetricsCollector {
  readonly #sources: () => Iterable<MetricSource>;
  readonly #own: () => readonly MetricFamily[];
  readonly #timeoutMs: number;
  #nextId = 1;
  #round: {
    readonly id: number;
    readonly waiting: Set<MetricSource>;
    readonly lists: (readonly MetricFamily[])[];
    finish: () => void;
  } | null = null;
  #underWay: Promise<string> | null = null;

  constructor(
    sources: () => Iterable<MetricSource>,
    own: () => readonly MetricFamily[],
    timeoutMs = COLLECT_TIMEOUT_MS,
  ) {
    this.#sources = sources;
    this.#own = own;
    this.#timeoutMs = timeoutMs;
  }

  collect(): Promise<string> {
    this.#underWay ??= this.#collect().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  /** An answer of a process. One that comes too late belongs to no round any more and is dropped. */
  receive(source: MetricSource, message: Extract<ToSupervisor, { type: 'collected-metrics' }>): void {
    const round = this.#round;
    if (round === null || round.id !== message.id || !round.waiting.delete(source)) return;
    round.lists.push(message.families);
    if (round.waiting.size === 0) round.finish();
  }

  async #collect(): Promise<string> {
    const waiting = new Set([...this.#sources()].filter((source) => source.ready));
    const lists: (readonly MetricFamily[])[] = [this.#own()];
    if (waiting.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#timeoutMs);
        const finish = (): void => {
          clearTimeout(timer);
          resolve();
        };
        this.#round = { id: this.#nextId++, waiting, lists, finish };
        for (const source of waiting) source.send({ type: 'collect-metrics', id: this.#round.id });
      });
      this.#round = null;
    }
    return expositionText(mergeFamilies(lists));
  }
}
