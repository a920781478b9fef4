import type { Dependencies, Reachable } from '../../fleet/dependencies.ts';
import type { GatewayView, RegionView, WorkerView } from '../../fleet/fleet-view.ts';
import type { Fleet } from '../../fleet/read-fleet.ts';

export function presentMoment({ nowMs, head }: Fleet): object {
  return { now: iso(nowMs), head };
}

export function presentWorker(worker: WorkerView): object {
  const { instanceId, region, role, state, gateways, control } = worker;
  return {
    worker: instanceId,
    region,
    role,
    state,
    joined: gateways.some(({ row }) => row.joined),
    public_url: gateways.find(({ row }) => row.publicUrl !== null)?.row.publicUrl ?? null,
    control_process: control === null ? null : { version: control.version, last_seen: iso(control.atMs) },
    dependencies: presentDependencies(worker.dependencies),
    gateways: gateways.map(presentGateway),
  };
}

function presentDependencies({ controlPlane, database, snapshotMirror }: Dependencies): object {
  return {
    database: database === null ? null : reachable(database),
    control_plane: controlPlane === null ? null : { ...reachable(controlPlane), address: controlPlane.address },
    snapshot_mirror:
      snapshotMirror === null
        ? null
        : {
            state: snapshotMirror.failure === null ? 'ok' : 'failing',
            last_written: isoOrNull(snapshotMirror.writtenAtMs),
            error: snapshotMirror.failure,
          },
  };
}

function reachable({ awaySinceMs }: Reachable): object {
  return { state: awaySinceMs === null ? 'ok' : 'away', away_since: isoOrNull(awaySinceMs) };
}

function presentGateway({ row, stats, state, ...view }: GatewayView): object {
  const { said, config } = stats;
  const fence = view.fenceClosesAtMs;
  return {
    gateway: row.gatewayId,
    state,
    session: row.session,
    version: row.version,
    feed_protocol: row.protocol,
    started_at: isoOrNull(row.startedAtMs),
    last_seen: iso(row.heardAtMs),
    left_at: isoOrNull(row.leftAtMs),
    left_reason: row.leftReason,
    applied: { epoch: row.epoch, rev: row.rev, at: iso(row.appliedAtMs) },
    lag: { revisions: view.lagRevisions, ms: view.lagMs === null ? null : Math.round(view.lagMs) },
    staleness_ms: view.stalenessMs === null ? null : Math.round(view.stalenessMs),
    fence_closes_at: fence === null ? null : { normal: iso(fence.normal), strict: iso(fence.strict) },
    key_count: said?.keyCount ?? null,
    set_hash: said?.setHash ?? null,
    drift: view.drift,
    configuration: config,
    clock_offset_ms: said?.clockOffsetMs ?? null,
    usage_log:
      said === null
        ? null
        : {
            last_seq: said.usageLog.lastSeq,
            acknowledged_seq: said.usageLog.acknowledgedSeq,
            backlog_records: said.usageLog.backlogRecords,
            oldest_unshipped_ms: said.usageLog.oldestUnshippedMs,
            bytes: said.usageLog.bytes,
            disk_free_bytes: said.usageLog.diskFreeBytes,
          },
    open_requests: said?.openRequests ?? null,
    event_loop_p99_ms: said?.eventLoopP99Ms ?? null,
    rss_bytes: said?.rssBytes ?? null,
    requests_per_minute: said?.requestsPerMinute ?? null,
    errors_per_minute: said?.errorsPerMinute ?? null,
    too_many_per_minute: said?.tooManyPerMinute ?? null,
    command: row.command,
  };
}

export function presentRegion(view: RegionView): object {
  return {
    region: view.region,
    workers: view.workers,
    gateways: view.gateways,
    lag_revisions_max: view.lagRevisionsMax,
    lag_ms_max: view.lagMsMax === null ? null : Math.round(view.lagMsMax),
    staleness_ms_max: view.stalenessMsMax === null ? null : Math.round(view.stalenessMsMax),
    drifted: view.drifted,
    rejected_configurations: view.rejectedConfigurations,
    open_requests: view.openRequests,
    requests_per_minute: view.requestsPerMinute,
    errors_per_minute: view.errorsPerMinute,
    too_many_per_minute: view.tooManyPerMinute,
    usage_backlog_records: view.usageBacklogRecords,
    usage_oldest_unshipped_ms: view.usageOldestUnshippedMs,
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function isoOrNull(ms: number | null): string | null {
  return ms === null ? null : iso(ms);
}
