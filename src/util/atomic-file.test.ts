import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFileAtomicSync, writeFileAtomic, writeFileAtomicSync } from './atomic-file.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'atomic-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const both: [string, (path: string, data: string | Uint8Array, mode?: number) => void | Promise<void>][] = [
  ['writeFileAtomic', writeFileAtomic],
  ['writeFileAtomicSync', writeFileAtomicSync],
];

describe.each(both)('%s', (_name, write) => {
  it('replaces content and mode and leaves nothing else behind', async () => {
    const path = join(directory, 'file');
    writeFileSync(path, 'old', { mode: 0o644 });
    chmodSync(path, 0o644);
    await write(path, Buffer.from('new'), 0o600);
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(['file']);
  });

  it('keeps the old content and cleans up when it can not replace it', async () => {
    const target = join(directory, 'a-directory');
    await write(join(directory, 'file'), 'x');
    mkdirSync(join(target, 'inside'), { recursive: true });
    await expect((async () => write(target, 'new'))()).rejects.toThrow();
    expect(readdirSync(directory).sort()).toEqual(['a-directory', 'file']);
  });

  it('fails when the directory does not exist', async () => {
    await expect((async () => write(join(directory, 'missing', 'file'), 'x'))()).rejects.toThrow(/ENOENT/);
  });
});

describe('createFileAtomicSync', () => {
  it('makes a file once and leaves an existing one alone', () => {
    const path = join(directory, 'file');
    createFileAtomicSync(path, 'first', 0o600);
    expect(() => createFileAtomicSync(path, 'second', 0o600)).toThrow(/EEXIST/);
    expect(readFileSync(path, 'utf8')).toBe('first');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(['file']);
  });
});
