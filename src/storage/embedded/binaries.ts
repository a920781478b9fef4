import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { type Account, asAccount } from '../../util/account.ts';
import { OperatorError } from '../../util/operator-error.ts';
import type { PlatformPackage } from './platform-package.ts';

/** PostgreSQL, ready to be run by the account that it was prepared for. */
export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
  /** All that its processes see of our environment: nothing, so that no secret of ours is in theirs. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Uses the binaries where npm put them when `account` can run them there, and else a copy below `copyRoot`, made once per
 * version. The copy is for a checkout that is read-only and lacks the links, or that the account can not enter.
 */
export function prepareBinaries(source: PlatformPackage, copyRoot: string, account: Account): Binaries {
  if (makeLinks(source.nativeDir) && tryToRun(describe(source.nativeDir), account) === null) {
    return describe(source.nativeDir);
  }
  const copy = copyPath(source, copyRoot);
  if (!existsSync(copy)) copyBinaries(source, copy);
  const binaries = describe(copy);
  const problem = tryToRun(binaries, account);
  if (problem !== null) {
    throw new OperatorError(
      `The embedded PostgreSQL in ${copy} does not run as account ${account.name}: ${problem}. Put it right, or set DATABASE_URL to a PostgreSQL (version 14 or newer).`,
    );
  }
  return binaries;
}

export function canRunInPlace(source: PlatformPackage, account: Account): boolean {
  const binaries = describe(source.nativeDir);
  // Without its links the loader does not find all libraries; whether they can be made is another question than reach.
  const missingLibrary = /shared librar|Library not loaded/;
  const problem = tryToRun(binaries, account);
  return problem === null || missingLibrary.test(problem);
}

export function copyPath(source: PlatformPackage, copyRoot: string): string {
  return join(copyRoot, `postgres-binaries-${source.version}`);
}

/**
 * Packages of npm can not hold symbolic links, so this one lists them in a file, for its install script to make. Install
 * scripts are off in careful places; so we make them. False when one is missing and can not be made.
 */
export function makeLinks(nativeDir: string): boolean {
  const packageDir = dirname(nativeDir);
  for (const { source, target } of readLinks(nativeDir)) {
    const link = inside(packageDir, target);
    const file = inside(packageDir, source);
    if (lstatSync(link, { throwIfNoEntry: false }) !== undefined) continue;
    try {
      symlinkSync(relative(dirname(link), file), link);
    } catch (error) {
      // Another start on the same checkout was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false;
    }
  }
  return true;
}

function readLinks(nativeDir: string): readonly { readonly source: string; readonly target: string }[] {
  const path = join(nativeDir, 'pg-symlinks.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : [];
}

function inside(packageDir: string, path: string): string {
  const absolute = resolve(packageDir, path);
  if (!absolute.startsWith(packageDir + sep)) throw new Error(`pg-symlinks.json leaves its package: ${path}`);
  return absolute;
}

function describe(nativeDir: string): Binaries {
  const bin = join(nativeDir, 'bin');
  const lib = join(nativeDir, 'lib');
  return {
    postgres: join(bin, 'postgres'),
    initdb: join(bin, 'initdb'),
    env: {
      PATH: '/usr/bin:/bin',
      LC_ALL: 'C',
      // The binaries look in `../lib` by themselves; this puts it before what the system has. A colon would cut the path.
      ...(lib.includes(':') ? {} : { LD_LIBRARY_PATH: lib, DYLD_LIBRARY_PATH: lib }),
    },
  };
}

/** Null when both programs start as `account`, else what is wrong. */
function tryToRun({ postgres, initdb, env }: Binaries, account: Account): string | null {
  for (const program of [postgres, initdb]) {
    const { status, error, stderr } = spawnSync(program, ['--version'], {
      ...asAccount(account),
      env,
      cwd: '/',
      encoding: 'utf8',
      timeout: TRY_TIMEOUT_MS,
    });
    if (status !== 0) return error?.message ?? stderr.trim();
  }
  return null;
}

/** Takes milliseconds; more only on a file system that hangs. */
const TRY_TIMEOUT_MS = 10_000;

/** Complete or not there: copied under another name and renamed. Static libraries are left out, nobody links here. */
function copyBinaries(source: PlatformPackage, copy: string): void {
  const partial = `${copy}.partial-${randomBytes(4).toString('hex')}`;
  try {
    mkdirSync(partial, { recursive: true, mode: 0o755 });
    const native = join(partial, 'native');
    cpSync(source.nativeDir, native, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.endsWith('.a') && !path.endsWith(`${sep}pkgconfig`),
    });
    // Modes are copied too, and those of a read-only installation would keep the links out.
    openToAll(partial);
    if (!makeLinks(native)) throw new OperatorError(`Can not make the links of the embedded PostgreSQL in ${native}.`);
    renameSync(native, copy);
  } catch (error) {
    if (!existsSync(copy)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** The umask of this process is strict, and the account that runs the copy is another one. */
function openToAll(path: string): void {
  const found = lstatSync(path);
  if (found.isSymbolicLink()) return;
  chmodSync(path, found.isDirectory() || (found.mode & 0o100) !== 0 ? 0o755 : 0o644);
  if (found.isDirectory()) for (const name of readdirSync(path)) openToAll(join(path, name));
}
