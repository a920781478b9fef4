import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../tests/support/eventually.ts';
import { pick } from '../../../tests/support/length.ts';
import { recordingLog } from '../../../tests/support/principals.ts';
import { begin, finish, intentOf, RecordingWaiter, readFrames, settlementOf } from '../../../tests/support/usage.ts';
import type { Nano } from '../../domain/money.ts';
import { systemClock } from '../../util/clock.ts';
import { ForeignInstallationError } from '../live/foreign-installation.ts';
import { recoverUsageLog, segmentFiles } from './recover-usage-log.ts';
import { KILLED_IN_FLIGHT, UsageLog, type UsageLogListener, type UsageLogOptions } from './usage-log.ts';
import { nodeUsageLogFs, type UsageLogFs } from './usage-log-fs.ts';
import { UsageLogReader } from './usage-log-reader.ts';
import type { SettledCall } from './usage-segment.ts';

let directory: string;
let opened: UsageLog[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'usage-log-'));
  opened = [];
});
afterEach(async () => {
  for (const log of opened) await log.close();
  rmSync(directory, { recursive: true, force: true });
});

const recorded = recordingLog();

function open(options: Partial<UsageLogOptions> = {}): UsageLog {
  const log = new UsageLog({ directory, installation: null, clock: systemClock, log: recorded.log, ...options });
  opened.push(log);
  return log;
}

/** Nobody asks it any more. What it still has to do (a sync, a repair) it does; `FaultyFs.kill` stops that too. */
function abandon(log: UsageLog): void {
  opened.splice(opened.indexOf(log), 1);
}

async function settledIn(log: UsageLog): Promise<SettledCall[]> {
  const reader = new UsageLogReader(log.segments, log.segments.firstSeq - 1, recorded.log);
  const calls = await reader.next(100_000, log.lastSeq);
  await reader.close();
  return calls;
}

class FaultyFs implements UsageLogFs {
  writes = 0;
  writeError: Error | null = null;
  syncError: Error | null = null;
  syncs = 0;
  readonly syncedAfterError = new Set<number>();
  readonly failedFds = new Set<number>();
  readonly #fds = new Set<number>();
  #failNextSync = false;

  /** From now on nothing that it is asked to do happens, and no sync ever ends: its process is gone. */
  kill(): void {
    const nothing = (): void => {};
    Object.assign(this, {
      openSync: () => -1,
      writeSync: (_fd: number, _bytes: Buffer, _offset: number, length: number) => length,
      ftruncateSync: nothing,
      renameSync: nothing,
      unlinkSync: nothing,
      closeSync: nothing,
      fdatasync: nothing,
      fsync: nothing,
    });
    for (const fd of this.#fds) nodeUsageLogFs.closeSync(fd);
  }

  failNextSync(): void {
    this.#failNextSync = true;
  }

  openSync = (path: string, flags: string, mode?: number): number => {
    const fd = nodeUsageLogFs.openSync(path, flags, mode);
    this.#fds.add(fd);
    return fd;
  };

  ftruncateSync = nodeUsageLogFs.ftruncateSync;
  renameSync = nodeUsageLogFs.renameSync;
  unlinkSync = nodeUsageLogFs.unlinkSync;
  fsync = nodeUsageLogFs.fsync;

  closeSync = (fd: number): void => {
    this.failedFds.delete(fd);
    this.#fds.delete(fd);
    nodeUsageLogFs.closeSync(fd);
  };

  writeSync = (fd: number, bytes: Buffer, offset: number, length: number, position: number): number => {
    this.writes += 1;
    if (this.writeError === null) return nodeUsageLogFs.writeSync(fd, bytes, offset, length, position);
    // As a disk does that becomes full: some of it still fits.
    if (length > 16) return nodeUsageLogFs.writeSync(fd, bytes, offset, Math.ceil(length / 2), position);
    throw this.writeError;
  };

  fdatasync = (fd: number, done: (error: Error | null) => void): void => {
    this.syncs += 1;
    if (this.failedFds.has(fd)) this.syncedAfterError.add(fd);
    const fails = this.#failNextSync || this.syncError !== null;
    this.#failNextSync = false;
    if (fails) {
      this.failedFds.add(fd);
      setImmediate(() => done(this.syncError ?? new Error('EIO: i/o error, fdatasync')));
    } else nodeUsageLogFs.fdatasync(fd, done);
  };
}

/** Where there are thousands of starts, and none of them is about power failures. */
const unsyncedFs: UsageLogFs = {
  ...nodeUsageLogFs,
  fdatasync: (_fd, done) => setImmediate(done, null),
  fsync: (_fd, done) => setImmediate(done, null),
};

const noSpace = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });

