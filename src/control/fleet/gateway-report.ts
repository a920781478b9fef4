import type { Position } from '../../domain/change.ts';
import {
  CONFIGURATION_OVERRIDES_MAX,
  type ConfigurationReport,
  type GatewayDependencies,
  type GatewayStats,
} from '../../feed/protocol.ts';
import type { FleetRow } from '../../storage/queries/fleet.ts';
import type { GatewayReport } from '../../storage/repositories/fleet.ts';
import type { RegistryEntry } from './registry.ts';
import type { CheckedSet, ReportedStats } from './reported-stats.ts';

export interface ReportMoment {
  readonly monotonicMs: number;
  readonly nowMs: number;
  /** When this control process first saw the connection. */
  readonly arrivedAtMs: number;
  /** Newest revision that this control process has handed on. */
  readonly head: Position | null;
  /** From the report before. */
  readonly checked: CheckedSet | null;
}

/** What there is to say about a connected gateway process at one moment. */
export function gatewayReport(entry: RegistryEntry, moment: ReportMoment): GatewayReport {
  const { hello, acked, heard } = entry;
  const { monotonicMs, arrivedAtMs } = moment;
  const said = heard === null ? null : readable(heard.ping.stats);
  const heardAgeMs = heardAge(entry, moment);
  const stats: ReportedStats = {
    said,
    config: entry.config === null ? null : readableConfig(entry.config),
    checked: checkedSet(entry, moment),
  };
  return {
    gatewayId: storable(hello.gatewayId),
    instanceId: storable(instanceOf(hello.gatewayId)),
    session: storable(hello.session),
    region: storable(hello.region),
    role: hello.role,
    version: storable(hello.version),
    protocol: hello.protocol,
    publicUrl: typeof hello.publicUrl === 'string' ? storable(hello.publicUrl) : null,
    uptimeMs: uptime(hello.startedAtMs, said, moment.nowMs),
    epoch: (acked ?? hello.have)?.epoch ?? 0,
    rev: (acked ?? hello.have)?.rev ?? 0,
    appliedAgeMs: Math.max(0, monotonicMs - (entry.ackedAtMs ?? arrivedAtMs)),
    witnessAgeMs: said === null || said.stalenessMs === null ? null : said.stalenessMs + heardAgeMs,
    heardAgeMs,
    stats,
  };
}

/** The row that a report makes, for those who read before it is written. */
export function rowOfReport(report: GatewayReport, nowMs: number): FleetRow {
  const ago = (ageMs: number | null): number | null => (ageMs === null ? null : nowMs - ageMs);
  return {
    ...report,
    joined: false,
    startedAtMs: ago(report.uptimeMs),
    appliedAtMs: nowMs - report.appliedAgeMs,
    witnessAtMs: ago(report.witnessAgeMs),
    heardAtMs: nowMs - report.heardAgeMs,
    reporterAtMs: nowMs,
    leftAtMs: null,
    leftReason: null,
    command: null,
    behindSinceMs: null,
  };
}

/** `<instance id>/<slot>`. */
export function instanceOf(gatewayId: string): string {
  const slash = gatewayId.lastIndexOf('/');
  return slash === -1 ? gatewayId : gatewayId.slice(0, slash);
}

/** Protocol 1 has no pings upwards: its open stream is all there is to hear. */
export function heardAge(
  { hello, heard }: RegistryEntry,
  { monotonicMs, arrivedAtMs }: Pick<ReportMoment, 'monotonicMs' | 'arrivedAtMs'>,
): number {
  if (heard !== null) return Math.max(0, monotonicMs - heard.atMs);
  return hello.protocol < 2 ? 0 : Math.max(0, monotonicMs - arrivedAtMs);
}

/** Denials run ahead of their revision, so a set can be compared only when no later revision has been handed on since. */
function checkedSet({ heard }: RegistryEntry, { head, checked }: ReportMoment): CheckedSet | null {
  if (heard === null || head === null) return checked;
  const { epoch, rev, stats } = heard.ping;
  if (epoch !== head.epoch || rev !== head.rev || typeof stats.setHash !== 'string') return checked;
  return { epoch, rev, setHash: storable(stats.setHash) };
}

/** Its wall clock may be off; by how much, it says itself. */
function uptime(startedAtMs: number | undefined, said: GatewayStats | null, nowMs: number): number | null {
  if (startedAtMs === undefined || !Number.isFinite(startedAtMs)) return null;
  return Math.min(UPTIME_MAX_MS, Math.max(0, nowMs - startedAtMs + (said?.clockOffsetMs ?? 0)));
}

const UPTIME_MAX_MS = 100 * 365 * 86_400_000;

/**
 * Figures as they were said, and nothing else: a report of many gateway processes is one statement, which a strange value of one of them must
 * not stop.
 */
function readable(stats: GatewayStats): GatewayStats {
  const given = stats as Partial<GatewayStats>;
  const log = (given.usageLog ?? {}) as Partial<GatewayStats['usageLog']>;
  return {
    stalenessMs: finiteOrNull(given.stalenessMs),
    clockOffsetMs: finiteOrNull(given.clockOffsetMs),
    setHash: text(given.setHash),
    keyCount: finite(given.keyCount),
    config: readableConfig(given.config ?? { rev: 0, rejected: null, hash: '' }),
    usageLog: {
      lastSeq: finite(log.lastSeq),
      acknowledgedSeq: finite(log.acknowledgedSeq),
      backlogRecords: finite(log.backlogRecords),
      oldestUnshippedMs: finite(log.oldestUnshippedMs),
      bytes: finite(log.bytes),
      diskFreeBytes: finiteOrNull(log.diskFreeBytes),
    },
    openRequests: finite(given.openRequests),
    eventLoopP99Ms: finite(given.eventLoopP99Ms),
    rssBytes: finite(given.rssBytes),
    requestsPerMinute: finite(given.requestsPerMinute),
    errorsPerMinute: finite(given.errorsPerMinute),
    tooManyPerMinute: finite(given.tooManyPerMinute),
    draining: given.draining === true,
    ...(given.dependencies ? { dependencies: readableDependencies(given.dependencies) } : {}),
  };
}

function readableDependencies({ controlPlane, mirror }: GatewayDependencies): GatewayDependencies {
  return {
    controlPlane: typeof controlPlane === 'string' ? storable(controlPlane) : null,
    mirror: mirror
      ? {
          writtenAgeMs: finiteOrNull(mirror.writtenAgeMs),
          failure: typeof mirror.failure === 'string' ? storable(mirror.failure) : null,
        }
      : null,
  };
}

function readableConfig({ rev, rejected, hash, overrides }: ConfigurationReport): ConfigurationReport {
  const refused = rejected ? { rev: finite(rejected.rev), reason: text(rejected.reason) } : null;
  const ids = Array.isArray(overrides) ? overrides.slice(0, CONFIGURATION_OVERRIDES_MAX).map(text) : [];
  return { rev: finite(rev), rejected: refused, hash: text(hash), overrides: ids };
}

function finite(value: unknown): number {
  return finiteOrNull(value) ?? 0;
}

function finiteOrNull(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function text(value: unknown): string {
  return typeof value === 'string' ? storable(value) : '';
}

const TEXT_CHARS_MAX = 1_000;

/** PostgreSQL takes neither a NUL nor half a surrogate pair. */
function storable(value: string): string {
  return value.slice(0, TEXT_CHARS_MAX).replace(UNSTORABLE, '\ufffd');
}

const UNSTORABLE = /\0|\p{Surrogate}/gu;
