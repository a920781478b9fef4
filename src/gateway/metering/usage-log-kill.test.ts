import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pick } from '../../../tests/support/length.ts';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { readFrames } from '../../../tests/support/usage.ts';
import { type IngestFault, UsageLedger } from '../../../tests/support/usage-ledger.ts';
import { systemClock } from '../../util/clock.ts';
import { SocketFeedTransport } from '../live/feed-transport.ts';
import { KILLED_IN_FLIGHT, UsageLog } from './usage-log.ts';
import { UsageShipper } from './usage-shipper.ts';

const WRITER = resolve(import.meta.dirname, '../../../tests/support/usage-log-writer.ts');
const KILLS = pick(10, 100);

let root: string;
let ledger: UsageLedger;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'usage-kill-'));
  ledger = new UsageLedger();
  await ledger.listen(join(root, 'feed.sock'));
});
afterEach(async () => {
  await ledger.close();
  rmSync(root, { recursive: true, force: true });
});

describe('a gateway process that is killed', () => {
  it(
    `loses no settled call and counts none twice, at ${KILLS} random moments`,
    async () => {
      const directory = join(root, 'gateway-0');
      const written = new Set<string>();
      const settled = new Map<string, number>();
      const faults: IngestFault[] = ['none', 'none', 'none', 'no-answer', 'lost', 'refused'];
      ledger.fault = () => faults[Math.floor(Math.random() * faults.length)]!;

      for (let kill = 0; kill < KILLS; kill += 1) {
        // The first promise is awaited, so that each round does something; the kill then falls anywhere.
        const said = await runUntilKilled(
          [directory, join(root, 'feed.sock'), `k${kill}`, '100000'],
          Math.random() * 150,
        );
        for (const line of said) {
          const [verb, id, cost] = line.split(' ');
          if (verb === 'written') written.add(id!);
          else if (verb === 'settled') settled.set(id!, Number(cost));
        }
        readFrames(directory);
      }

      // The next process, which is not killed, delivers what is left.
      ledger.fault = () => 'none';
      const transport = new SocketFeedTransport(join(root, 'feed.sock'));
      const log = new UsageLog({ directory, installation: 'installation', clock: systemClock, log: silentLog });
      const shipper = new UsageShipper({
        usageLog: log,
        transport,
        gatewayId: 'instance/0',
        region: 'eu',
        keyEntry: () => undefined,
        clock: systemClock,
        random: Math.random,
        log: silentLog,
      });
      expect(await shipper.drain(60_000)).toBe(true);
      await log.close();
      transport.close();

      expect(settled.size).toBeGreaterThan(KILLS);
      for (const [id, costNano] of settled) {
        // Exactly what was settled, and not an estimate of it.
        expect([id, ledger.rows.get(id)?.costNano, ledger.rows.get(id)?.estimated]).toEqual([id, costNano, false]);
      }
      for (const id of written) expect([id, ledger.rows.has(id)]).toEqual([id, true]);
      // Nothing came twice, no incarnation was lost, and the numbers are without a gap from 1 to the last.
      expect(ledger.duplicates).toBe(0);
      expect(ledger.violations).toEqual([]);
      expect([...ledger.cursors]).toEqual([[`instance/0 ${log.identity.incarnation}`, log.lastSeq]]);
      expect(ledger.rows.size * 2).toBe(log.lastSeq);
      const estimated = [...ledger.rows.values()].filter((row) => row.errorCode === KILLED_IN_FLIGHT);
      expect(estimated.length).toBeGreaterThan(0);
      expect(estimated.length).toBeLessThanOrEqual(KILLS * 20);
    },
    pick(120_000, 900_000),
  );
});

/** What the process said until it was killed, `killAfterMs` after its first word. Only whole lines count. */
async function runUntilKilled(args: readonly string[], killAfterMs: number): Promise<string[]> {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  child.stdout.on('data', (chunk: Buffer) => {
    if (output === '') setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    output += chunk.toString();
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  if (signal !== 'SIGKILL') throw new Error(`the process ended by itself (${code ?? signal}): ${errors}`);
  return output
    .slice(0, output.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(Boolean);
}