describe('UsageLog', () => {
  it('writes all intents of a turn with one write and lets their requests go in order, after it', async () => {
    const fs = new FaultyFs();
    const log = open({ fs });
    await begin(log, 'first');
    const events: string[] = [];
    const before = fs.writes;
    for (let index = 0; index < 50; index += 1)
      log.intent(intentOf(`r${index}`), new RecordingWaiter(`r${index}`, events));
    expect(events).toEqual([]);
    expect(fs.writes).toBe(before);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(fs.writes).toBe(before + 1);
    expect(events).toEqual(Array.from({ length: 50 }, (_, index) => `r${index} written`));
    expect(readFrames(directory).size).toBe(51);
  });

  it('has the settlement in the file when its request is told so', async () => {
    const log = open();
    await begin(log, 'a');
    const waiter = new RecordingWaiter('a');
    const told = waiter.next();
    log.settle(settlementOf('a'), waiter);
    expect(waiter.events).toEqual([]);
    await told;
    expect([...readFrames(directory).values()].map(({ kind }) => kind)).toEqual(['intent', 'settlement']);
    expect(log.openCount).toBe(0);
  });

  it('throws at a second intent, a second settlement, and a settlement of what was not written', async () => {
    const log = open();
    await begin(log, 'a');
    const waiter = new RecordingWaiter();
    expect(() => log.intent(intentOf('a'), waiter)).toThrow(/has an intent already/);
    log.settle(settlementOf('a'), waiter);
    expect(() => log.settle(settlementOf('a'), waiter)).toThrow(/was settled before/);
    expect(() => log.settle(settlementOf('b'), waiter)).toThrow(/no open intent/);
    log.intent(intentOf('c'), waiter);
    expect(() => log.settle(settlementOf('c'), waiter)).toThrow(/never written/);
  });

  it('does not let the fault of one request reach the others of its turn', async () => {
    const log = open();
    const bad = new RecordingWaiter('bad');
    bad.onIntentWritten = () => {
      throw new Error('a bug in a request');
    };
    const good = new RecordingWaiter('good');
    const told = good.next();
    log.intent(intentOf('bad'), bad);
    log.intent(intentOf('good'), good);
    await told;
    expect(good.events).toEqual(['good written']);
    expect(recorded.text()).toContain('a bug in a request');
  });

  it('takes what requests say while they are called back', async () => {
    const log = open();
    const done = new Promise<void>((resolve) => {
      const waiter = new RecordingWaiter('a');
      waiter.onIntentWritten = () => log.settle(settlementOf('a'), waiter);
      waiter.onSettled = resolve;
      log.intent(intentOf('a'), waiter);
    });
    await done;
    expect(readFrames(directory).size).toBe(2);
  });

  it('keeps its files to itself', async () => {
    const log = open();
    await begin(log, 'a');
    const modes = readdirSync(directory).map((name) => statSync(join(directory, name)).mode & 0o777);
    expect(new Set(modes)).toEqual(new Set([0o600]));
  });

  it('settles what a killed process left in flight at its estimate, once', async () => {
    const first = open();
    await begin(first, 'a', { estimateNano: 777 as Nano });
    await begin(first, 'b');
    await finish(first, 'b');
    await begin(first, 'c');
    abandon(first);
    const second = open();
    const calls = await settledIn(second);
    expect(calls.map(({ intent }) => intent.requestId)).toEqual(['b', 'a', 'c']);
    expect(calls[1]?.settlement).toMatchObject({
      status: 'failure',
      errorCode: KILLED_IN_FLIGHT,
      estimated: true,
      costNano: 777,
    });
    abandon(second);
    const third = open();
    expect(await settledIn(third)).toEqual(calls);
    expect(third.identity.incarnation).toBe(first.identity.incarnation);
  });

  it('goes on with the next number after every kind of end', async () => {
    for (let round = 0; round < 4; round += 1) {
      const log = open();
      await begin(log, `a${round}`);
      await begin(log, `b${round}`);
      await finish(log, `a${round}`);
      if (round % 2 === 0) await log.close();
      abandon(log);
    }
    open();
    const frames = readFrames(directory);
    expect([...frames.keys()]).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
  });

  it('draws an incarnation for a new directory only, and sets a damaged one aside', async () => {
    const first = open();
    await begin(first, 'a');
    abandon(first);
    const second = open();
    expect(second.identity).toMatchObject({ incarnation: first.identity.incarnation, isNew: false });
    abandon(second);
    writeFileSync(join(directory, 'usage-log.json'), '{"incarnation":');
    const third = open();
    expect(third.identity.incarnation).not.toBe(first.identity.incarnation);
    expect(third.lastSeq).toBe(2);
    expect(readdirSync(directory)).toContain('usage-log.json.bad');
  });

  it('belongs to the first installation that it hears of, and refuses another with both names', () => {
    const first = open();
    expect(first.identity.installation).toBeNull();
    first.bindInstallation('one');
    expect(() => first.bindInstallation('two')).toThrow(ForeignInstallationError);
    abandon(first);
    expect(() => open({ installation: 'two' })).toThrow(/one.*two/);
    expect(open({ installation: 'one' }).identity.installation).toBe('one');
  });

  it('begins a new segment when one is full; each explains itself', async () => {
    const log = open({ segmentBytesMax: 4_000 });
    await begin(log, 'long');
    for (let index = 0; index < 40; index += 1) {
      await begin(log, `r${index}`);
      await finish(log, `r${index}`);
    }
    await finish(log, 'long');
    const files = segmentFiles(directory);
    expect(files.length).toBeGreaterThan(5);
    for (const { path } of files) expect(statSync(path).size).toBeLessThan(6_000);
    const reader = new UsageLogReader(
      { segments: files.slice(-1), version: 0 },
      files.at(-1)!.firstSeq - 1,
      recorded.log,
    );
    const calls = await reader.next(100, log.lastSeq);
    await reader.close();
    // Its intent is in the first segment, and the last one carries it.
    expect(calls.at(-1)?.intent.requestId).toBe('long');
    expect((await settledIn(log)).length).toBe(41);
  });

  it('removes segments that are acknowledged to the end, but for one', async () => {
    const log = open({ segmentBytesMax: 3_000 });
    for (let index = 0; index < 30; index += 1) {
      await begin(log, `r${index}`);
      await finish(log, `r${index}`);
    }
    await begin(log, 'open');
    const files = segmentFiles(directory);
    log.segments.removeAcknowledged(files[3]!.firstSeq - 2);
    expect(segmentFiles(directory)).toEqual(files.slice(1));
    log.segments.removeAcknowledged(log.lastSeq);
    expect(segmentFiles(directory)).toEqual(files.slice(-2));
    abandon(log);
    const second = open();
    expect(second.lastSeq).toBe(62);
    expect((await settledIn(second)).at(-1)?.intent.requestId).toBe('open');
  });

  it('reads any stretch back, in pieces of any size', async () => {
    const log = open({ segmentBytesMax: 5_000 });
    for (let index = 0; index < 60; index += 1) {
      await begin(log, `r${index}`);
      if (index >= 3) await finish(log, `r${index - 3}`);
    }
    const all = await settledIn(log);
    expect(all.length).toBe(57);
    await fc.assert(
      fc.asyncProperty(fc.nat(log.lastSeq), fc.nat(log.lastSeq), fc.integer({ min: 1, max: 20 }), async (a, b, max) => {
        const from = Math.min(a, b);
        const to = Math.max(a, b);
        const reader = new UsageLogReader(log.segments, from, recorded.log);
        const calls: SettledCall[] = [];
        while (reader.position < to) {
          const part = await reader.next(max, to);
          expect(part.length).toBeLessThanOrEqual(max);
          calls.push(...part);
        }
        await reader.close();
        expect(calls).toEqual(all.filter(({ seq }) => seq > from && seq <= to));
      }),
      { numRuns: pick(50, 1_000) },
    );
  });
});

