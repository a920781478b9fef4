import { describe, expect, it } from 'vitest';
import type { MetricFamily } from '../observe/metrics.ts';
import { type MetricSource, MetricsCollector } from './collect-metrics.ts';
import type { ToChild } from './messages.ts';

const family = (value: number): MetricFamily => ({
  name: 'calls_total',
  help: 'Calls.',
  type: 'counter',
  labelNames: [],
  series: [{ labels: [], values: [value] }],
});

class Source implements MetricSource {
  ready = true;
  readonly asked: number[] = [];
  send(message: ToChild): void {
    if (message.type === 'collect-metrics') this.asked.push(message.id);
  }
}

const totalIn = (text: string) => Number(/^calls_total (\d+)$/m.exec(text)?.[1]);

describe('metrics of an instance', () => {
  it('are the sum over its processes, and the processes are asked once for questions at the same time', async () => {
    const [first, second] = [new Source(), new Source()];
    const collector = new MetricsCollector(
      () => [first, second],
      () => [family(100)],
    );
    const answers = [collector.collect(), collector.collect()];
    expect([first.asked.length, second.asked.length]).toEqual([1, 1]);
    const id = first.asked[0]!;
    collector.receive(first, { type: 'collected-metrics', id, families: [family(1)] });
    // A second answer of the same process does not count.
    collector.receive(first, { type: 'collected-metrics', id, families: [family(1)] });
    collector.receive(second, { type: 'collected-metrics', id, families: [family(10)] });
    expect((await Promise.all(answers)).map(totalIn)).toEqual([111, 111]);
  });

  it('leave out what does not answer in time, and its late answer is not taken for the next question', async () => {
    const [first, second] = [new Source(), new Source()];
    const collector = new MetricsCollector(
      () => [first, second],
      () => [],
      20,
    );
    const answer = collector.collect();
    collector.receive(first, { type: 'collected-metrics', id: first.asked[0]!, families: [family(1)] });
    expect(totalIn(await answer)).toBe(1);

    const next = collector.collect();
    collector.receive(second, { type: 'collected-metrics', id: second.asked[0]!, families: [family(10)] });
    for (const source of [first, second]) {
      collector.receive(source, { type: 'collected-metrics', id: source.asked[1]!, families: [family(2)] });
    }
    expect(totalIn(await next)).toBe(4);
  });

  it('do not wait for processes that are starting', async () => {
    const source = new Source();
    source.ready = false;
    const collector = new MetricsCollector(
      () => [source],
      () => [family(7)],
    );
    expect(totalIn(await collector.collect())).toBe(7);
    expect(source.asked).toEqual([]);
  });
});
