import type { MetricRegistry } from '../observe/metrics.ts';
import type { PoolUsage } from '../storage/db.ts';
import type { ChangeTail } from './fleet/change-tail.ts';
import type { Registry } from './fleet/registry.ts';
import type { IngestCounts } from './money/ingest.ts';

/** What the control process counts. The gauges are read from where the numbers live, when somebody collects. */
export interface ControlMetrics {
  request(route: string, method: string, status: number, seconds: number): void;
  ingested(counts: IngestCounts): void;
}

export function createControlMetrics(metrics: MetricRegistry): ControlMetrics {
  const requests = metrics.counter('claviger_management_requests_total', 'Requests answered by the management API.', [
    'route',
    'method',
    'status_code',
  ]);
  const seconds = metrics.histogram(
    'claviger_management_request_duration_seconds',
    'Time that the management API took to answer.',
    ['route'],
  );
  const records = metrics.counter(
    'claviger_usage_records_ingested_total',
    'Usage records taken from gateway processes: new rows, duplicates, and those set aside as dead letters.',
    ['result'],
  );
  return {
    request(route, method, status, duration) {
      requests.labels(route, method, String(status)).inc();
      seconds.labels(route).observe(duration);
    },
    ingested({ inserted, duplicates, deadLetters }) {
      records.labels('inserted').inc(inserted);
      records.labels('duplicate').inc(duplicates);
      records.labels('dead_letter').inc(deadLetters);
    },
  };
}

export function watchControlState(
  metrics: MetricRegistry,
  state: { readonly tail: ChangeTail; readonly registry: Registry; readonly poolUsage: () => PoolUsage },
): void {
  const connections = metrics.gauge(
    'claviger_database_connections',
    'Connections of the pool of the control process.',
    ['state'],
  );
  const waiting = metrics.gauge('claviger_database_waiting', 'Transactions that wait for a connection.');
  const subscribers = metrics.gauge('claviger_feed_subscribers', 'Gateway processes connected to the feed.');
  const revision = metrics.gauge('claviger_revision', 'Newest revision of the configuration that is known.', [], {
    merge: 'max',
  });
  const age = metrics.gauge(
    'claviger_database_age_seconds',
    'Time since the database last confirmed that revision.',
    [],
    { merge: 'max' },
  );
  metrics.beforeCollect(() => {
    const usage = state.poolUsage();
    connections.labels('idle').set(usage.idle);
    connections.labels('busy').set(usage.open - usage.idle);
    waiting.labels().set(usage.waiting);
    subscribers.labels().set(state.registry.size);
    revision.labels().set(state.tail.position?.rev ?? 0);
    age.labels().set(state.tail.dbAgeMs() / 1000);
  });
}
