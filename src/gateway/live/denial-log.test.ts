import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noSpace } from '../../../tests/support/faulty-fs.ts';
import { at, keyChange, principalOf, recordingLog, tokenOf } from '../../../tests/support/principals.ts';
import type { Change, Position } from '../../domain/change.ts';
import { type DeltaLogFs, nodeDeltaLogFs } from './delta-log.ts';
import { DENIAL_LOG_NAME, DENIALS_AHEAD_MAX } from './denial-log.ts';
import { LocalSnapshots } from './local-snapshots.ts';
import { MapPrincipalStore } from './principal-store.ts';

const NAMES = ['a', 'b', 'c', 'd'];

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'denial-log-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A slot of a gateway process. Another one in the same directory is what a kill leaves behind. */
class Slot {
  readonly store = new MapPrincipalStore();
  readonly recorded = recordingLog();
  readonly snapshots: LocalSnapshots;

  constructor(path = directory, fs: DeltaLogFs = nodeDeltaLogFs) {
    this.snapshots = new LocalSnapshots({
      directory: path,
      store: this.store,
      log: this.recorded.log,
      fs,
      writeRetryMs: 1,
    });
    this.snapshots.restore(null);
  }

  /** As a snapshot from the feed. */
  async fill(position: Position = at(10)): Promise<this> {
    const collector = this.store.beginSnapshot();
    collector.addKeys(NAMES.map((name) => ({ principal: principalOf(name), spendNano: '0' })));
    collector.commit(position, null);
    this.snapshots.denyAgain(null);
    this.snapshots.storeReplaced();
    await this.snapshots.settled();
    return this;
  }

  change(to: number, ...changes: Change[]): void {
    const from = this.store.position!;
    this.store.applyDelta({ ...from, rev: to }, changes);
    this.snapshots.denyAgain(changes);
    this.snapshots.appendDelta(from, { ...from, rev: to }, changes);
  }

  deny(rev: number, ...names: string[]): void {
    this.snapshots.deny({ epoch: 1, rev, tokens: names.map(tokenOf) });
  }

  get refused(): string {
    return NAMES.filter((name) => this.store.key(tokenOf(name))?.principal.blocked !== false).join('');
  }
}

const file = () => join(directory, DENIAL_LOG_NAME);

