import type { FleetRegions, FleetWorkers, GatewayRow, RegionRow, WorkerRow } from '../../contract/schemas/fleet.ts';
import { textTable } from '../../util/text-table.ts';
import { age, bytes, orUnknown, plural, shortIds, span, UNKNOWN, whole } from './figures.ts';

/** What `claviger fleet status` prints. */
export function statusText(fleet: FleetWorkers, { regions }: FleetRegions): string {
  const gateways = fleet.workers.flatMap((worker) => worker.gateways);
  const { epoch, rev } = fleet.head;
  const count = `${plural(fleet.workers.length, 'instance')}, ${plural(gateways.length, 'gateway process', 'gateway processes')}`;
  const head = `Revision ${rev} (epoch ${epoch}), ${count}.\n`;
  if (gateways.length === 0) return `${head}No gateway process has reported yet.\n`;
  return `${head}\n${regionTable(regions)}\n\n${gatewayTable(fleet)}\n`;
}

function regionTable(regions: readonly RegionRow[]): string {
  const head = [
    'REGION',
    'WORKERS',
    'LIVE',
    'NOT LIVE',
    'BEHIND',
    'STALE',
    'OPEN',
    'REQ/MIN',
    '5XX/MIN',
    '429/MIN',
    'UNSHIPPED',
  ];
  return textTable(
    head,
    regions.map((region) => [
      region.region,
      whole(region.workers),
      whole(region.gateways.live ?? 0),
      otherStates(region.gateways),
      behind(region.lag_revisions_max, region.lag_ms_max),
      orUnknown(region.staleness_ms_max, span),
      whole(region.open_requests),
      whole(region.requests_per_minute),
      whole(region.errors_per_minute),
      whole(region.too_many_per_minute),
      unshipped(region.usage_backlog_records, region.usage_oldest_unshipped_ms),
    ]),
  );
}

function otherStates(states: Readonly<Record<string, number>>): string {
  const others = Object.entries(states).filter(([state, count]) => state !== 'live' && count > 0);
  return others.length === 0 ? '0' : others.map(([state, count]) => `${whole(count)} ${state}`).join(', ');
}

function gatewayTable({ now, workers }: FleetWorkers): string {
  const nowMs = Date.parse(now);
  const short = shortIds(workers.map(({ worker }) => worker));
  const versions = new Set(workers.flatMap(({ gateways }) => gateways.map(({ version }) => version)));
  const head = [
    'GATEWAY',
    'REGION',
    'ROLE',
    'STATE',
    'SEEN',
    'REVISION',
    'BEHIND',
    'STALE',
    'KEYS',
    'OPEN',
    'REQ/MIN',
    'UNSHIPPED',
    'LOOP P99',
    'RSS',
    'REMARKS',
  ];
  return textTable(
    head,
    workers.flatMap((worker) =>
      worker.gateways.map((gateway) => [
        `${short.get(worker.worker)}${gateway.gateway.slice(worker.worker.length)}`,
        worker.region,
        worker.role,
        gateway.state,
        age(nowMs - Date.parse(gateway.last_seen)),
        String(gateway.applied.rev),
        behind(gateway.lag.revisions, gateway.lag.ms),
        orUnknown(gateway.staleness_ms, span),
        orUnknown(gateway.key_count, whole),
        orUnknown(gateway.open_requests, whole),
        orUnknown(gateway.requests_per_minute, whole),
        gateway.usage_log === null
          ? UNKNOWN
          : unshipped(gateway.usage_log.backlog_records, gateway.usage_log.oldest_unshipped_ms),
        orUnknown(gateway.event_loop_p99_ms, span),
        orUnknown(gateway.rss_bytes, bytes),
        remarks(worker, gateway, { nowMs, versionsDiffer: versions.size > 1 }),
      ]),
    ),
  );
}

function behind(revisions: number, ms: number | null): string {
  if (revisions === 0) return '0';
  return ms === null ? whole(revisions) : `${whole(revisions)} (${span(ms)})`;
}

function unshipped(records: number, oldestMs: number): string {
  return records === 0 ? '0' : `${whole(records)} (${span(oldestMs)})`;
}

/** Beyond it a clock is worth a word. */
const CLOCK_OFFSET_REMARK_MS = 1_000;

function remarks(
  worker: WorkerRow,
  gateway: GatewayRow,
  { nowMs, versionsDiffer }: { readonly nowMs: number; readonly versionsDiffer: boolean },
): string {
  const all: string[] = [];
  const { configuration, clock_offset_ms: offset } = gateway;
  if (gateway.drift) all.push('DRIFT: other keys than the rest');
  if (configuration?.rejected)
    all.push(`rejected revision ${configuration.rejected.rev}: ${configuration.rejected.reason}`);
  if (gateway.left_reason !== null && gateway.state !== 'left') all.push(gateway.left_reason);
  if (gateway.command !== null) all.push(`asked to ${gateway.command}`);
  if (versionsDiffer) all.push(`version ${gateway.version}`);
  if (offset !== null && Math.abs(offset) >= CLOCK_OFFSET_REMARK_MS) {
    all.push(`clock ${span(Math.abs(offset))} ${offset > 0 ? 'ahead' : 'behind'}`);
  }
  // Said once per instance.
  if (gateway === worker.gateways[0]) all.push(...troubles(worker, nowMs));
  if (worker.joined) all.push('joined');
  return all.join('; ');
}

/** Of what an instance depends on, what is not as it should be. Of one that is gone its state says enough. */
function troubles({ dependencies, state }: WorkerRow, nowMs: number): string[] {
  if (dependencies === undefined || state === 'lost' || state === 'left') return [];
  const { control_plane, database, snapshot_mirror: mirror } = dependencies;
  const all: string[] = [];
  const awayFor = (since: string | null) => (since === null ? '' : ` for ${span(nowMs - Date.parse(since))}`);
  if (database?.state === 'away') all.push(`its database takes nothing from it${awayFor(database.away_since)}`);
  if (control_plane?.state === 'away') all.push(`cut off from its control plane${awayFor(control_plane.away_since)}`);
  if (mirror?.state === 'failing') {
    const last = mirror.last_written === null ? 'never' : age(nowMs - Date.parse(mirror.last_written));
    all.push(`snapshot mirror last written ${last}: ${mirror.error}`);
  }
  return all;
}
