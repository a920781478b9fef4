import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../tests/support/eventually.ts';
import { at, INSTALLATION, recordingLog } from '../../../tests/support/principals.ts';
import type { BootReading } from '../../util/boot-clock.ts';
import type { Witness } from './freshness.ts';
import {
  bestWitness,
  decodeRecord,
  readWitnessFile,
  restoreWitness,
  WITNESS_FILE,
  WitnessKeeper,
  type WitnessRecord,
  witnessAge,
  writeWitnessFile,
} from './witness-file.ts';

const THEN: BootReading = { bootId: 'boot', monotonicMs: 1_000_000, wallMs: 1.7e12 };
const RECORD: WitnessRecord = {
  format: 1,
  installation: INSTALLATION,
  epoch: 1,
  rev: 7,
  ...THEN,
  ageMs: 400,
  certain: true,
};

function later(wallMs: number, monotonicMs: number, bootId: string | null = 'boot'): BootReading {
  return { bootId, monotonicMs: THEN.monotonicMs + monotonicMs, wallMs: THEN.wallMs + wallMs };
}

describe('the age of a witness after a restart', () => {
  it.each<[string, BootReading, number, boolean]>([
    ['within one boot: the monotonic difference', later(60_000, 60_100), 60_500, true],
    ['a clock that was slewed meanwhile', later(86_443_000, 86_400_000), 86_400_400, true],
    ['within one boot, set forward or suspended: the larger, for normal keys', later(90_000, 60_000), 90_400, false],
    ['within one boot, set back: the monotonic difference, for normal keys', later(-90_000, 60_000), 60_400, false],
    ['after a reboot: the wall difference', later(60_000, -999_000, 'another'), 60_400, true],
    [
      'after a reboot with a clock set back: at least what it was, for normal keys',
      later(-1, 5, 'another'),
      400,
      false,
    ],
    ['where boots have no name: the wall difference', later(60_000, 10, null), 60_400, true],
    ['a monotonic clock that went back is that of another machine', later(60_000, -1), 60_400, true],
  ])('%s', (_what, now, ageMs, certain) => {
    const record = now.bootId === null ? { ...RECORD, bootId: null } : RECORD;
    expect(witnessAge(record, now)).toEqual({ ageMs, certain });
  });

  it('is never certain again when it was not', () => {
    expect(witnessAge({ ...RECORD, certain: false }, later(10, 10)).certain).toBe(false);
  });
});

describe('a witness is restored', () => {
  const now = later(1_000, 1_000);

  it('on the clock of the new process', () => {
    expect(bestWitness([RECORD], at(7), 50, now)).toEqual({ epoch: 1, rev: 7, atMs: 50 - 1_400, certain: true });
    expect(bestWitness([RECORD], at(900), 50, now)).not.toBeNull();
  });

  it('only when its revision is on disk, of the same history', () => {
    expect(bestWitness([RECORD], at(6), 50, now)).toBeNull();
    expect(bestWitness([RECORD], at(7, 2), 50, now)).toBeNull();
    expect(bestWitness([{ ...RECORD, installation: 'another' }], at(7), 50, now)).toBeNull();
  });

  it('as the youngest of several, and rather as a certain one', () => {
    const younger = { ...RECORD, ageMs: 100 };
    expect(bestWitness([RECORD, younger], at(7), 0, now)?.atMs).toBe(-1_100);
    expect(bestWitness([RECORD, { ...younger, certain: false }], at(7), 0, now)).toMatchObject({ certain: true });
  });
});

describe('the file', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'claviger-witness-'));
    path = join(directory, WITNESS_FILE);
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('is read as it was written, by its owner only', async () => {
    await writeWitnessFile(path, RECORD);
    expect(readWitnessFile(path)).toEqual(RECORD);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual([WITNESS_FILE]);
    expect(restoreWitness([join(directory, 'nowhere'), directory], at(7), 0, later(0, 0))).toMatchObject({ rev: 7 });
    expect(restoreWitness([directory], null, 0, later(0, 0))).toBeNull();
  });

  it('says nothing after a cut at any byte or any flipped bit', async () => {
    await writeWitnessFile(path, RECORD);
    const bytes = readFileSync(path);
    for (let cut = 0; cut < bytes.length; cut++) {
      expect(decodeRecord(bytes.subarray(0, cut))).toBeNull();
    }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodeRecord(damaged)).toBeNull();
    }
    // What a crash of the machine may leave behind.
    writeFileSync(path, Buffer.alloc(bytes.length));
    expect(readWitnessFile(path)).toBeNull();
    writeFileSync(path, '');
    expect(readWitnessFile(path)).toBeNull();
  });

  it('of a version that it does not know says nothing', async () => {
    await writeWitnessFile(path, { ...RECORD, format: 2 });
    expect(readWitnessFile(path)).toBeNull();
  });

  describe('of a running process', () => {
    let witness: Witness | null;
    let nowMs: number;
    let keeper: WitnessKeeper;
    const text = { log: () => '' };
    beforeEach(() => {
      witness = null;
      nowMs = 0;
      const recording = recordingLog();
      text.log = recording.text;
      keeper = new WitnessKeeper({
        directory,
        installation: () => INSTALLATION,
        witness: () => witness,
        nowMs: () => nowMs,
        readBootClock: () => THEN,
        intervalMs: 1,
        log: recording.log,
      });
    });
    afterEach(() => keeper.close());

    it('is written while there is something newer to say, and at the end', async () => {
      keeper.run();
      witness = { epoch: 1, rev: 7, atMs: 100, certain: true };
      nowMs = 500;
      await eventually(() => readWitnessFile(path) !== null);
      expect(readWitnessFile(path)).toEqual(RECORD);
      witness = { epoch: 1, rev: 8, atMs: 450, certain: true };
      await eventually(() => readWitnessFile(path)?.rev === 8);
      nowMs = 700;
      witness = { epoch: 1, rev: 9, atMs: 690, certain: true };
      await keeper.close();
      expect(readWitnessFile(path)).toMatchObject({ rev: 9, ageMs: 10 });
    });

    it('says so when the witness is not certain any more', async () => {
      keeper.run();
      witness = { epoch: 1, rev: 7, atMs: 100, certain: true };
      await eventually(() => readWitnessFile(path) !== null);
      witness = { ...witness, certain: false };
      await eventually(() => readWitnessFile(path)?.certain === false);
    });

    it('is replaced at the start by what was made of it, so that a doubt or a refusal is not forgotten with time', async () => {
      await writeWitnessFile(path, RECORD);
      witness = { epoch: 1, rev: 7, atMs: 0, certain: false };
      keeper.begin();
      expect(readWitnessFile(path)).toMatchObject({ certain: false, bootId: THEN.bootId });
      witness = null;
      keeper.begin();
      expect(readWitnessFile(path)).toBeNull();
      expect(readdirSync(directory)).toEqual([]);
    });

    it('that can not be written costs one line in the log and is tried again', async () => {
      rmSync(directory, { recursive: true });
      witness = { epoch: 1, rev: 7, atMs: 100, certain: true };
      for (let round = 0; round < 3; round++) {
        keeper.keep();
        await keeper.close();
      }
      expect(text.log().match(/could not be written to disk/g)).toHaveLength(1);
    });
  });
});
