import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock as clock } from '../util/clock.ts';
import { processIdentity } from '../util/process-identity.ts';
import { pathHex } from '../util/runtime-directory.ts';
import { lockDataDirectory } from './data-directory-lock.ts';

let root: string;
let dataDir: string;
let socketDir: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lock-'));
  dataDir = join(root, 'data');
  socketDir = join(root, 'run');
  mkdirSync(dataDir);
  mkdirSync(socketDir);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const lock = (sockets = socketDir) => lockDataDirectory({ dataDir, socketDir: sockets, clock });
const links = () => readdirSync(dataDir).filter((name) => name.startsWith('lock-'));

describe('the lock of a data directory', () => {
  it('is held by one, refused to a second with the process that has it, and free again when released', async () => {
    const held = await lock();
    await expect(lock()).rejects.toThrow(
      `Another Claviger (process ${process.pid}) is running on the data directory ${dataDir}`,
    );
    await held.release();
    expect(links()).toEqual([]);
    await (await lock()).release();
  });

  it('is the same wherever the sockets are', async () => {
    const elsewhere = join(root, 'xdg');
    mkdirSync(elsewhere);
    const held = await lock();
    await expect(lock(elsewhere)).rejects.toThrow('Another Claviger');
    await held.release();
  });

  it('is won by exactly one of many that start at the same time', async () => {
    for (let round = 0; round < 20; round++) {
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => lock()));
      const winners = results.filter((result) => result.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      await winners[0]!.value.release();
    }
    expect(links()).toEqual([]);
    expect(readdirSync(socketDir)).toEqual([]);
  });

  it('of a killed process is taken over, and what it left is removed', async () => {
    const socket = join(socketDir, 'lock-00000000.sock');
    writeFileSync(socket, '');
    symlinkSync(socket, join(dataDir, `lock-${process.pid}-00000000-ffffffff`));
    symlinkSync(join(socketDir, 'gone.sock'), join(dataDir, `lock-${process.pid}-00000001-ffffffff`));
    const held = await lock();
    expect(links()).toHaveLength(1);
    expect(readdirSync(socketDir)).toHaveLength(1);
    await held.release();
  });

  it('stays with a process that lives but whose socket somebody removed', async () => {
    const print = pathHex(processIdentity(process.pid)!);
    symlinkSync(join(socketDir, 'gone.sock'), join(dataDir, `lock-${process.pid}-00000000-${print}`));
    await expect(lock()).rejects.toThrow('is running on');
    expect(links()).toHaveLength(1);
  });

  it('stays with a process that is stopped and does not answer', async () => {
    const socket = join(socketDir, 'lock-00000000.sock');
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(socket, resolve));
    symlinkSync(socket, join(dataDir, 'lock-4242-00000000-ffffffff'));
    await expect(lock()).rejects.toThrow('process 4242');
    silent.close();
  });
});
