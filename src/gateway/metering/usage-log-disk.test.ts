import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventually } from '../../../tests/support/eventually.ts';
import { FaultyFs, noSpace } from '../../../tests/support/faulty-fs.ts';
import { pick } from '../../../tests/support/length.ts';
import { begin, finish, RecordingWaiter, readFrames, settlementOf } from '../../../tests/support/usage.ts';
import { listenerOf, readRecords, UsageLogRig } from '../../../tests/support/usage-log-rig.ts';
import { recoverUsageLog, segmentFiles } from './recover-usage-log.ts';
import { nodeUsageLogFs } from './usage-log-fs.ts';
import { UsageLogReader } from './usage-log-reader.ts';

const rig = new UsageLogRig();

describe('a disk that is full', () => {
  it('refuses calls, keeps settlements, and writes them when there is room again', async () => {
    const fs = new FaultyFs();
    const log = rig.open({ fs, writeRetryMs: 5 });
    const written: string[] = [];
    log.listener = listenerOf((call) => written.push(`${call.seq} ${call.requestId}`));
    await begin(log, 'a');
    await begin(log, 'b');
    fs.writeError = noSpace;
    await expect(begin(log, 'c')).rejects.toThrow(/refused: ENOSPC/);
    // A request that has its answer is not held up by our disk.
    await finish(log, 'a');
    await expect(begin(log, 'd')).rejects.toThrow(/refused: ENOSPC/);
    expect(written).toEqual([]);
    expect(() => log.settle(settlementOf('a'), new RecordingWaiter())).toThrow(/settled before/);
    fs.writeError = null;
    await eventually(() => written.length === 1);
    expect(written).toEqual(['3 a']);
    await begin(log, 'c');
    await finish(log, 'b');
    await finish(log, 'c');
    expect(log.failure).toBeNull();
    expect(log.counts).toMatchObject({ intentsRefused: 2, settlementsDropped: 0 });
    const kinds = [...readFrames(rig.directory).values()].map(({ kind, requestId }) => `${kind} ${requestId}`);
    expect(kinds).toEqual(['intent a', 'intent b', 'settled a', 'intent c', 'settled b', 'settled c']);
  });

  it('does not keep a gateway from starting, nor what its predecessor left from being settled later', async () => {
    const first = rig.open();
    await begin(first, 'a');
    rig.abandon(first);
    const fs = new FaultyFs();
    fs.writeError = noSpace;
    const second = rig.open({ fs, writeRetryMs: 5 });
    await expect(begin(second, 'b')).rejects.toThrow(/ENOSPC/);
    fs.writeError = null;
    await eventually(() => second.failure === null && second.lastSeq === 2);
    await begin(second, 'b');
    expect((await rig.settledIn(second)).map(({ requestId }) => requestId)).toEqual(['a']);
  });

  it('leaves nothing of a refused turn behind', async () => {
    const fs = new FaultyFs();
    const log = rig.open({ fs });
    await begin(log, 'a');
    fs.writeError = noSpace;
    // The first of the two fits as a whole.
    await Promise.allSettled([begin(log, 'b'), begin(log, 'c')]);
    fs.kill();
    rig.abandon(log);
    expect((await rig.settledIn(rig.open())).map(({ requestId }) => requestId)).toEqual(['a']);
  });

  it('gives the numbers of a refused turn to others, also when the file could not be cut back', async () => {
    const fs = new FaultyFs();
    const log = rig.open({ fs, writeRetryMs: 5, syncIntervalMs: 1 });
    await begin(log, 'a');
    await eventually(() => log.segments.unsyncedBytes === 0);
    fs.writeError = noSpace;
    fs.ftruncateSync = () => {
      throw noSpace;
    };
    // The first two of the three are in the file as a whole, and do not count.
    await Promise.allSettled([begin(log, 'refused'), finish(log, 'a'), begin(log, 'refused too')]);
    fs.writeError = null;
    await eventually(() => log.failure === null && log.lastSeq === 2);
    await begin(log, 'b');
    await finish(log, 'b');
    const ids = (await rig.settledIn(log)).map(({ seq, requestId }) => `${seq} ${requestId}`);
    expect(ids).toEqual(['2 a', '4 b']);
    fs.kill();
    rig.abandon(log);
    expect((await rig.settledIn(rig.open())).map(({ seq, requestId }) => `${seq} ${requestId}`)).toEqual(ids);
  });
});

