import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { instanceIdOf } from './instance-file.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'instance-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

it('an instance keeps its id for as long as its data directory exists', () => {
  const id = instanceIdOf(dataDir);
  expect(instanceIdOf(dataDir)).toBe(id);
  expect(statSync(join(dataDir, 'instance.json')).mode & 0o777).toBe(0o600);
  rmSync(join(dataDir, 'instance.json'));
  expect(instanceIdOf(dataDir)).not.toBe(id);
});

it.each(['', '{', '{"instanceId":"../x"}', 'null'])(
  'a damaged file (%j) is an error and never a new identity',
  (text) => {
    writeFileSync(join(dataDir, 'instance.json'), text);
    expect(() => instanceIdOf(dataDir)).toThrow('does not name an instance');
  },
);
