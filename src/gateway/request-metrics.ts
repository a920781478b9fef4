import type { Deployment } from '../domain/deployment.ts';
import type { Nano } from '../domain/money.ts';
import type { TokenUsage } from '../domain/usage.ts';
import type { Principal } from '../domain/virtual-key.ts';
import type { Counter, Gauge, Histogram, MetricHandle, MetricRegistry } from '../observe/metrics.ts';
import type { UnknownKeyOutcome } from './auth/authenticate.ts';
import type { KeyEntry } from './live/knowledge.ts';

const KEY_LABELS = ['hashed_api_key', 'api_key_alias', 'team', 'team_alias', 'user'];
const SPEND_LABELS = ['end_user', ...KEY_LABELS, 'model', 'requested_model', 'model_id', 'api_provider'];
const REQUEST_LABELS = [
  'end_user',
  ...KEY_LABELS,
  'requested_model',
  'status_code',
  'route',
  'model_id',
  'api_provider',
];
const DEPLOYMENT_LABELS = ['requested_model', 'litellm_model_name', 'model_id', 'api_base', 'api_provider'];
const OVERHEAD_LABELS = ['model_group', 'api_provider', 'api_base', 'litellm_model_name', 'model_id'];

/** Added latency is well below a millisecond when things go well, so its buckets start lower than LiteLLM's. */
const OVERHEAD_BUCKETS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
];

/** Look-ups remembered per key; at the bound they are forgotten and looked up again (the series themselves stay). */
const SERIES_PER_KEY_MAX = 1_000;

/** The series of one key at one deployment, looked up once per request and then only added to. */
interface CallSeries {
  /** The labels were taken from this; a changed key (a new alias, another team) gets new series. */
  readonly principal: Principal;
  readonly spend: Counter;
  readonly totalTokens: Counter;
  readonly inputTokens: Counter;
  readonly outputTokens: Counter;
  readonly totalLatency: Histogram;
  readonly apiLatency: Histogram;
  readonly timeToFirstToken: Histogram;
  readonly overhead: Histogram;
  readonly deploymentRequests: Counter;
  readonly deploymentSuccesses: Counter;
  readonly requestsByStatus: Map<string, Counter>;
}

/** Metrics of the LLM request path. Names and labels are LiteLLM's where it has them. */
export class RequestMetrics {
  /** Answered requests since the start; plain numbers beside the labelled ones, for rates. */
  readonly counts: RequestCounts = { requests: 0, errors: 0, tooMany: 0 };
  readonly inFlight: Gauge;
  /** Requests with a key that might have been new, by how that ended. */
  readonly unknownKeyWaits: Readonly<Record<UnknownKeyOutcome, Counter>>;
  /** A call was made to a deployment without a price. */
  onUnpriced: ((deployment: Deployment) => void) | null = null;
  readonly #pricesRead: Readonly<Record<'failed' | 'unchanged' | 'updated', Counter>>;
  readonly #pricesHeld: Gauge;
  readonly #spend: MetricHandle<Counter>;
  readonly #totalTokens: MetricHandle<Counter>;
  readonly #inputTokens: MetricHandle<Counter>;
  readonly #outputTokens: MetricHandle<Counter>;
  readonly #requests: MetricHandle<Counter>;
  readonly #failures: MetricHandle<Counter>;
  readonly #totalLatency: MetricHandle<Histogram>;
  readonly #apiLatency: MetricHandle<Histogram>;
  readonly #timeToFirstToken: MetricHandle<Histogram>;
  readonly #overhead: MetricHandle<Histogram>;
  readonly #deploymentRequests: MetricHandle<Counter>;
  readonly #deploymentSuccesses: MetricHandle<Counter>;
  readonly #deploymentFailures: MetricHandle<Counter>;
  readonly #zeroCost: MetricHandle<Counter>;

