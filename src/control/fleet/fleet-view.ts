import type { FenceTimes } from '../../domain/fence.ts';
import type { ControlRow, FleetReading, FleetRow } from '../../storage/queries/fleet.ts';
import { type Dependencies, dependenciesOf } from './dependencies.ts';
import { drifted } from './drift.ts';
import { type GatewayState, gatewayState, REPORT_INTERVAL_MS, worstState } from './gateway-state.ts';
import { type ReportedStats, readStats } from './reported-stats.ts';

/** A row of the fleet, and how often it is heard of when all is well. */
export interface HeardRow extends FleetRow {
  readonly heardEveryMs?: number;
}

export interface FleetFacts extends FleetReading {
  readonly rows: readonly HeardRow[];
  readonly controls: readonly ControlRow[];
  readonly fence: FenceTimes;
}

export interface GatewayView {
  readonly row: HeardRow;
  readonly stats: ReportedStats;
  readonly state: GatewayState;
  readonly heardAgeMs: number;
  readonly lagRevisions: number;
  /** How long the oldest change that it has not applied has been there; 0: it has all. Null: not known. */
  readonly lagMs: number | null;
  /** Age of the witness that its fence goes by; null: none is known. */
  readonly stalenessMs: number | null;
  readonly fenceClosesAtMs: FenceTimes | null;
  readonly drift: boolean;
}

export interface WorkerView {
  readonly instanceId: string;
  readonly region: string;
  readonly role: string;
  readonly state: GatewayState;
  /** In order of slot. */
  readonly gateways: readonly GatewayView[];
  readonly control: ControlRow | null;
  readonly dependencies: Dependencies;
}

/** Instances with their gateway processes, by region and name. */
export function viewFleet(facts: FleetFacts): WorkerView[] {
  const stats = facts.rows.map((row) => readStats(row.stats));
  const drift = drifted(facts.rows.map((row, index) => (row.leftReason === 'drained' ? null : stats[index]!.checked)));
  const byInstance = new Map<string, GatewayView[]>();
  facts.rows.forEach((row, index) => {
    const gateways = byInstance.get(row.instanceId) ?? [];
    gateways.push(viewGateway(row, stats[index]!, drift.has(index), facts));
    byInstance.set(row.instanceId, gateways);
  });
  const controls = new Map(facts.controls.map((control) => [control.instanceId, control]));
  const workers = [...byInstance].map(([instanceId, gateways]) =>
    viewWorker(instanceId, gateways, controls.get(instanceId) ?? null, facts.nowMs),
  );
  return workers.sort((a, b) => compare(a.region, b.region) || compare(a.instanceId, b.instanceId));
}

function viewWorker(
  instanceId: string,
  gateways: GatewayView[],
  control: ControlRow | null,
  nowMs: number,
): WorkerView {
  gateways.sort((a, b) => slotOf(a.row.gatewayId) - slotOf(b.row.gatewayId));
  const newest = gateways.reduce((best, one) => (one.heardAgeMs < best.heardAgeMs ? one : best)).row;
  const state = worstState(gateways.map((gateway) => gateway.state));
  const dependencies = dependenciesOf({ state, gateways, control, nowMs });
  return { instanceId, region: newest.region, role: newest.role, state, gateways, control, dependencies };
}

function viewGateway(row: HeardRow, stats: ReportedStats, drift: boolean, facts: FleetFacts): GatewayView {
  const { nowMs, head, fence } = facts;
  const heardAgeMs = Math.max(0, nowMs - row.heardAtMs);
  const { witnessAtMs } = row;
  const state = gatewayState({
    heardAgeMs,
    heardEveryMs: row.heardEveryMs ?? REPORT_INTERVAL_MS,
    reporterAgeMs: reporterAge(row, nowMs),
    leftReason: row.leftReason,
    saysDraining: stats.said?.draining === true,
  });
  const lagRevisions = row.epoch === head.epoch ? Math.max(0, head.rev - row.rev) : head.rev;
  return {
    row,
    stats,
    state,
    heardAgeMs,
    lagRevisions,
    lagMs: lagOf(row, lagRevisions, nowMs),
    stalenessMs: witnessAtMs === null ? null : Math.max(0, nowMs - witnessAtMs),
    fenceClosesAtMs:
      witnessAtMs === null ? null : { normal: witnessAtMs + fence.normal, strict: witnessAtMs + fence.strict },
    drift,
  };
}

