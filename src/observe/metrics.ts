/** One series: values of the family's `labelNames` in order, and its number(s). */
export interface MetricSeries {
  readonly labels: readonly string[];
  /** Counter or gauge: one number. Histogram: one count per bucket (not cumulative), then +Inf, sum, count. */
  readonly values: readonly number[];
}

/** A metric with all its series, as plain data that can cross a process boundary. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labelNames: readonly string[];
  /** Upper bounds without +Inf; histograms only. */
  readonly buckets?: readonly number[];
  /** How several processes of an instance become one number. Counters and histograms are always summed. */
  readonly merge?: 'sum' | 'max';
  readonly series: readonly MetricSeries[];
}

/** Counts up. A plain object, so that an increment costs an addition. */
export class Counter {
  value = 0;

  inc(by = 1): void {
    this.value += by;
  }
}

/** A value that goes up and down. */
export class Gauge {
  value = 0;

  set(value: number): void {
    this.value = value;
  }

  inc(by = 1): void {
    this.value += by;
  }

  dec(by = 1): void {
    this.value -= by;
  }
}

/** Counts observations in buckets; an observation on a bound belongs to the bucket of that bound. */
export class Histogram {
  readonly bounds: readonly number[];
  /** One count per bound, then +Inf; not cumulative. */
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let low = 0;
    let high = this.bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= this.bounds[middle]!) high = middle;
      else low = middle + 1;
    }
    this.counts[low]! += 1;
    this.sum += value;
    this.count += 1;
  }
}

/** All series of one metric. Keep the result of `labels` where it is used often: the look-up builds a string. */
export interface MetricHandle<Child> {
  /** Values in the order of `labelNames`; null and undefined are written `None`, as LiteLLM does. */
  labels(...values: readonly (string | null | undefined)[]): Child;
}

export interface MetricOptions {
  /** How a gauge of several processes becomes one number. Default: sum. */
  readonly merge?: 'sum' | 'max';
}

/** Series per metric. Beyond it counters and histograms go on in one series whose labels are all `other`, and new gauges are dropped. */
export const SERIES_PER_METRIC_MAX = 10_000;

/** LiteLLM's latency buckets, in seconds. */
export const LATENCY_BUCKETS_SECONDS: readonly number[] = [
  0.005,
  0.00625,
  0.0125,
  0.025,
  0.05,
  0.1,
  ...Array.from({ length: 20 }, (_, index) => (index + 1) / 2),
  15,
  20,
  25,
  30,
  60,
  120,
  180,
  240,
  300,
];

/** The metrics of one process. Asking twice for the same name gives the same metric; with other labels it throws. */
export class MetricRegistry {
  readonly #metrics = new Map<string, Metric>();
  readonly #beforeCollect: (() => void)[] = [];

  counter(name: string, help: string, labelNames: readonly string[] = []): MetricHandle<Counter> {
    return this.#metric(name, help, 'counter', labelNames, () => new Counter()) as MetricHandle<Counter>;
  }

  gauge(
    name: string,
    help: string,
    labelNames: readonly string[] = [],
    options: MetricOptions = {},
  ): MetricHandle<Gauge> {
    const merge = options.merge ?? 'sum';
    return this.#metric(name, help, 'gauge', labelNames, () => new Gauge(), { merge }) as MetricHandle<Gauge>;
  }

  histogram(
    name: string,
    help: string,
    labelNames: readonly string[] = [],
    buckets: readonly number[] = LATENCY_BUCKETS_SECONDS,
  ): MetricHandle<Histogram> {
    if (buckets.some((bound, index) => index > 0 && bound <= buckets[index - 1]!)) {
      throw new Error(`The buckets of ${name} do not ascend.`);
    }
    const create = (): Histogram => new Histogram(buckets);
    return this.#metric(name, help, 'histogram', labelNames, create, { buckets }) as MetricHandle<Histogram>;
  }

  /** Runs before each `collect`; for gauges that are read from elsewhere (sizes, ages). */
  beforeCollect(update: () => void): void {
    this.#beforeCollect.push(update);
  }

