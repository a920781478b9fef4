import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FaultyFs } from '../../../tests/support/faulty-fs.ts';
import { pick } from '../../../tests/support/length.ts';
import { begin, finish, intentOf, RecordingWaiter, readFrames, settlementOf } from '../../../tests/support/usage.ts';
import { readRecords, UsageLogRig } from '../../../tests/support/usage-log-rig.ts';
import type { Nano } from '../../domain/money.ts';
import type { UsageRecord } from '../../domain/usage.ts';
import { ForeignInstallationError } from '../live/foreign-installation.ts';
import { segmentFiles } from './recover-usage-log.ts';
import { SEGMENTS_RETAINED } from './segment-store.ts';
import { KILLED_IN_FLIGHT } from './usage-log.ts';
import { UsageLogReader } from './usage-log-reader.ts';

const rig = new UsageLogRig();

describe('UsageLog', () => {
  it('writes all intents of a turn with one write and lets their requests go in order, after it', async () => {
    const fs = new FaultyFs();
    const log = rig.open({ fs });
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
    expect(readFrames(rig.directory).size).toBe(51);
  });

  it('has the settlement in the file when its request is told so', async () => {
    const log = rig.open();
    await begin(log, 'a');
    const waiter = new RecordingWaiter('a');
    const told = waiter.next();
    log.settle(settlementOf('a'), waiter);
    expect(waiter.events).toEqual([]);
    await told;
    expect([...readFrames(rig.directory).values()].map(({ kind }) => kind)).toEqual(['intent', 'settled']);
    expect(log.openCount).toBe(0);
  });

  it('throws at a second intent, a second settlement, and a settlement of what was not written', async () => {
    const log = rig.open();
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
    const log = rig.open();
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
    expect(rig.recorded.text()).toContain('a bug in a request');
  });

  it('takes what requests say while they are called back', async () => {
    const log = rig.open();
    const done = new Promise<void>((resolve) => {
      const waiter = new RecordingWaiter('a');
      waiter.onIntentWritten = () => log.settle(settlementOf('a'), waiter);
      waiter.onSettled = resolve;
      log.intent(intentOf('a'), waiter);
    });
    await done;
    expect(readFrames(rig.directory).size).toBe(2);
  });

  it('keeps its files to itself', async () => {
    const log = rig.open();
    await begin(log, 'a');
    const modes = readdirSync(rig.directory).map((name) => statSync(join(rig.directory, name)).mode & 0o777);
    expect(new Set(modes)).toEqual(new Set([0o600]));
  });

  it('settles what a killed process left in flight at its estimate, once', async () => {
    const first = rig.open();
    await begin(first, 'a', { estimateNano: 777 as Nano });
    await begin(first, 'b');
    await finish(first, 'b');
    await begin(first, 'c');
    rig.abandon(first);
    const second = rig.open();
    const calls = await rig.settledIn(second);
    expect(calls.map(({ requestId }) => requestId)).toEqual(['b', 'a', 'c']);
    expect(calls[1]).toMatchObject({
      status: 'failure',
      errorCode: KILLED_IN_FLIGHT,
      estimated: true,
      costNano: 777,
    });
    rig.abandon(second);
    const third = rig.open();
    expect(await rig.settledIn(third)).toEqual(calls);
    expect(third.identity.incarnation).toBe(first.identity.incarnation);
  });

  it('goes on with the next number after every kind of end', async () => {
    for (let round = 0; round < 4; round += 1) {
      const log = rig.open();
      await begin(log, `a${round}`);
      await begin(log, `b${round}`);
      await finish(log, `a${round}`);
      if (round % 2 === 0) await log.close();
      rig.abandon(log);
    }
    rig.open();
    const frames = readFrames(rig.directory);
    expect([...frames.keys()]).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
  });

  it('draws an incarnation for a new rig.directory only, and sets a damaged one aside', async () => {
    const first = rig.open();
    await begin(first, 'a');
    rig.abandon(first);
    const second = rig.open();
    expect(second.identity).toMatchObject({ incarnation: first.identity.incarnation, isNew: false });
    rig.abandon(second);
    writeFileSync(join(rig.directory, 'usage-log.json'), '{"incarnation":');
    const third = rig.open();
    expect(third.identity.incarnation).not.toBe(first.identity.incarnation);
    expect(third.lastSeq).toBe(2);
    expect(readdirSync(rig.directory)).toContain('usage-log.json.bad');
  });

  it('belongs to the first installation that it hears of, and refuses another with both names', () => {
    const first = rig.open();
    expect(first.identity.installation).toBeNull();
    first.bindInstallation('one');
    expect(() => first.bindInstallation('two')).toThrow(ForeignInstallationError);
    rig.abandon(first);
    expect(() => rig.open({ installation: 'two' })).toThrow(/one.*two/);
    expect(rig.open({ installation: 'one' }).identity.installation).toBe('one');
  });

  it('begins a new segment when one is full; each explains itself', async () => {
    const log = rig.open({ segmentBytesMax: 4_000 });
    await begin(log, 'long');
    for (let index = 0; index < 40; index += 1) {
      await begin(log, `r${index}`);
      await finish(log, `r${index}`);
    }
    await finish(log, 'long');
    const files = segmentFiles(rig.directory);
    expect(files.length).toBeGreaterThan(5);
    for (const { path } of files) expect(statSync(path).size).toBeLessThan(6_000);
    const reader = new UsageLogReader(
      { segments: files.slice(-1), version: 0 },
      files.at(-1)!.firstSeq - 1,
      rig.recorded.log,
    );
    const calls = await readRecords(reader, 100, log.lastSeq);
    await reader.close();
    // Its intent is in the first segment, and the last one carries it.
    expect(calls.at(-1)?.requestId).toBe('long');
    expect((await rig.settledIn(log)).length).toBe(41);
  });

  it('removes segments that are acknowledged to the end, but for those that a restored database may ask for', async () => {
    const log = rig.open({ segmentBytesMax: 2_000 });
    for (let index = 0; index < 30; index += 1) {
      await begin(log, `r${index}`);
      await finish(log, `r${index}`);
    }
    await begin(log, 'open');
    const files = segmentFiles(rig.directory);
    expect(files.length).toBeGreaterThan(SEGMENTS_RETAINED + 2);
    log.segments.removeAcknowledged(files[SEGMENTS_RETAINED + 2]!.firstSeq - 2);
    expect(segmentFiles(rig.directory)).toEqual(files.slice(1));
    log.segments.removeAcknowledged(log.lastSeq);
    expect(segmentFiles(rig.directory)).toEqual(files.slice(-1 - SEGMENTS_RETAINED));
    rig.abandon(log);
    const second = rig.open();
    expect(second.lastSeq).toBe(62);
    expect((await rig.settledIn(second)).at(-1)?.requestId).toBe('open');
  });

  it('reads any stretch back, in pieces of any size', async () => {
    const log = rig.open({ segmentBytesMax: 5_000 });
    for (let index = 0; index < 60; index += 1) {
      await begin(log, `r${index}`);
      if (index >= 3) await finish(log, `r${index - 3}`);
    }
    const all = await rig.settledIn(log);
    expect(all.length).toBe(57);
    await fc.assert(
      fc.asyncProperty(fc.nat(log.lastSeq), fc.nat(log.lastSeq), fc.integer({ min: 1, max: 20 }), async (a, b, max) => {
        const from = Math.min(a, b);
        const to = Math.max(a, b);
        const reader = new UsageLogReader(log.segments, from, rig.recorded.log);
        const calls: UsageRecord[] = [];
        while (reader.position < to) {
          const part = await readRecords(reader, max, to);
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
