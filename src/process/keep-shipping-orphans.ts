import { setTimeout as delay } from 'node:timers/promises';
import { type OrphanedLogsOptions, shipOrphanedLogs } from '../gateway/metering/ship-orphaned-logs.ts';
import { ProcessList } from './previous-processes.ts';
import { RESTART_DELAY_MAX_MS } from './restart-backoff.ts';

export interface KeepShippingOptions extends Omit<OrphanedLogsOptions, 'hasProcess'> {
  readonly numWorkers: number;
  readonly lookMs?: number;
}

/** Longer than a process that died stays away: a slot that is without one at two looks in a row gets none any more. */
const LOOK_MS = RESTART_DELAY_MAX_MS + 1_000;

/**
 * Ships what slots without a process left behind, and looks again and again: a stand-in of a restart leaves after slot 0 has
 * begun, and when the database is away at that moment it can not ship its last records itself. Ends with `signal`.
 */
export async function keepShippingOrphans({
  lookMs = LOOK_MS,
  numWorkers,
  ...options
}: KeepShippingOptions): Promise<void> {
  const { dataDir, signal } = options;
  const shipped = new Set<number>();
  let livingBefore: ReadonlySet<number | null> = new Set();
  while (!signal.aborted) {
    const living = new Set(new ProcessList(dataDir).previous().map(({ slot }) => slot));
    for (const slot of living) if (slot !== null) shipped.delete(slot);
    const hasProcess = (slot: number): boolean =>
      slot < numWorkers || living.has(slot) || livingBefore.has(slot) || shipped.has(slot);
    for (const slot of await shipOrphanedLogs({ ...options, hasProcess })) shipped.add(slot);
    livingBefore = living;
    // Rejects when it is aborted.
    await delay(lookMs, undefined, { ref: false, signal }).catch(() => undefined);
  }
}
