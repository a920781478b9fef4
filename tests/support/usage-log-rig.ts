import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { UsageRecord } from '../../src/domain/usage.ts';
import { UsageLog, type UsageLogListener, type UsageLogOptions } from '../../src/gateway/metering/usage-log.ts';
import { UsageLogReader } from '../../src/gateway/metering/usage-log-reader.ts';
import { systemClock } from '../../src/util/clock.ts';
import { recordingLog } from './principals.ts';
import { recordIn } from './usage.ts';

/** Usage logs in a directory that each test has for itself. */
export class UsageLogRig {
  directory = '';
  readonly recorded = recordingLog();
  #opened: UsageLog[] = [];

  constructor() {
    beforeEach(() => {
      this.directory = mkdtempSync(join(tmpdir(), 'usage-log-'));
    });
    afterEach(async () => {
      for (const log of this.#opened.splice(0)) await log.close();
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  open(options: Partial<UsageLogOptions> = {}): UsageLog {
    const { directory, recorded } = this;
    const log = new UsageLog({ directory, installation: null, clock: systemClock, log: recorded.log, ...options });
    this.#opened.push(log);
    return log;
  }

  /** Nobody asks it any more. What it still has to do (a sync, a repair) it does; `FaultyFs.kill` stops that too. */
  abandon(log: UsageLog): void {
    this.#opened.splice(this.#opened.indexOf(log), 1);
  }

  async settledIn(log: UsageLog): Promise<UsageRecord[]> {
    const reader = new UsageLogReader(log.segments, log.segments.firstSeq - 1, this.recorded.log);
    const records = await readRecords(reader, 100_000, log.lastSeq);
    await reader.close();
    return records;
  }
}

/** The next records of a reader, parsed. */
export async function readRecords(reader: UsageLogReader, max: number, untilSeq: number): Promise<UsageRecord[]> {
  const records: UsageRecord[] = [];
  await reader.next(max, untilSeq, { onSettled: (seq, _begin, payload) => records.push(recordIn(seq, payload)) });
  return records;
}

export function listenerOf(written: (record: UsageRecord) => void): UsageLogListener {
  return {
    settling: () => {},
    written: (seq, _call, frames, start, end) => written(recordIn(seq, frames.subarray(start, end))),
    installationKnown: () => {},
  };
}
