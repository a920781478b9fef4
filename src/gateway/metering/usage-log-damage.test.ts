import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unsyncedFs } from '../../../tests/support/faulty-fs.ts';
import { pick } from '../../../tests/support/length.ts';
import { begin, finish, readFrames } from '../../../tests/support/usage.ts';
import { listenerOf, UsageLogRig } from '../../../tests/support/usage-log-rig.ts';
import type { Nano } from '../../domain/money.ts';
import { segmentFiles } from './recover-usage-log.ts';
import { KILLED_IN_FLIGHT } from './usage-log.ts';

const rig = new UsageLogRig();

describe('damage', () => {
  async function prepared(): Promise<{ bytes: Buffer; path: string; order: string[] }> {
    const log = rig.open();
    const order: string[] = [];
    log.listener = listenerOf((call) => order.push(`${call.seq} ${call.requestId} ${call.costNano}`));
    for (let index = 0; index < 8; index += 1) {
      await begin(log, `r${index}`);
      if (index % 3 !== 0) await finish(log, `r${index}`, { costNano: (1_000 + index) as Nano });
    }
    await log.close();
    rig.abandon(log);
    const { path } = segmentFiles(rig.directory)[0]!;
    return { bytes: readFileSync(path), path, order };
  }

  /** The calls that a start finds settled, without those that it settles itself. */
  async function startOn(path: string, bytes: Buffer): Promise<string[]> {
    for (const name of readdirSync(rig.directory)) if (name !== 'usage-log.json') rmSync(join(rig.directory, name));
    writeFileSync(path, bytes);
    const log = rig.open({ fs: unsyncedFs, syncIntervalMs: 0 });
    const calls = await rig.settledIn(log);
    await begin(log, 'after');
    await finish(log, 'after');
    const again = await rig.settledIn(log);
    expect(again.at(-1)?.requestId).toBe('after');
    readFrames(rig.directory);
    await log.close();
    rig.abandon(log);
    return calls
      .filter(({ errorCode }) => errorCode !== KILLED_IN_FLIGHT)
      .map(({ seq, requestId, costNano }) => `${seq} ${requestId} ${costNano}`);
  }

  it('by a cut at any byte leaves what was settled before it, and a log that works', async () => {
    const { bytes, path, order } = await prepared();
    let most = 0;
    for (let cut = 0; cut <= bytes.length; cut += pick(23, 1)) {
      const found = await startOn(path, bytes.subarray(0, cut));
      expect(found).toEqual(order.slice(0, found.length));
      most = Math.max(most, found.length);
    }
    expect(most).toBeGreaterThan(3);
    expect(await startOn(path, bytes)).toEqual(order);
  }, 120_000);

  it('by a flipped bit anywhere leaves what was settled before it, and a log that works', async () => {
    const { bytes, path, order } = await prepared();
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
        const damaged = Buffer.from(bytes);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        const found = await startOn(path, damaged);
        expect(found).toEqual(order.slice(0, found.length));
      }),
      { numRuns: pick(150, 3_000) },
    );
  }, 120_000);

  it('in what a frame says, and not in its bytes, costs that call its exact settlement and nothing else', async () => {
    const log = rig.open();
    await begin(log, 'a');
    await begin(log, 'b');
    await finish(log, 'a', { costNano: Number.NaN as Nano });
    await finish(log, 'b');
    await log.close();
    rig.abandon(log);
    const calls = await rig.settledIn(rig.open());
    expect(calls.map(({ seq, requestId, errorCode }) => [seq, requestId, errorCode])).toEqual([
      [4, 'b', null],
      [5, 'a', KILLED_IN_FLIGHT],
    ]);
  });

  it('in the middle of an older segment costs that segment and nothing else', async () => {
    const log = rig.open({ segmentBytesMax: 3_000 });
    for (let index = 0; index < 20; index += 1) {
      await begin(log, `r${index}`);
      await finish(log, `r${index}`);
    }
    const whole = await rig.settledIn(log);
    const second = segmentFiles(rig.directory)[1]!;
    const third = segmentFiles(rig.directory)[2]!;
    const bytes = readFileSync(second.path);
    bytes[200]! ^= 1;
    writeFileSync(second.path, bytes);
    const rest = await rig.settledIn(log);
    expect(rest).toEqual(whole.filter(({ seq }) => seq < second.firstSeq || seq >= third.firstSeq));
    expect(rig.recorded.text()).toContain('can not be read from');
  });
});
