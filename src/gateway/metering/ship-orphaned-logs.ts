import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';
import type { FeedTransport } from '../live/feed-transport.ts';
import { UsageLog } from './usage-log.ts';
import { UsageShipper, type UsageShipperOptions } from './usage-shipper.ts';

export interface OrphanedLogsOptions {
  readonly dataDir: string;
  /** Whether a slot has a process of its own, which ships its log. */
  readonly hasProcess: (slot: number) => boolean;
  readonly instanceId: string;
  readonly region: string;
  /** Of the control plane that this gateway is connected to. */
  readonly installation: string;
  readonly transport: FeedTransport;
  readonly keyEntry: UsageShipperOptions['keyEntry'];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Ends it: the process is about to exit. */
  readonly signal: AbortSignal;
}

/** No process has to wait for longer; it is as good as never. */
const FOREVER_MS = 2 ** 31 - 1;

/**
 * Ships the usage logs of slots that have no process any more, because there are fewer gateway processes than before: one after
 * the other, including what their processes left in flight. Run by slot 0. Returns the slots that are shipped completely.
 */
export async function shipOrphanedLogs(options: OrphanedLogsOptions): Promise<number[]> {
  const shipped: number[] = [];
  for (const slot of orphanedSlots(options.dataDir, options.hasProcess)) {
    if (options.signal.aborted) break;
    try {
      if (await shipOne(slot, options)) shipped.push(slot);
    } catch (error) {
      // The log of another installation, or a directory that can not be read. The others go on.
      options.log.error({ error, slot }, 'The usage log of a slot without a process can not be shipped');
    }
  }
  return shipped;
}

/** Slots with a usage log and without a process, in order. */
export function orphanedSlots(dataDir: string, hasProcess: (slot: number) => boolean): number[] {
  const slots: number[] = [];
  for (const name of readdirSync(dataDir)) {
    const match = /^gateway-(\d{1,6})$/.exec(name);
    if (match === null || hasProcess(Number(match[1]))) continue;
    if (existsSync(join(dataDir, name, 'usage-log.json'))) slots.push(Number(match[1]));
  }
  return slots.sort((a, b) => a - b);
}

async function shipOne(slot: number, options: OrphanedLogsOptions): Promise<boolean> {
  const { dataDir, instanceId, installation, clock, random, log, transport, region, keyEntry, signal } = options;
  const usageLog = new UsageLog({ directory: join(dataDir, `gateway-${slot}`), installation, clock, log });
  const gatewayId = `${instanceId}/${slot}`;
  const shipper = new UsageShipper({ usageLog, transport, gatewayId, region, keyEntry, clock, random, log });
  const stop = (): void => void shipper.stop();
  signal.addEventListener('abort', stop);
  try {
    const isDone = await shipper.drain(FOREVER_MS);
    if (isDone) log.info({ slot }, 'The usage log of a slot without a process is shipped');
    return isDone;
  } finally {
    signal.removeEventListener('abort', stop);
    await usageLog.close();
  }
}