describe('a disk that is full', () => {
  it('refuses calls, keeps settlements, and writes them when there is room again', async () => {
    const fs = new FaultyFs();
    const log = open({ fs, writeRetryMs: 5 });
    const written: string[] = [];
    log.listener = listener((call) => written.push(`${call.seq} ${call.intent.requestId}`));
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
    const kinds = [...readFrames(directory).values()].map(({ kind, requestId }) => `${kind} ${requestId}`);
    expect(kinds).toEqual(['intent a', 'intent b', 'settlement a', 'intent c', 'settlement b', 'settlement c']);
  });

  it('does not keep a gateway from starting, nor what its predecessor left from being settled later', async () => {
    const first = open();
    await begin(first, 'a');
    abandon(first);
    const fs = new FaultyFs();
    fs.writeError = noSpace;
    const second = open({ fs, writeRetryMs: 5 });
    await expect(begin(second, 'b')).rejects.toThrow(/ENOSPC/);
    fs.writeError = null;
    await eventually(() => second.failure === null && second.lastSeq === 2);
    await begin(second, 'b');
    expect((await settledIn(second)).map(({ intent }) => intent.requestId)).toEqual(['a']);
  });

  it('leaves nothing of a refused turn behind', async () => {
    const fs = new FaultyFs();
    const log = open({ fs });
    await begin(log, 'a');
    fs.writeError = noSpace;
    // The first of the two fits as a whole.
    await Promise.allSettled([begin(log, 'b'), begin(log, 'c')]);
    fs.kill();
    abandon(log);
    expect((await settledIn(open())).map(({ intent }) => intent.requestId)).toEqual(['a']);
  });

  it('gives the numbers of a refused turn to others, also when the file could not be cut back', async () => {
    const fs = new FaultyFs();
    const log = open({ fs, writeRetryMs: 5, syncIntervalMs: 1 });
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
    const ids = (await settledIn(log)).map(({ seq, intent }) => `${seq} ${intent.requestId}`);
    expect(ids).toEqual(['2 a', '4 b']);
    fs.kill();
    abandon(log);
    expect((await settledIn(open())).map(({ seq, intent }) => `${seq} ${intent.requestId}`)).toEqual(ids);
  });
});

