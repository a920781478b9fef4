import type { MetricFamily } from '../observe/metrics.ts';

interface Restarting {
  readonly restarts: number;
}

/** What the supervisor itself has to say in `/metrics`. */
export function restartMetrics(processes: {
  readonly gateways: ReadonlyMap<number, Restarting>;
  /** Null on a worker that joined. */
  readonly control: Restarting | null;
  readonly database: Restarting | null;
}): MetricFamily[] {
  const { control, database, gateways } = processes;
  let gatewayRestarts = 0;
  for (const { restarts } of gateways.values()) gatewayRestarts += restarts;
  const series = [
    { labels: ['gateway'], values: [gatewayRestarts] },
    ...(control === null ? [] : [{ labels: ['control'], values: [control.restarts] }]),
    ...(database === null ? [] : [{ labels: ['postgres'], values: [database.restarts] }]),
  ];
  return [
    {
      name: 'claviger_process_restarts_total',
      help: 'Processes of this instance that ended unasked and were started again, since the instance started.',
      type: 'counter',
      labelNames: ['process'],
      series,
    },
  ];
}
