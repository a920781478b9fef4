import type { FenceTimes } from '../../domain/fence.ts';
import { isBefore } from '../../feed/codec.ts';
import type { Database } from '../../storage/db.ts';
import { type FleetReading, readControls, readFleet } from '../../storage/queries/fleet.ts';
import type { FleetReporter } from './fleet-report.ts';
import { type HeardRow, viewFleet, type WorkerView } from './fleet-view.ts';

export interface Fleet extends Pick<FleetReading, 'nowMs' | 'head'> {
  readonly workers: readonly WorkerView[];
}

export type ReadFleet = () => Promise<Fleet>;

/** The fleet as the database knows it, with our own gateway processes as they are now. Throws `DatabaseUnavailable`. */
export function createReadFleet(options: {
  readonly db: Database;
  readonly reporter: Pick<FleetReporter, 'rows'>;
  readonly fence: FenceTimes;
}): ReadFleet {
  const { db, reporter, fence } = options;
  return async () => {
    const { reading, controls } = await db.read(async (tx) => ({
      reading: await readFleet(tx),
      controls: await readControls(tx),
    }));
    const { nowMs, head } = reading;
    const rows = overlay(reading.rows, reporter.rows(nowMs));
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
