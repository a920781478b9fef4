import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProcessList } from './previous-processes.ts';
import { freeSlot } from './supervisor.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'processes-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

describe('the list of processes', () => {
  it('tells the next supervisor which children of the last one still live', async () => {
    const [lives, dies] = [spawn('sleep', ['60']), spawn('sleep', ['60'])];
    await Promise.all([once(lives, 'spawn'), once(dies, 'spawn')]);
    const list = new ProcessList(dataDir);
    list.record(0, lives.pid!);
    list.record(null, dies.pid!);
    dies.kill('SIGKILL');
    await once(dies, 'exit');
    expect(new ProcessList(dataDir).previous()).toMatchObject([{ pid: lives.pid, slot: 0 }]);
    lives.kill('SIGKILL');
  });

  it('keeps the earlier ones that live when new ones are added', async () => {
    const [earlier, later] = [spawn('sleep', ['60']), spawn('sleep', ['60'])];
    await Promise.all([once(earlier, 'spawn'), once(later, 'spawn')]);
    new ProcessList(dataDir).record(0, earlier.pid!);
    new ProcessList(dataDir).record(1, later.pid!);
    expect(new ProcessList(dataDir).previous().map(({ slot }) => slot)).toEqual([0, 1]);
    earlier.kill('SIGKILL');
    later.kill('SIGKILL');
  });

  it('does not take a later process for an earlier one with the same number, nor damage for anything', () => {
    const list = new ProcessList(dataDir);
    list.record(0, process.pid);
    const path = join(dataDir, 'processes.json');
    const [entry] = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify([{ ...entry, identity: `${entry.identity}0` }, { pid: 'x' }, null]));
    expect(list.previous()).toEqual([]);
    writeFileSync(path, '{');
    expect(list.previous()).toEqual([]);
  });
});

describe('slots', () => {
  it('are the first ones, except those that a process of an earlier run still has', () => {
    const give = (count: number, previous: number[]): number[] => {
      const taken = new Set<number>();
      const list = previous.map((slot) => ({ slot }));
      for (let index = 0; index < count; index++) taken.add(freeSlot(index, list, taken));
      return [...taken];
    };
    expect(give(3, [])).toEqual([0, 1, 2]);
    expect(give(1, [0])).toEqual([1]);
    expect(give(2, [0])).toEqual([1, 2]);
    expect(give(2, [0, 1])).toEqual([2, 3]);
  });
});
