import { closeSync, mkdtempSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { boundLog, openLog } from './bounded-log.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'log-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('the log of PostgreSQL stays bounded while PostgreSQL has it open', () => {
  const path = join(directory, 'postgres.log');
  const file = openLog(path);
  boundLog(join(directory, 'missing.log'));
  for (let line = 0; line < 100; line++) {
    writeSync(file, `line ${line}\n`);
    boundLog(path, 100);
    expect(statSync(path).size).toBeLessThanOrEqual(110);
  }
  closeSync(file);
  expect(readFileSync(path, 'utf8')).toMatch(/^line \d+\n/);
  expect(readFileSync(`${path}.1`, 'utf8')).toMatch(/^line \d+\n/);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});
