import { Budgets } from '../gateway/limits/budgets.ts';
import type { Purse } from '../gateway/limits/call-budgets.ts';
import { CallEstimates } from '../gateway/limits/estimate-call.ts';
import { LeaseClient } from '../gateway/limits/lease-client.ts';
import { LeaseLog } from '../gateway/limits/lease-log.ts';
import { restoreLeases } from '../gateway/limits/restore-leases.ts';
import type { FeedTransport } from '../gateway/live/feed-transport.ts';
import { settledSince } from '../gateway/metering/settled-since.ts';
import type { UsageLog } from '../gateway/metering/usage-log.ts';
import type { Log } from '../observe/log.ts';
import type { MetricRegistry } from '../observe/metrics.ts';
import type { Clock } from '../util/clock.ts';

export interface BudgetService {
  readonly purse: Purse;
  run(): void;
  /** Gives back what is held. After the last call, before the usage log is closed. */
  stop(): Promise<void>;
}

export interface BudgetServiceOptions {
  /** The slot directory, where the usage log is too. */
  readonly directory: string;
  readonly usageLog: UsageLog;
  readonly transport: Pick<FeedTransport, 'post'>;
  readonly identity: { readonly gatewayId: string; readonly session: string };
  readonly bootId: string | null;
  /** Its monotonic time goes on while the machine is suspended. */
  readonly clock: Clock;
  readonly random: () => number;
  readonly registry: MetricRegistry;
  readonly log: Log;
}

/** Budgets of this gateway process: what it held when it ended, and the client that gets more. */
export function createBudgetService(options: BudgetServiceOptions): BudgetService {
  const { directory, usageLog, transport, identity, bootId, clock, random, registry, log } = options;
  const leaseLog = new LeaseLog(directory);
  const { incarnation } = usageLog.identity;
  const { table, ...resumed } = restoreLeases({
    leaseLog,
    incarnation,
    bootId,
    syncsEachRecord: false,
    nowMs: clock.monotonicMs(),
    wallMs: clock.nowMs(),
    settledSince: (afterSeq, each) => settledSince(directory, afterSeq, each),
    log,
  });
  const client = new LeaseClient({
    table,
    leaseLog,
    transport,
    identity,
    installation: () => usageLog.identity.installation,
    incarnation,
    clock,
    random,
    log,
    usageSeq: () => usageLog.lastSeq,
    bootId,
    resumed,
    onProgress: () => budgets.progressed(),
  });
  const budgets = new Budgets({ table, client, clock });
  watch(registry, budgets);
  return { purse: { budgets, estimates: new CallEstimates() }, run: () => client.run(), stop: () => client.stop() };
}

function watch(registry: MetricRegistry, { counts }: Budgets): void {
  const reservations = registry.counter(
    'claviger_budget_reservations_total',
    'Calls with a budget, by outcome: reserved; overdraft; spent; short, what is left is held by others; unreachable',
    ['outcome'],
  );
  const waits = registry.counter(
    'claviger_budget_waits_total',
    'Calls that waited for the control plane because no lease here had room',
  );
  const told = { ...counts };
  registry.beforeCollect(() => {
    for (const outcome of ['reserved', 'overdraft', 'spent', 'short', 'unreachable'] as const) {
      reservations.labels(outcome).inc(counts[outcome] - told[outcome]);
    }
    waits.labels().inc(counts.waited - told.waited);
    Object.assign(told, counts);
  });
}