describe('what was denied ahead of its delta', () => {
  it('is refused by the next process when this one is killed before the delta', async () => {
    const slot = await new Slot().fill();
    slot.deny(12, 'a');
    slot.deny(13, 'b', 'c');
    expect(slot.refused).toBe('abc');
    const next = new Slot();
    expect([next.store.position, next.refused]).toEqual([at(10), 'abc']);
    // And by the one after that, with what came meanwhile.
    next.deny(14, 'd');
    expect(new Slot().refused).toBe('abcd');
  });

  it('is refused after SIGKILL of the process that heard it', async () => {
    const slot = await new Slot().fill();
    await slot.snapshots.close();
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    const entry = fileURLToPath(new URL('../../../tests/support/deny-and-wait.mjs', import.meta.url));
    const child = fork(entry, [directory, tokenOf('b')], { execArgv: ['--import', tsx] });
    const exited = once(child, 'exit');
    await once(child, 'message');
    child.kill('SIGKILL');
    expect(await exited).toEqual([null, 'SIGKILL']);
    expect(new Slot().refused).toBe('b');
  });

  it('is forgotten when the delta is on disk, and the file with it', async () => {
    const slot = await new Slot().fill();
    slot.deny(12, 'a');
    slot.deny(13, 'b');
    slot.change(12, keyChange(12, 'a', { blocked: true }));
    expect(new Slot().refused).toBe('ab');
    slot.change(14, keyChange(13, 'b', { blocked: true }), keyChange(14, 'a'));
    expect([slot.refused, existsSync(file())]).toEqual(['b', false]);
    expect(new Slot().refused).toBe('b');
    slot.deny(15, 'c');
    expect(new Slot().refused).toBe('bc');
  });

  it('is not lifted by a delta or a snapshot that lies before it', async () => {
    const slot = await new Slot().fill();
    slot.deny(12, 'a');
    slot.change(11, keyChange(11, 'a'));
    expect(slot.refused).toBe('a');
    await slot.fill(at(11));
    expect(slot.refused).toBe('a');
    expect(new Slot().refused).toBe('a');
    await slot.fill(at(12));
    expect([slot.refused, new Slot().refused, existsSync(file())]).toEqual(['', '', false]);
  });

  it('is of one epoch and one installation', async () => {
    const slot = await new Slot().fill();
    slot.deny(12, 'a');
    const bytes = readFileSync(file());
    await slot.fill(at(5, 2));
    expect([slot.refused, existsSync(file())]).toEqual(['', false]);
    // As a kill before the file was removed leaves it.
    writeFileSync(file(), bytes);
    expect(new Slot().refused).toBe('');
    expect(existsSync(file())).toBe(false);
    writeFileSync(file(), Buffer.from(bytes.toString('latin1').replace(at(1).installation, 'another'), 'latin1'));
    expect(new Slot().refused).toBe('');
  });

  it('is known to a slot that begins with the copy of this one', async () => {
    const slot = await new Slot().fill();
    slot.deny(12, 'a');
    const before = readFileSync(file());
    const own = join(directory, 'own');
    mkdirSync(own);
    const other = new Slot(own);
    expect(other.snapshots.borrow([directory, join(directory, 'gone')])).toEqual(at(10));
    expect(other.refused).toBe('a');
    await other.snapshots.settled();
    expect(new Slot(own).refused).toBe('a');
    expect(readFileSync(file())).toEqual(before);
  });

  it('is refused from the last file that checks out after a cut at any byte or a flipped bit', async () => {
    const slot = await new Slot().fill();
    slot.deny(12, 'a');
    const first = readFileSync(file()).length;
    slot.deny(13, 'b');
    const bytes = readFileSync(file());
    const refusedAfter = (damaged: Buffer): string => {
      writeFileSync(file(), damaged);
      return new Slot().refused;
    };
    for (let length = 0; length <= bytes.length; length++) {
      const expected = length === bytes.length ? 'ab' : length >= first ? 'a' : '';
      expect([length, refusedAfter(bytes.subarray(0, length))]).toEqual([length, expected]);
    }
    for (let index = 0; index < bytes.length; index++) {
      const damaged = Buffer.from(bytes);
      damaged[index]! ^= 1 << (index % 8);
      expect([index, refusedAfter(damaged)]).toEqual([index, index >= first ? 'a' : '']);
    }
  });

  it('is refused though the disk is full, and is on disk when there is room again', async () => {
    let full = false;
    const fs: DeltaLogFs = {
      ...nodeDeltaLogFs,
      writeSync: (...args) => {
        if (full) throw noSpace;
        return nodeDeltaLogFs.writeSync(...args);
      },
    };
    const slot = await new Slot(directory, fs).fill();
    slot.deny(12, 'a');
    full = true;
    slot.deny(13, 'b');
    slot.deny(14, 'c');
    expect(slot.refused).toBe('abc');
    expect(slot.recorded.text().split('could not be written to disk')).toHaveLength(2);
    // What was there before still counts.
    expect(new Slot().refused).toBe('a');
    full = false;
    slot.deny(15, 'd');
    expect(new Slot().refused).toBe('abcd');
  });

  it('is bounded: beyond, it is refused and not remembered', async () => {
    const slot = await new Slot().fill();
    const tokens = Array.from({ length: DENIALS_AHEAD_MAX - 1 }, (_, index) => tokenOf(index));
    slot.snapshots.deny({ epoch: 1, rev: 12, tokens });
    slot.deny(13, 'a', 'b');
    expect(slot.refused).toBe('ab');
    expect(slot.recorded.text().split('than are kept on disk')).toHaveLength(2);
    expect(new Slot().refused).toBe('a');
  });
});