describe('a disk that does not sync', () => {
  it('gets everything that it may have lost once more, in another file, and is never asked twice about the old one', async () => {
    const fs = new FaultyFs();
    const log = open({ fs, syncIntervalMs: 1, writeRetryMs: 5 });
    await begin(log, 'a');
    await begin(log, 'b');
    await eventually(() => log.segments.unsyncedBytes === 0);
    fs.failNextSync();
    await finish(log, 'a');
    await eventually(() => log.counts.syncFailures === 1 && log.failure === null);
    expect(fs.syncedAfterError.size).toBe(0);
    expect(segmentFiles(directory).length).toBe(2);
    await begin(log, 'c');
    await finish(log, 'b');
    await finish(log, 'c');
    await eventually(() => log.segments.unsyncedBytes === 0);
    const kinds = [...readFrames(directory).values()].map(({ kind, requestId }) => `${kind} ${requestId}`);
    expect(kinds).toEqual(['intent a', 'intent b', 'settlement a', 'intent c', 'settlement b', 'settlement c']);
    // The file that failed is lost altogether, as after a power failure: what was not synced is in the new one.
    const [failed, fresh] = segmentFiles(directory);
    const { recovered, calls } = await recoverOnly(fresh!.path);
    expect(recovered.lastSeq).toBe(6);
    expect(calls).toEqual(['a', 'b', 'c']);
    expect(failed!.firstSeq).toBe(1);
  });

  it('is survived by a process that is killed before the files that were replaced are gone', async () => {
    const fs = new FaultyFs();
    const log = open({ fs, syncIntervalMs: 1, segmentBytesMax: 4_000 });
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
    } while (segmentFiles(directory).at(-1)!.firstSeq !== log.lastSeq);
    const replaced = segmentFiles(directory).at(-1)!;
    fs.unlinkSync = () => {};
    fs.fdatasync = fdatasync;
    fs.failNextSync();
    for (const release of waiting) release();
    await eventually(() => log.counts.syncFailures === 1 && log.failure === null);
    await begin(log, 'after');
    await finish(log, 'after');
    expect(segmentFiles(directory).at(-1)).toEqual(replaced);
    const calls = await settledIn(log);
    fs.kill();
    abandon(log);
    const second = open();
    expect(await settledIn(second)).toEqual(calls);
    expect(second.lastSeq).toBe(2 * count + 2);
    expect([...readFrames(directory).keys()].length).toBe(2 * count + 2);
  });

  it('lets no call in until a sync has worked', async () => {
    const fs = new FaultyFs();
    const log = open({ fs, syncIntervalMs: 1, writeRetryMs: 5 });
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
    const kinds = [...readFrames(directory).values()].map(({ kind, requestId }) => `${kind} ${requestId}`);
    expect(kinds).toEqual(['intent a', 'intent b', 'settlement a', 'intent c']);
  });

  it('lets no call in while it is too far behind', async () => {
    const fs = new FaultyFs();
    const waiting: (() => void)[] = [];
    fs.fdatasync = (fd, done) => {
      waiting.push(() => nodeUsageLogFs.fdatasync(fd, done));
    };
    const log = open({ fs, syncIntervalMs: 1, unsyncedBytesMax: 2_000 });
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
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        directory = mkdtempSync(join(tmpdir(), 'usage-log-'));
        let fs = new FaultyFs();
        const options = { syncIntervalMs: 0, writeRetryMs: 0, segmentBytesMax: 2_500 };
        let log = open({ fs, ...options });
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
            abandon(log);
            fs = new FaultyFs();
            log = open({ fs, ...options });
            inFlight.length = 0;
          }
        }
        fs.kill();
        abandon(log);
        log = open();
        await eventually(() => log.failure === null);
        const calls = await settledIn(log);
        const ids = calls.map(({ intent }) => intent.requestId);
        expect(new Set(ids).size).toBe(ids.length);
        expect([...ids].sort()).toEqual(expect.arrayContaining([...begun].sort()));
        expect(ids.length).toBe(begun.length);
        const exact = calls
          .filter(({ settlement }) => settlement.costNano === 123)
          .map(({ intent }) => intent.requestId);
        expect(exact).toEqual(expect.arrayContaining(finished));
        readFrames(directory);
        await log.close();
        abandon(log);
        rmSync(directory, { recursive: true, force: true });
      }),
      { numRuns: pick(60, 1_000) },
    );
  }, 240_000);
});

