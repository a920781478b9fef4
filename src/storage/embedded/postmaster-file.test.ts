import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { disown, inspectPostmaster, parsePostmasterFile } from './postmaster-file.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postmaster-'));
  path = join(directory, 'postmaster.pid');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const content = (pid: number, status = 'ready   ') =>
  [pid, directory, 1_795_499_175, 5432, '/tmp/claviger-1-00000000', '', '  6291 5', status, ''].join('\n');

describe('postmaster.pid', () => {
  it('is read as PostgreSQL writes it, whole or not yet whole', () => {
    expect(parsePostmasterFile(content(77))).toEqual({
      pid: 77,
      port: 5432,
      socketDir: '/tmp/claviger-1-00000000',
      status: 'ready',
    });
    expect(parsePostmasterFile('77\n/data\n')).toEqual({ pid: 77, port: null, socketDir: null, status: 'unknown' });
    expect(parsePostmasterFile('-77\n')?.pid).toBe(77);
    for (const text of ['', '\n', 'x\n', '1\n', '0\n']) expect(parsePostmasterFile(text)).toBeNull();
  });

  it('of a process that is gone, or that is not PostgreSQL on this directory, is stale', async () => {
    expect(inspectPostmaster(directory).state).toBe('none');
    writeFileSync(path, content(process.pid));
    expect(inspectPostmaster(directory).state).toBe('stale');
    const gone = spawn('true');
    await once(gone, 'exit');
    writeFileSync(path, content(gone.pid!));
    expect(inspectPostmaster(directory).state).toBe('stale');
  });

  it('that is stale loses its number and keeps the shared memory that tells of orphans', () => {
    writeFileSync(path, content(99_999));
    disown(directory);
    expect(readFileSync(path, 'utf8')).toBe(content(process.pid));
    writeFileSync(path, '');
    disown(directory);
    expect(existsSync(path)).toBe(false);
  });
});
