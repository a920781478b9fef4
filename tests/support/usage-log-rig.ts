import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { UsageLog, type UsageLogListener, type UsageLogOptions } from '../../src/gateway/metering/usage-log.ts';
import { UsageLogReader } from '../../src/gateway/metering/usage-log-reader.ts';
import type { SettledCall } from '../../src/gateway/metering/usage-segment.ts';
import { systemClock } from '../../src/util/clock.ts';
import { recordingLog } from './principals.ts';

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

  async settledIn(log: UsageLog): Promise<SettledCall[]> {
    const reader = new UsageLogReader(log.segments, log.segments.firstSeq - 1, this.recorded.log);
    const calls = await reader.next(100_000, log.lastSeq);
    await reader.close();
    return calls;
  }
}

export function listenerOf(written: (call: SettledCall) => void): UsageLogListener {
  return { settling: () => {}, written, installationKnown: () => {} };
}
