import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ConfigurationReport, GatewayDependencies, GatewayStats } from '../../feed/protocol.ts';
import type { RequestCounts } from '../request-metrics.ts';

/** Where the figures are; all are read without waiting. */
export interface GatewayStatsSources {
  readonly monotonicMs: () => number;
  /** Age of the fence's witness; infinite: none yet. */
  readonly stalenessMs: () => number;
  readonly clockOffsetMs: () => number | null;
  readonly store: { readonly setHash: string; readonly keyCount: number };
  readonly config: () => ConfigurationReport;
  readonly usageLog: { readonly lastSeq: number };
  readonly shipper: {
    readonly acknowledgedSeq: number;
    readonly backlogRecords: number;
    readonly oldestUnshippedAgeMs: number;
  };
  readonly requests: { readonly counts: Readonly<RequestCounts>; readonly inFlight: { readonly value: number } };
  readonly isDraining: () => boolean;
  readonly dependencies: () => GatewayDependencies;
  readonly eventLoop: EventLoopDelay;
  readonly disk: () => Promise<DiskFigures>;
  readonly rssBytes?: () => number;
}

export interface DiskFigures {
  readonly usageLogBytes: number;
  readonly freeBytes: number | null;
}

/** Rates are those of so long. */
const RATE_WINDOW_MS = 60_000;
/** Counts are kept this often for them. */
const RATE_SAMPLE_MS = 1_000;
/** The disk is looked at this often, in the background: a file system that hangs must not stop a ping. */
export const DISK_INTERVAL_MS = 10_000;
/** The delay of the event loop is that of the last interval of this length, or of the present one when that is worse. */
export const EVENT_LOOP_WINDOW_MS = 10_000;

/** What a gateway process says about itself, computed when it is asked for (once per ping). */
export function createGatewayStats(sources: GatewayStatsSources): () => GatewayStats {
  const rates = new Rates();
  let disk: DiskFigures = { usageLogBytes: 0, freeBytes: null };
  let diskAskedAtMs = Number.NEGATIVE_INFINITY;

  const lookAtDisk = (nowMs: number): void => {
    if (nowMs - diskAskedAtMs < DISK_INTERVAL_MS) return;
    diskAskedAtMs = nowMs;
    sources.disk().then(
      (figures) => {
        disk = figures;
      },
      () => undefined,
    );
  };

  return () => {
    const nowMs = sources.monotonicMs();
    lookAtDisk(nowMs);
    const lastMinute = rates.since(nowMs, sources.requests.counts);
    const staleness = sources.stalenessMs();
    const { shipper, store, usageLog } = sources;
    return {
      stalenessMs: Number.isFinite(staleness) ? staleness : null,
      clockOffsetMs: sources.clockOffsetMs(),
      setHash: store.setHash,
      keyCount: store.keyCount,
      config: sources.config(),
      usageLog: {
        lastSeq: usageLog.lastSeq,
        acknowledgedSeq: shipper.acknowledgedSeq,
        backlogRecords: shipper.backlogRecords,
        oldestUnshippedMs: Math.round(shipper.oldestUnshippedAgeMs),
        bytes: disk.usageLogBytes,
        diskFreeBytes: disk.freeBytes,
      },
      openRequests: sources.requests.inFlight.value,
      eventLoopP99Ms: round(sources.eventLoop.p99Ms(nowMs)),
      rssBytes: (sources.rssBytes ?? process.memoryUsage.rss)(),
      requestsPerMinute: lastMinute.requests,
      errorsPerMinute: lastMinute.errors,
      tooManyPerMinute: lastMinute.tooMany,
      draining: sources.isDraining(),
      dependencies: sources.dependencies(),
    };
  };
}

/** Counts of the last minute from counts since the start. At most one sample per second is kept. */
class Rates {
  #samples: { readonly atMs: number; readonly counts: RequestCounts }[] = [];

  since(nowMs: number, { requests, errors, tooMany }: Readonly<RequestCounts>): RequestCounts {
    const newest = this.#samples.at(-1);
    if (newest === undefined || nowMs - newest.atMs >= RATE_SAMPLE_MS) {
      this.#samples.push({ atMs: nowMs, counts: { requests, errors, tooMany } });
    }
    // The newest of those that are a minute old stays: it is what the others are counted from.
    while (this.#samples.length > 1 && nowMs - this.#samples[1]!.atMs >= RATE_WINDOW_MS) this.#samples.shift();
    const from = this.#samples[0]!.counts;
    return { requests: requests - from.requests, errors: errors - from.errors, tooMany: tooMany - from.tooMany };
  }
}

export interface EventLoopDelay {
  /** Milliseconds that a due timer waited, 99th percentile. */
  p99Ms(nowMs: number): number;
  stop(): void;
}

const RESOLUTION_MS = 20;

/** A timer that is due every 20 ms measures how late it comes. */
export function watchEventLoop(): EventLoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let windowBeganMs = 0;
  let lastWindowMs = 0;
  return {
    p99Ms(nowMs) {
      // What it measures includes the time that the timer was set to.
      const presentMs = histogram.count === 0 ? 0 : Math.max(0, histogram.percentile(99) / 1e6 - RESOLUTION_MS);
      const p99Ms = Math.max(presentMs, lastWindowMs);
      if (nowMs - windowBeganMs >= EVENT_LOOP_WINDOW_MS) {
        windowBeganMs = nowMs;
        lastWindowMs = presentMs;
        histogram.reset();
      }
      return p99Ms;
    },
    stop: () => histogram.disable(),
  };
}

/** Bytes of the usage log in a slot directory, and room for more. */
export async function measureDisk(directory: string): Promise<DiskFigures> {
  const names = (await readdir(directory)).filter((name) => name.startsWith('usage-'));
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(directory, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  const free = await statfs(directory).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => null,
  );
  return { usageLogBytes: sizes.reduce((sum, size) => sum + size, 0), freeBytes: free };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