describe('damage', () => {
  async function prepared(): Promise<{ bytes: Buffer; path: string; order: string[] }> {
    const log = open();
    const order: string[] = [];
    log.listener = listener((call) => order.push(`${call.seq} ${call.intent.requestId} ${call.settlement.costNano}`));
    for (let index = 0; index < 8; index += 1) {
      await begin(log, `r${index}`);
      if (index % 3 !== 0) await finish(log, `r${index}`, { costNano: (1_000 + index) as Nano });
    }
    await log.close();
    abandon(log);
    const { path } = segmentFiles(directory)[0]!;
    return { bytes: readFileSync(path), path, order };
  }

  /** The calls that a start finds settled, without those that it settles itself. */
  async function startOn(path: string, bytes: Buffer): Promise<string[]> {
    for (const name of readdirSync(directory)) if (name !== 'usage-log.json') rmSync(join(directory, name));
    writeFileSync(path, bytes);
    const log = open({ fs: unsyncedFs, syncIntervalMs: 0 });
    const calls = await settledIn(log);
    await begin(log, 'after');
    await finish(log, 'after');
    const again = await settledIn(log);
    expect(again.at(-1)?.intent.requestId).toBe('after');
    readFrames(directory);
    await log.close();
    abandon(log);
    return calls
      .filter(({ settlement }) => settlement.errorCode !== KILLED_IN_FLIGHT)
      .map(({ seq, intent, settlement }) => `${seq} ${intent.requestId} ${settlement.costNano}`);
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
    const log = open();
    await begin(log, 'a');
    await begin(log, 'b');
    await finish(log, 'a', { costNano: Number.NaN as Nano });
    await finish(log, 'b');
    await log.close();
    abandon(log);
    const calls = await settledIn(open());
    expect(calls.map(({ seq, intent, settlement }) => [seq, intent.requestId, settlement.errorCode])).toEqual([
      [4, 'b', null],
      [5, 'a', KILLED_IN_FLIGHT],
    ]);
  });

  it('in the middle of an older segment costs that segment and nothing else', async () => {
    const log = open({ segmentBytesMax: 3_000 });
    for (let index = 0; index < 20; index += 1) {
      await begin(log, `r${index}`);
      await finish(log, `r${index}`);
    }
    const whole = await settledIn(log);
    const second = segmentFiles(directory)[1]!;
    const third = segmentFiles(directory)[2]!;
    const bytes = readFileSync(second.path);
    bytes[200]! ^= 1;
    writeFileSync(second.path, bytes);
    const rest = await settledIn(log);
    expect(rest).toEqual(whole.filter(({ seq }) => seq < second.firstSeq || seq >= third.firstSeq));
    expect(recorded.text()).toContain('can not be read from');
  });
});

function listener(written: (call: SettledCall) => void): UsageLogListener {
  return { settling: () => {}, written, installationKnown: () => {} };
}

/** Recovers a directory that holds only this segment. */
async function recoverOnly(path: string) {
  const alone = mkdtempSync(join(tmpdir(), 'usage-log-'));
  writeFileSync(join(alone, path.slice(directory.length + 1)), readFileSync(path));
  const recovered = recoverUsageLog(alone, recorded.log);
  const reader = new UsageLogReader(
    { segments: recovered.segments, version: 0 },
    recovered.segments[0]!.firstSeq - 1,
    recorded.log,
  );
  const calls = (await reader.next(100, recovered.lastSeq)).map(({ intent }) => intent.requestId);
  await reader.close();
  rmSync(alone, { recursive: true });
  return { recovered, calls };
}