/** 0: it is not known when its control process was there. */
export function reporterAge({ reporterAtMs }: Pick<FleetRow, 'reporterAtMs'>, nowMs: number): number {
  return reporterAtMs === null ? 0 : Math.max(0, nowMs - reporterAtMs);
}

function lagOf(row: HeardRow, lagRevisions: number, nowMs: number): number | null {
  if (lagRevisions === 0) return 0;
  return row.behindSinceMs === null ? null : Math.max(0, nowMs - row.behindSinceMs);
}

export interface RegionView {
  readonly region: string;
  readonly workers: number;
  readonly gateways: Readonly<Record<GatewayState, number>>;
  /** Of those that have not left. */
  readonly lagRevisionsMax: number;
  readonly lagMsMax: number | null;
  readonly stalenessMsMax: number | null;
  readonly drifted: number;
  readonly rejectedConfigurations: number;
  readonly openRequests: number;
  readonly requestsPerMinute: number;
  readonly errorsPerMinute: number;
  readonly tooManyPerMinute: number;
  readonly usageBacklogRecords: number;
  readonly usageOldestUnshippedMs: number;
}

/** Sums per region. What an admin's gateway processes do is no region's traffic. */
export function viewRegions(workers: readonly WorkerView[]): RegionView[] {
  const byRegion = new Map<string, WorkerView[]>();
  for (const worker of workers) {
    if (worker.role === 'admin') continue;
    byRegion.set(worker.region, [...(byRegion.get(worker.region) ?? []), worker]);
  }
  return [...byRegion].map(([region, here]) => viewRegion(region, here)).sort((a, b) => compare(a.region, b.region));
}

function viewRegion(region: string, workers: readonly WorkerView[]): RegionView {
  const all = workers.flatMap((worker) => worker.gateways);
  const present = all.filter(({ state }) => state !== 'left');
  const gateways: Record<GatewayState, number> = { live: 0, draining: 0, suspect: 0, lost: 0, left: 0 };
  for (const { state } of all) gateways[state]++;
  // What a process did in the last minute before it was lost is not what happens now.
  const heard = present.filter(({ state }) => state !== 'lost');
  const sum = (read: (said: NonNullable<ReportedStats['said']>) => number) =>
    heard.reduce((total, { stats }) => total + (stats.said === null ? 0 : read(stats.said)), 0);
  return {
    region,
    workers: workers.filter((worker) => worker.state !== 'left').length,
    gateways,
    lagRevisionsMax: Math.max(0, ...present.map(({ lagRevisions }) => lagRevisions)),
    lagMsMax: largest(present.map(({ lagMs }) => lagMs)),
    stalenessMsMax: largest(present.map(({ stalenessMs }) => stalenessMs)),
    drifted: present.filter(({ drift }) => drift).length,
    rejectedConfigurations: present.filter(({ stats }) => (stats.config?.rejected ?? null) !== null).length,
    openRequests: sum((said) => said.openRequests),
    requestsPerMinute: sum((said) => said.requestsPerMinute),
    errorsPerMinute: sum((said) => said.errorsPerMinute),
    tooManyPerMinute: sum((said) => said.tooManyPerMinute),
    usageBacklogRecords: sum((said) => said.usageLog.backlogRecords),
    usageOldestUnshippedMs: Math.max(0, ...heard.map(({ stats }) => stats.said?.usageLog.oldestUnshippedMs ?? 0)),
  };
}

function largest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function slotOf(gatewayId: string): number {
  return Number(gatewayId.slice(gatewayId.lastIndexOf('/') + 1)) || 0;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
