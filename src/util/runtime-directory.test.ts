import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatorError } from './operator-error.ts';
import { pathHex, runtimeDirectory } from './runtime-directory.ts';

let root: string;
let dataDir: string;
let temporaryDir: string;
const owner = { uid: process.getuid!(), gid: process.getgid!() };
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'runtime-')));
  dataDir = join(root, 'data');
  temporaryDir = join(root, 'tmp');
  mkdirSync(dataDir);
  mkdirSync(temporaryDir);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const find = (env: Record<string, string> = {}, who = owner) =>
  runtimeDirectory({ dataDir, env, owner: who, temporaryDir });

describe('the runtime directory', () => {
  it('is closed to others and named after the account and the real path of the data directory', () => {
    const path = find();
    expect(path).toBe(join(temporaryDir, `claviger-${owner.uid}-${pathHex(dataDir)}`));
    expect(statSync(path).mode & 0o777).toBe(0o700);
    const link = join(root, 'link');
    symlinkSync(dataDir, link);
    expect(runtimeDirectory({ dataDir: link, env: {}, owner, temporaryDir })).toBe(path);
    expect(find()).toBe(path);
  });

  it('is in XDG_RUNTIME_DIR when that is a directory of the account', () => {
    const xdg = join(root, 'xdg');
    mkdirSync(xdg);
    expect(find({ XDG_RUNTIME_DIR: xdg })).toBe(join(xdg, `claviger-${pathHex(dataDir)}`));
  });

  it('is not in an XDG_RUNTIME_DIR that is missing, relative, or of somebody else', () => {
    for (const path of [join(root, 'missing'), 'relative', '/']) {
      if (path === '/' && owner.uid === 0) continue;
      expect(find({ XDG_RUNTIME_DIR: path })).toContain(temporaryDir);
    }
  });

  it('is closed again when somebody opened it', () => {
    chmodSync(find(), 0o777);
    expect(statSync(find()).mode & 0o777).toBe(0o700);
  });

  it.each(['link', 'file'] as const)('is never a %s that was there first', (kind) => {
    const path = join(temporaryDir, `claviger-${owner.uid}-${pathHex(dataDir)}`);
    if (kind === 'link') symlinkSync(root, path);
    else writeFileSync(path, '');
    expect(() => find()).toThrow(OperatorError);
    expect(() => find()).toThrow('is not a directory');
  });

  it('is in the data directory when neither of the usual places can be written to', () => {
    rmSync(temporaryDir, { recursive: true });
    expect(find()).toBe(join(dataDir, 'run'));
  });

  describe.runIf(owner.uid === 0)('as root', () => {
    const nobody = { uid: 65_534, gid: 65_534 };

    it('belongs to the account it is made for, and to nobody else', () => {
      const path = find({}, nobody);
      expect(statSync(path).uid).toBe(nobody.uid);
      expect(statSync(path).mode & 0o777).toBe(0o700);
      expect(path).not.toBe(find());
    });

    it('is an error when a stranger was there first', () => {
      const path = join(temporaryDir, `claviger-0-${pathHex(dataDir)}`);
      mkdirSync(path);
      rmSync(path, { recursive: true });
      const stranger = find({}, nobody);
      expect(() =>
        runtimeDirectory({ dataDir, env: {}, owner: { uid: nobody.uid, gid: 0 }, temporaryDir }),
      ).not.toThrow();
      rmSync(stranger, { recursive: true });
      mkdirSync(stranger);
      expect(() => find({}, nobody)).toThrow(`belongs to uid 0 and not to uid ${nobody.uid}`);
    });
  });
});
