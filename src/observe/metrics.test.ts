import { describe, expect, it } from 'vitest';
import {
  expositionText,
  LATENCY_BUCKETS_SECONDS,
  type MetricFamily,
  MetricRegistry,
  mergeFamilies,
  SERIES_PER_METRIC_MAX,
} from './metrics.ts';

describe('MetricRegistry', () => {
  it('gives the same child for the same labels', () => {
    const counter = new MetricRegistry().counter('calls', 'Calls', ['model', 'key']);
    counter.labels('a', 'b').inc();
    counter.labels('a', 'b').inc(2);
    expect(counter.labels('a', 'b').value).toBe(3);
    expect(counter.labels('ab', '').value).toBe(0);
  });

  it('writes a missing label as None', () => {
    const registry = new MetricRegistry();
    registry.counter('calls', 'Calls', ['team', 'user']).labels(null, undefined).inc();
    expect(registry.collect()[0]?.series[0]?.labels).toEqual(['None', 'None']);
  });

  it('refuses a second metric of the same name that is another one, and a wrong number of labels', () => {
    const registry = new MetricRegistry();
    const first = registry.counter('calls', 'Calls', ['model']);
    expect(registry.counter('calls', 'Calls', ['model'])).toBe(first);
    expect(() => registry.gauge('calls', 'Calls', ['model'])).toThrow(/exists already as counter/);
    expect(() => registry.counter('calls', 'Calls', ['team'])).toThrow(/labels \(model\)/);
    expect(() => first.labels('a', 'b')).toThrow(/has 1 labels, not 2/);
  });

  it('keeps counting in one series when there are too many, and drops new gauges', () => {
    const registry = new MetricRegistry();
    const counter = registry.counter('calls', 'Calls', ['user']);
    const gauge = registry.gauge('budget', 'Budget', ['user']);
    for (let user = 0; user < SERIES_PER_METRIC_MAX + 10; user += 1) {
      counter.labels(`u${user}`).inc();
      gauge.labels(`u${user}`).set(user);
    }
    const [calls, budget] = registry.collect();
    expect(calls?.series).toHaveLength(SERIES_PER_METRIC_MAX + 1);
    expect(calls?.series.at(-1)).toEqual({ labels: ['other'], values: [10] });
    expect(budget?.series).toHaveLength(SERIES_PER_METRIC_MAX);
  });

  it('reads gauges that live elsewhere when it is collected', () => {
    const registry = new MetricRegistry();
    const gauge = registry.gauge('backlog', 'Backlog').labels();
    registry.beforeCollect(() => gauge.set(7));
    expect(registry.collect()[0]?.series).toEqual([{ labels: [], values: [7] }]);
  });
});

describe('Histogram', () => {
  it('puts a value on a bound into the bucket of that bound, as Prometheus does', () => {
    const registry = new MetricRegistry();
    const child = registry.histogram('t', 'T', [], [1, 2, 5]).labels();
    for (const value of [0, 1, 1.5, 2, 5, 5.1]) child.observe(value);
    expect(registry.collect()[0]?.series[0]?.values).toEqual([2, 2, 1, 1, 14.6, 6]);
  });

  it('refuses buckets that do not ascend', () => {
    expect(() => new MetricRegistry().histogram('t', 'T', [], [1, 1])).toThrow(/do not ascend/);
  });

  it('has ascending default buckets from 5 ms to 300 s', () => {
    expect([...LATENCY_BUCKETS_SECONDS].sort((a, b) => a - b)).toEqual(LATENCY_BUCKETS_SECONDS);
    expect([LATENCY_BUCKETS_SECONDS[0], LATENCY_BUCKETS_SECONDS.at(-1)]).toEqual([0.005, 300]);
  });
});

describe('mergeFamilies', () => {
  const family = (type: MetricFamily['type'], values: readonly number[], merge?: 'max'): MetricFamily => ({
    name: `m_${type}_${merge ?? 'sum'}`,
    help: 'h',
    type,
    labelNames: ['l'],
    ...(merge === undefined ? {} : { merge }),
    series: [{ labels: ['x'], values }],
  });

  it('adds counters, histograms and gauges, and takes the largest where asked', () => {
    const one = [
      family('counter', [1]),
      family('histogram', [1, 2, 3]),
      family('gauge', [4]),
      family('gauge', [4], 'max'),
    ];
    const two = [
      family('counter', [10]),
      family('histogram', [1, 1, 1]),
      family('gauge', [9]),
      family('gauge', [9], 'max'),
    ];
    const merged = mergeFamilies([one, two]);
    expect(merged.map((each) => each.series[0]?.values)).toEqual([[11], [2, 3, 4], [13], [9]]);
    expect(one[0]?.series[0]?.values).toEqual([1]);
  });

  it('keeps series and families that only one process has', () => {
    const merged = mergeFamilies([
      [family('counter', [1])],
      [{ ...family('counter', [2]), series: [{ labels: ['y'], values: [2] }] }, family('gauge', [3])],
    ]);
    expect(merged.map((each) => each.series.length)).toEqual([2, 1]);
  });

  it('does not add numbers of different buckets', () => {
    const merged = mergeFamilies([[family('histogram', [1, 2, 3])], [family('histogram', [1, 2, 3, 4])]]);
    expect(merged[0]?.series[0]?.values).toEqual([1, 2, 3]);
  });
});

describe('expositionText', () => {
  it('is the Prometheus text format', () => {
    const registry = new MetricRegistry();
    registry.counter('litellm_spend_metric', 'Spend\nin dollars', ['model']).labels('a"b\\c\nd').inc(0.25);
    registry.counter('x_total', 'X').labels().inc();
    registry.gauge('in_flight', 'Now').labels().set(3);
    registry.histogram('latency', 'Seconds', ['m'], [0.5, 1]).labels('z').observe(0.7);
    expect(expositionText(registry.collect())).toBe(
      [
        '# HELP litellm_spend_metric_total Spend\\nin dollars',
        '# TYPE litellm_spend_metric_total counter',
        'litellm_spend_metric_total{model="a\\"b\\\\c\\nd"} 0.25',
        '# HELP x_total X',
        '# TYPE x_total counter',
        'x_total 1',
        '# HELP in_flight Now',
        '# TYPE in_flight gauge',
        'in_flight 3',
        '# HELP latency Seconds',
        '# TYPE latency histogram',
        'latency_bucket{m="z",le="0.5"} 0',
        'latency_bucket{m="z",le="1.0"} 1',
        'latency_bucket{m="z",le="+Inf"} 1',
        'latency_sum{m="z"} 0.7',
        'latency_count{m="z"} 1',
        '',
      ].join('\n'),
    );
  });

  it('is empty without metrics', () => {
    expect(expositionText([])).toBe('');
  });
});
