import type { Log } from '../../observe/log.ts';
import type { MetricRegistry } from '../../observe/metrics.ts';
import { type RegionView, viewRegions } from './fleet-view.ts';
import { GATEWAY_STATES } from './gateway-state.ts';
import type { Fleet, ReadFleet } from './read-fleet.ts';

/** The fleet is read this often for its metrics. */
export const FLEET_METRICS_INTERVAL_MS = 10_000;
/** Regions with a label of their own; the others are added up under `other`. */
export const REGION_LABELS_MAX = 100;

/** Gauges about the whole fleet. Returns what ends the reading. */
export function watchFleet(
  metrics: MetricRegistry,
  { readFleet, log, intervalMs = FLEET_METRICS_INTERVAL_MS }: { readFleet: ReadFleet; log: Log; intervalMs?: number },
): () => void {
  const max = { merge: 'max' } as const;
  const perRegion = ['region'];
  const gateways = metrics.gauge(
    'claviger_fleet_gateways',
    'Gateway processes of the fleet by region and state.',
    ['region', 'state'],
    max,
  );
  const lag = metrics.gauge(
    'claviger_fleet_lag_revisions',
    'Revisions that the gateway process of a region that is furthest behind has not applied.',
    perRegion,
    max,
  );
  const lagSeconds = metrics.gauge(
    'claviger_fleet_lag_seconds',
    'How long the oldest change has been there that some gateway process of the region has not applied.',
    perRegion,
    max,
  );
  const staleness = metrics.gauge(
    'claviger_fleet_staleness_seconds',
    'Largest age of what the gateway processes of a region admit keys by.',
    perRegion,
    max,
  );
  const drift = metrics.gauge(
    'claviger_fleet_drifted_gateways',
    'Gateway processes that hold other keys than the rest at the same revision.',
    perRegion,
    max,
  );
  const rejected = metrics.gauge(
    'claviger_fleet_rejected_configurations',
    'Gateway processes that could not use the newest models and settings and go on with older ones.',
    perRegion,
    max,
  );

  const set = ({ region, ...view }: Pick<RegionView, keyof RegionView>): void => {
    for (const state of GATEWAY_STATES) gateways.labels(region, state).set(view.gateways[state]);
    lag.labels(region).set(view.lagRevisionsMax);
    lagSeconds.labels(region).set((view.lagMsMax ?? 0) / 1_000);
    staleness.labels(region).set((view.stalenessMsMax ?? 0) / 1_000);
    drift.labels(region).set(view.drifted);
    rejected.labels(region).set(view.rejectedConfigurations);
  };

  let known: string[] = [];
  const show = (fleet: Fleet): void => {
    const regions = withinLabels(viewRegions(fleet.workers));
    for (const region of known) if (!regions.some((view) => view.region === region)) set({ ...NOTHING, region });
    for (const region of regions) set(region);
    known = [...new Set([...known, ...regions.map(({ region }) => region)])].slice(0, REGION_LABELS_MAX + 1);
  };
  const look = (): void => {
    readFleet({ mayBeStale: true }).then(show, (error: unknown) =>
      log.debug({ err: error }, 'the fleet could not be read for its metrics'),
    );
  };
  const timer = setInterval(look, intervalMs);
  const first = setTimeout(look, FIRST_LOOK_MS);
  return () => {
    clearInterval(timer);
    clearTimeout(first);
  };
}

/** The gateway processes of the instance have connected by then. */
const FIRST_LOOK_MS = 2_000;

const NOTHING: Omit<RegionView, 'region'> = {
  workers: 0,
  gateways: { live: 0, draining: 0, suspect: 0, lost: 0, left: 0 },
  lagRevisionsMax: 0,
  lagMsMax: null,
  stalenessMsMax: null,
  drifted: 0,
  rejectedConfigurations: 0,
  openRequests: 0,
  requestsPerMinute: 0,
  errorsPerMinute: 0,
  tooManyPerMinute: 0,
  usageBacklogRecords: 0,
  usageOldestUnshippedMs: 0,
};

/** In order of name; what is beyond the bound becomes one. */
function withinLabels(regions: readonly RegionView[]): RegionView[] {
  if (regions.length <= REGION_LABELS_MAX) return [...regions];
  const rest = regions.slice(REGION_LABELS_MAX).reduce<RegionView>(added, { ...NOTHING, region: 'other' });
  return [...regions.slice(0, REGION_LABELS_MAX), rest];
}

function added(sum: RegionView, one: RegionView): RegionView {
  const gateways = { ...sum.gateways };
  for (const state of GATEWAY_STATES) gateways[state] += one.gateways[state];
  return {
    ...sum,
    gateways,
    lagRevisionsMax: Math.max(sum.lagRevisionsMax, one.lagRevisionsMax),
    lagMsMax: Math.max(sum.lagMsMax ?? 0, one.lagMsMax ?? 0),
    stalenessMsMax: Math.max(sum.stalenessMsMax ?? 0, one.stalenessMsMax ?? 0),
    drifted: sum.drifted + one.drifted,
    rejectedConfigurations: sum.rejectedConfigurations + one.rejectedConfigurations,
  };
}
