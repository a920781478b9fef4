import type { FenceTimes } from '../../domain/fence.ts';
import { isBefore } from '../../feed/codec.ts';
import type { Database, Tx } from '../../storage/db.ts';
import {
  type FleetReading,
  readControls,
  readGateways,
  readMoment,
  readNewestBeat,
} from '../../storage/queries/fleet.ts';
import type { StaleReads } from '../../storage/stale-reads.ts';
import type { FleetReporter } from './fleet-report.ts';
import { type HeardRow, viewFleet, type WorkerView } from './fleet-view.ts';

export interface Fleet extends Pick<FleetReading, 'nowMs' | 'head'> {
  readonly workers: readonly WorkerView[];
}

export interface ReadFleetOptions {
  /** For people: what other instances wrote may come from the read replica. Never for a decision. */
  readonly mayBeStale?: boolean;
}

export type ReadFleet = (options?: ReadFleetOptions) => Promise<Fleet>;

/** The fleet as the database knows it, with our own gateway processes as they are now. Throws `DatabaseUnavailable`. */
export function createReadFleet(options: {
  readonly db: Database;
  readonly staleReads: StaleReads;
  readonly reporter: Pick<FleetReporter, 'rows'>;
  readonly fence: FenceTimes;
}): ReadFleet {
  const { db, staleReads, reporter, fence } = options;
  const readRows = async (tx: Tx) => ({ known: await readGateways(tx), controls: await readControls(tx) });
  // Ages are as of the moment that the replica shows, or all of the fleet would look silent for as long as it is behind. They are told by the
  // clock of the primary: the rows hold its times, and the replica's own clock may be another.
  const stale = async () => {
    const { nowMs, head, newestBeatMs } = await db.read(async (tx) => ({
      ...(await readMoment(tx)),
      newestBeatMs: await readNewestBeat(tx),
    }));
    const rows = await staleReads.read(readRows, head.rev);
    const behindMs = Math.max(0, (newestBeatMs ?? 0) - (rows.controls[0]?.atMs ?? newestBeatMs ?? 0));
    return { nowMs: nowMs - behindMs, head, ...rows };
  };
  const current = () => db.read(async (tx) => ({ ...(await readMoment(tx)), ...(await readRows(tx)) }));
  return async ({ mayBeStale = false } = {}) => {
    const { nowMs, head, known, controls } = await (mayBeStale ? stale() : current());
    const rows = overlay(known, reporter.rows(nowMs));
    return { nowMs, head, workers: viewFleet({ nowMs, head, rows, controls, fence }) };
  };
}

/** What is connected here is known better than its row. */
export function overlay(rows: FleetReading['rows'], here: readonly HeardRow[]): HeardRow[] {
  const byId = new Map<string, HeardRow>(rows.map((row) => [row.gatewayId, row]));
  for (const ours of here) {
    const row = byId.get(ours.gatewayId);
    const isAhead = row === undefined || isBefore(row, ours);
    byId.set(ours.gatewayId, {
      ...ours,
      joined: row?.joined ?? false,
      command: row?.command ?? null,
      behindSinceMs: isAhead ? null : row.behindSinceMs,
    });
  }
  return [...byId.values()];
}