  constructor(registry: MetricRegistry) {
    this.inFlight = registry.gauge('litellm_in_flight_requests', 'LLM requests being served').labels();
    const unknownKeyWaits = registry.counter(
      'claviger_unknown_key_waits_total',
      'Requests whose key was not known and might have been made a moment before',
      ['outcome'],
    );
    this.unknownKeyWaits = {
      found: unknownKeyWaits.labels('found'),
      refused: unknownKeyWaits.labels('refused'),
      not_in_time: unknownKeyWaits.labels('not_in_time'),
      not_waited: unknownKeyWaits.labels('not_waited'),
    };
    const pricesRead = registry.counter('claviger_price_list_reads_total', 'Reads of the price list, by outcome', [
      'outcome',
    ]);
    this.#pricesRead = {
      failed: pricesRead.labels('failed'),
      unchanged: pricesRead.labels('unchanged'),
      updated: pricesRead.labels('updated'),
    };
    this.#pricesHeld = registry
      .gauge('claviger_price_changes_held', 'Models whose new price waits to be confirmed')
      .labels();
    this.#spend = registry.counter('litellm_spend_metric', 'Spend in US dollars', SPEND_LABELS);
    this.#totalTokens = registry.counter('litellm_total_tokens_metric', 'Input and output tokens', SPEND_LABELS);
    this.#inputTokens = registry.counter('litellm_input_tokens_metric', 'Input tokens', SPEND_LABELS);
    this.#outputTokens = registry.counter('litellm_output_tokens_metric', 'Output tokens', SPEND_LABELS);
    this.#requests = registry.counter('litellm_proxy_total_requests_metric', 'Requests by outcome', REQUEST_LABELS);
    this.#failures = registry.counter('litellm_proxy_failed_requests_metric', 'Requests that failed', [
      ...REQUEST_LABELS.filter((label) => label !== 'status_code'),
      'exception_status',
      'exception_class',
    ]);
    this.#totalLatency = registry.histogram(
      'litellm_request_total_latency_metric',
      'Seconds from the request to the last byte of the answer',
      SPEND_LABELS,
    );
    this.#apiLatency = registry.histogram(
      'litellm_llm_api_latency_metric',
      'Seconds spent waiting for the provider',
      SPEND_LABELS,
    );
    this.#timeToFirstToken = registry.histogram(
      'litellm_llm_api_time_to_first_token_metric',
      'Seconds from dispatch to the first event of a stream',
      SPEND_LABELS,
    );
    this.#overhead = registry.histogram(
      'litellm_overhead_latency_metric',
      'Seconds that the gateway itself added',
      OVERHEAD_LABELS,
      OVERHEAD_BUCKETS_SECONDS,
    );
    this.#deploymentRequests = registry.counter(
      'litellm_deployment_total_requests',
      'Attempts at a deployment',
      DEPLOYMENT_LABELS,
    );
    this.#deploymentSuccesses = registry.counter(
      'litellm_deployment_success_responses',
      'Attempts that succeeded',
      DEPLOYMENT_LABELS,
    );
    this.#deploymentFailures = registry.counter('litellm_deployment_failure_responses', 'Attempts that failed', [
      ...DEPLOYMENT_LABELS,
      'exception_status',
      'exception_class',
    ]);
    this.#zeroCost = registry.counter('litellm_zero_cost_requests', 'Successful calls without a price', [
      'requested_model',
      'model',
      'model_id',
      'api_provider',
      'reason',
    ]);
  }

  /** The price list was read from where it comes from. */
  pricesRead(outcome: 'failed' | 'unchanged' | 'updated', heldCount: number): void {
    this.#pricesRead[outcome].inc();
    if (outcome !== 'failed') this.#pricesHeld.set(heldCount);
  }

  /** A call that a deployment answered, complete. Durations in milliseconds. */
  succeeded(entry: KeyEntry, modelGroup: string, deployment: Deployment, route: string, call: SucceededCall): void {
    this.counts.requests++;
    const series = this.#series(entry, modelGroup, deployment);
    const { usage } = call;
    series.spend.inc(call.costNano / 1e9);
    series.totalTokens.inc(usage.totalTokens);
    series.inputTokens.inc(usage.promptTokens);
    series.outputTokens.inc(usage.completionTokens);
    series.totalLatency.observe(call.totalMs / 1000);
    series.apiLatency.observe(call.apiMs / 1000);
    series.overhead.observe(Math.max(0, call.totalMs - call.apiMs) / 1000);
    if (call.firstTokenMs !== null) series.timeToFirstToken.observe(call.firstTokenMs / 1000);
    series.deploymentRequests.inc();
    series.deploymentSuccesses.inc();
    this.#countStatus(series, entry, modelGroup, deployment, route, 200);
    if (call.isUnpriced) {
      this.onUnpriced?.(deployment);
      this.#zeroCost
        .labels(modelGroup, deployment.litellmModel, deployment.id, deployment.provider, 'missing_pricing_key')
        .inc();
    }
  }

  /** An attempt that failed at a deployment; the request itself may still succeed at another. */
  attemptFailed(modelGroup: string, deployment: Deployment, status: number, errorCode: string): void {
    const labels = [modelGroup, deployment.litellmModel, deployment.id, deployment.apiBase, deployment.provider];
    this.#deploymentRequests.labels(...labels).inc();
    this.#deploymentFailures.labels(...labels, String(status), errorCode).inc();
  }

  /** A request that ended with an error for the client. `entry` null: nobody was authenticated. */
  requestFailed(entry: KeyEntry | null, modelGroup: string, route: string, status: number, errorCode: string): void {
    this.counts.requests++;
    if (status === 429) this.counts.tooMany++;
    else if (status >= 500) this.counts.errors++;
    const key = keyLabels(entry);
    this.#requests.labels(null, ...key, modelGroup, String(status), route, null, null).inc();
    this.#failures.labels(null, ...key, modelGroup, route, null, null, String(status), errorCode).inc();
  }

  #countStatus(
    series: CallSeries,
    entry: KeyEntry,
    modelGroup: string,
    deployment: Deployment,
    route: string,
    status: number,
  ): void {
    let counter = series.requestsByStatus.get(route);
    if (counter === undefined) {
      counter = this.#requests.labels(
        null,
        ...keyLabels(entry),
        modelGroup,
        String(status),
        route,
        deployment.id,
        deployment.provider,
      );
      series.requestsByStatus.set(route, counter);
    }
    counter.inc();
  }

  #series(entry: KeyEntry, modelGroup: string, deployment: Deployment): CallSeries {
    if (entry.series === null || entry.series.size >= SERIES_PER_KEY_MAX) entry.series = new Map();
    const name = `${deployment.id} ${modelGroup}`;
    let series = entry.series.get(name) as CallSeries | undefined;
    if (series === undefined || series.principal !== entry.principal) {
      const spend = [
        null,
        ...keyLabels(entry),
        deployment.litellmModel,
        modelGroup,
        deployment.id,
        deployment.provider,
      ];
      const target = [modelGroup, deployment.litellmModel, deployment.id, deployment.apiBase, deployment.provider];
      series = {
        principal: entry.principal,
        spend: this.#spend.labels(...spend),
        totalTokens: this.#totalTokens.labels(...spend),
        inputTokens: this.#inputTokens.labels(...spend),
        outputTokens: this.#outputTokens.labels(...spend),
        totalLatency: this.#totalLatency.labels(...spend),
        apiLatency: this.#apiLatency.labels(...spend),
        timeToFirstToken: this.#timeToFirstToken.labels(...spend),
        overhead: this.#overhead.labels(
          modelGroup,
          deployment.provider,
          deployment.apiBase,
          deployment.litellmModel,
          deployment.id,
        ),
        deploymentRequests: this.#deploymentRequests.labels(...target),
        deploymentSuccesses: this.#deploymentSuccesses.labels(...target),
        requestsByStatus: new Map(),
      };
      entry.series.set(name, series);
    }
    return series;
  }
}

/** `errors` are answers of 500 and above, `tooMany` those of 429. */
export interface RequestCounts {
  requests: number;
  errors: number;
  tooMany: number;
}

export interface SucceededCall {
  readonly usage: TokenUsage;
  readonly costNano: Nano;
  /** Nothing says what it cost: no price is known, and the provider does not say. */
  readonly isUnpriced: boolean;
  readonly totalMs: number;
  readonly apiMs: number;
  readonly firstTokenMs: number | null;
}

function keyLabels(entry: KeyEntry | null): (string | null)[] {
  if (entry === null) return [null, null, null, null, null];
  const { principal } = entry;
  return [principal.token, principal.keyAlias, principal.teamId, null, principal.userId];
}