describe('a disk that does not sync', () => {
  it('gets everything that it may have lost once more, in another file, and is never asked twice about the old one', async () => {
    const fs = new FaultyFs();
    const log = rig.open({ fs, syncIntervalMs: 1, writeRetryMs: 5 });
    await begin(log, 'a');
    await begin(log, 'b');
    await eventually(() => log.segments.unsyncedBytes === 0);
    fs.failNextSync();
    await finish(log, 'a');
    await eventually(() => log.counts.syncFailures === 1 && log.failure === null);
    expect(fs.syncedAfterError.size).toBe(0);
    expect(segmentFiles(rig.directory).length).toBe(2);
    await begin(log, 'c');
    await finish(log, 'b');
    await finish(log, 'c');
    await eventually(() => log.segments.unsyncedBytes === 0);
    const kinds = [...readFrames(rig.directory).values()].map(({ kind, requestId }) => `${kind} ${requestId}`);
    expect(kinds).toEqual(['intent a', 'intent b', 'settled a', 'intent c', 'settled b', 'settled c']);
    // The file that failed is lost altogether, as after a power failure: what was not synced is in the new one.
    const [failed, fresh] = segmentFiles(rig.directory);
    const { recovered, calls } = await recoverOnly(fresh!.path);
    expect(recovered.lastSeq).toBe(6);
    expect(calls).toEqual(['a', 'b', 'c']);
    expect(failed!.firstSeq).toBe(1);
  });

  it('is survived by a process that is killed before the files that were replaced are gone', async () => {
    const fs = new FaultyFs();
    const log = rig.open({ fs, syncIntervalMs: 1, segmentBytesMax: 4_000 });
    const waiting: (() => void)[] = [];
    const { fdatasync } = fs;
    // Until a segment begins between the two frames of a call: then one that is not synced begins before it.
    let count = 0;
    do {
      for (const release of waiting.splice(0)) release();
      fs.fdatasync = fdatasync;
      await eventually(() => log.segments.unsyncedBytes === 0);
      fs.fdatasync = (fd, done) => {
        waiting.push(() => fdatasync(fd, done));
      };
      // Of changing sizes, so that a segment is full at every place of a call sooner or later.
      await begin(log, `r${count}`, { endUser: 'x'.repeat((count * 37) % 300) });
      await finish(log, `r${count}`);
      count += 1;
      expect(count).toBeLessThan(200);
    } while (segmentFiles(rig.directory).at(-1)!.firstSeq !== log.lastSeq);
    const replaced = segmentFiles(rig.directory).at(-1)!;
    fs.unlinkSync = () => {};
    fs.fdatasync = fdatasync;
    fs.failNextSync();
    for (const release of waiting) release();
    await eventually(() => log.counts.syncFailures === 1 && log.failure === null);
    await begin(log, 'after');
    await finish(log, 'after');
    expect(segmentFiles(rig.directory).at(-1)).toEqual(replaced);
    const calls = await rig.settledIn(log);
    fs.kill();
    rig.abandon(log);
    const second = rig.open();
    expect(await rig.settledIn(second)).toEqual(calls);
    expect(second.lastSeq).toBe(2 * count + 2);
    expect([...readFrames(rig.directory).keys()].length).toBe(2 * count + 2);
  });

  it('lets no call in until a sync has worked', async () => {
    const fs = new FaultyFs();
    const log = rig.open({ fs, syncIntervalMs: 1, writeRetryMs: 5 });
    await begin(log, 'a');
    await eventually(() => log.segments.unsyncedBytes === 0);
    fs.syncError = new Error('EIO: i/o error, fdatasync');
    await begin(log, 'b');
    await eventually(() => log.failure !== null);
    await expect(begin(log, 'c')).rejects.toThrow(/EIO/);
    await finish(log, 'a');
    fs.syncError = null;
    await eventually(() => log.failure === null && log.lastSeq === 3);
    await begin(log, 'c');
    const kinds = [...readFrames(rig.directory).values()].map(({ kind, requestId }) => `${kind} ${requestId}`);
    expect(kinds).toEqual(['intent a', 'intent b', 'settled a', 'intent c']);
  });

  it('lets no call in while it is too far behind', async () => {
    const fs = new FaultyFs();
    const waiting: (() => void)[] = [];
    fs.fdatasync = (fd, done) => {
      waiting.push(() => nodeUsageLogFs.fdatasync(fd, done));
    };
    const log = rig.open({ fs, syncIntervalMs: 1, unsyncedBytesMax: 2_000 });
    for (let index = 0; index < 4; index += 1) await begin(log, `r${index}`);
    await expect(begin(log, 'x')).rejects.toThrow(/bytes behind/);
    await finish(log, 'r0');
    await eventually(() => {
      for (const release of waiting.splice(0)) release();
      return log.segments.unsyncedBytes === 0;
    });
    await begin(log, 'x');
    fs.fdatasync = nodeUsageLogFs.fdatasync;
    for (const release of waiting.splice(0)) release();
  });

  it('loses nothing at any combination of failures and kills', async () => {
    const step = fc.constantFrom(
      'begin',
      'begin',
      'finish',
      'finish',
      'full',
      'room',
      'bad-sync',
      'kill',
      'pause',
      'ack',
    );
    const ownDirectory = rig.directory;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        rig.directory = mkdtempSync(join(ownDirectory, 'run-'));
        let fs = new FaultyFs();
        const options = { syncIntervalMs: 0, writeRetryMs: 0, segmentBytesMax: 2_500 };
        let log = rig.open({ fs, ...options });
        const inFlight: string[] = [];
        const begun: string[] = [];
        const finished: string[] = [];
        let count = 0;
        for (const each of steps) {
          if (each === 'begin') {
            const id = `r${count++}`;
            await begin(log, id).then(
              () => {
                begun.push(id);
                inFlight.push(id);
              },
              () => {},
            );
          } else if (each === 'finish') {
            const id = inFlight.shift();
            if (id !== undefined) {
              await finish(log, id);
              // Held in memory it is not settled yet.
              if (log.failure === null) finished.push(id);
            }
          } else if (each === 'full') fs.writeError = noSpace;
          else if (each === 'room') fs.writeError = null;
          else if (each === 'bad-sync') fs.failNextSync();
          else if (each === 'pause') await new Promise((resolve) => setTimeout(resolve, 3));
          else if (each === 'ack') log.segments.removeAcknowledged(0);
          else if (each === 'kill') {
            fs.kill();
            rig.abandon(log);
            fs = new FaultyFs();
            log = rig.open({ fs, ...options });
            inFlight.length = 0;
          }
        }
        fs.kill();
        rig.abandon(log);
        log = rig.open();
        await eventually(() => log.failure === null);
        const calls = await rig.settledIn(log);
        const ids = calls.map(({ requestId }) => requestId);
        expect(new Set(ids).size).toBe(ids.length);
        expect([...ids].sort()).toEqual(expect.arrayContaining([...begun].sort()));
        expect(ids.length).toBe(begun.length);
        const exact = calls.filter(({ costNano }) => costNano === 123).map(({ requestId }) => requestId);
        expect(exact).toEqual(expect.arrayContaining(finished));
        readFrames(rig.directory);
        await log.close();
        rig.abandon(log);
        rmSync(rig.directory, { recursive: true, force: true });
      }),
      { numRuns: pick(60, 1_000) },
    );
    rig.directory = ownDirectory;
  }, 240_000);
});

/** Recovers a rig.directory that holds only this segment. */
async function recoverOnly(path: string) {
  const alone = mkdtempSync(join(tmpdir(), 'usage-log-'));
  writeFileSync(join(alone, path.slice(rig.directory.length + 1)), readFileSync(path));
  const recovered = recoverUsageLog(alone, rig.recorded.log);
  const reader = new UsageLogReader(
    { segments: recovered.segments, version: 0 },
    recovered.segments[0]!.firstSeq - 1,
    rig.recorded.log,
  );
  const calls = (await readRecords(reader, 100, recovered.lastSeq)).map(({ requestId }) => requestId);
  await reader.close();
  rmSync(alone, { recursive: true });
  return { recovered, calls };
}