  collect(): MetricFamily[] {
    for (const update of this.#beforeCollect) update();
    return Array.from(this.#metrics.values(), (metric) => metric.family());
  }

  #metric(
    name: string,
    help: string,
    type: MetricFamily['type'],
    labelNames: readonly string[],
    create: () => Child,
    extra: Pick<MetricFamily, 'buckets' | 'merge'> = {},
  ): Metric {
    const existing = this.#metrics.get(name);
    if (existing === undefined) {
      const metric = new Metric({ name, help, type, labelNames, ...extra }, create);
      this.#metrics.set(name, metric);
      return metric;
    }
    const { type: oldType, labelNames: oldNames } = existing.description;
    if (oldType !== type || oldNames.join() !== labelNames.join()) {
      throw new Error(`The metric ${name} exists already as ${oldType} with labels (${oldNames.join(', ')}).`);
    }
    return existing;
  }
}

/** The families of several processes as one list; the order of the first list that has a family is kept. */
export function mergeFamilies(lists: readonly (readonly MetricFamily[])[]): MetricFamily[] {
  const merged = new Map<
    string,
    { family: MetricFamily; series: Map<string, { labels: readonly string[]; values: number[] }> }
  >();
  for (const family of lists.flat()) {
    let into = merged.get(family.name);
    if (into === undefined) {
      into = { family, series: new Map() };
      merged.set(family.name, into);
    }
    const combine =
      family.type === 'gauge' && family.merge === 'max' ? Math.max : (a: number, b: number): number => a + b;
    for (const { labels, values } of family.series) {
      const key = seriesKey(labels);
      const known = into.series.get(key);
      // During an upgrade two processes may have different buckets; numbers that do not fit each other are not added.
      if (known === undefined) into.series.set(key, { labels, values: [...values] });
      else if (known.values.length === values.length) {
        known.values.forEach((value, index) => {
          known.values[index] = combine(value, values[index]!);
        });
      }
    }
  }
  return Array.from(merged.values(), ({ family, series }) => ({ ...family, series: [...series.values()] }));
}

export const EXPOSITION_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Prometheus text exposition. Counters end in `_total` and bounds are written `1.0`, as Python's client library does it. */
export function expositionText(families: readonly MetricFamily[]): string {
  const lines: string[] = [];
  for (const family of families) {
    const name = family.type === 'counter' && !family.name.endsWith('_total') ? `${family.name}_total` : family.name;
    lines.push(
      `# HELP ${name} ${family.help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}`,
      `# TYPE ${name} ${family.type}`,
    );
    for (const series of family.series) {
      const labels = family.labelNames.map((label, index) => `${label}="${escapeLabel(series.labels[index] ?? '')}"`);
      if (family.type === 'histogram') histogramLines(lines, name, labels, family.buckets ?? [], series.values);
      else lines.push(`${name}${braces(labels)} ${numberText(series.values[0] ?? 0)}`);
    }
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

type Child = Counter | Gauge | Histogram;

class Metric implements MetricHandle<Child> {
  readonly description: Omit<MetricFamily, 'series'>;
  readonly #create: () => Child;
  readonly #children = new Map<string, { readonly labels: readonly string[]; readonly child: Child }>();
  readonly #dropped: Child;

  constructor(description: Omit<MetricFamily, 'series'>, create: () => Child) {
    this.description = description;
    this.#create = create;
    this.#dropped = create();
  }

  labels(...values: readonly (string | null | undefined)[]): Child {
    const { name, type, labelNames } = this.description;
    if (values.length !== labelNames.length) {
      throw new Error(`The metric ${name} has ${labelNames.length} labels, not ${values.length}.`);
    }
    const labels = values.map((value) => value ?? 'None');
    const found = this.#children.get(seriesKey(labels));
    if (found !== undefined) return found.child;
    if (this.#children.size < SERIES_PER_METRIC_MAX) return this.#add(labels);
    if (type === 'gauge') return this.#dropped;
    const other = labelNames.map(() => 'other');
    return this.#children.get(seriesKey(other))?.child ?? this.#add(other);
  }

  family(): MetricFamily {
    return {
      ...this.description,
      series: Array.from(this.#children.values(), ({ labels, child }) => ({
        labels,
        values: child instanceof Histogram ? [...child.counts, child.sum, child.count] : [child.value],
      })),
    };
  }

  #add(labels: readonly string[]): Child {
    const child = this.#create();
    this.#children.set(seriesKey(labels), { labels, child });
    return child;
  }
}

function seriesKey(labels: readonly string[]): string {
  return labels.length === 1 ? labels[0]! : labels.join('\u0000');
}

function histogramLines(
  lines: string[],
  name: string,
  labels: readonly string[],
  buckets: readonly number[],
  values: readonly number[],
): void {
  let cumulative = 0;
  buckets.forEach((bound, index) => {
    cumulative += values[index] ?? 0;
    lines.push(`${name}_bucket${braces([...labels, `le="${boundText(bound)}"`])} ${numberText(cumulative)}`);
  });
  const count = values[buckets.length + 2] ?? 0;
  lines.push(
    `${name}_bucket${braces([...labels, 'le="+Inf"'])} ${numberText(count)}`,
    `${name}_sum${braces(labels)} ${numberText(values[buckets.length + 1] ?? 0)}`,
    `${name}_count${braces(labels)} ${numberText(count)}`,
  );
}

function braces(labels: readonly string[]): string {
  return labels.length === 0 ? '' : `{${labels.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}

function boundText(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : String(bound);
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
