import { accessSync, constants, existsSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Check, fail, ok, warn } from './check.ts';

/** Below it the usage log may soon be unable to take an intent, and then calls are refused. */
export const FREE_BYTES_MIN = 200 * 1024 * 1024;
export const FREE_BYTES_COMFORTABLE = 2 * 1024 * 1024 * 1024;

/** May this account write there, and is there space? Nothing is left behind. */
export function checkDataDirectory(dataDir: string, freeBytesOf: (path: string) => number = freeBytes): Check[] {
  const name = 'data directory';
  const existing = nearestExisting(dataDir);
  try {
    if (existing === dataDir) tryWriting(dataDir);
    else accessSync(existing, constants.W_OK | constants.X_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    const todo = 'Give it to this account (chown), or choose another with CLAVIGER_DATA_DIR.';
    return [fail(name, `${existing} can not be written (${code})`, todo)];
  }
  const found = existing === dataDir ? ok(name, dataDir) : ok(name, `${dataDir} does not exist yet and can be made`);
  return [found, checkSpace(existing, freeBytesOf(existing))];
}

function checkSpace(path: string, bytes: number): Check {
  const name = 'disk space';
  const text = `${(bytes / 1024 ** 3).toFixed(1)} GiB free at ${path}`;
  const todo = 'Free some: usage is written there before each call, and without space calls are refused.';
  if (bytes < FREE_BYTES_MIN) return fail(name, text, todo);
  return bytes < FREE_BYTES_COMFORTABLE ? warn(name, text, todo) : ok(name, text);
}

function tryWriting(directory: string): void {
  const probe = join(directory, `.doctor-${process.pid}.tmp`);
  writeFileSync(probe, '', { mode: 0o600 });
  rmSync(probe);
}

function nearestExisting(path: string): string {
  let current = path;
  while (!existsSync(current) && dirname(current) !== current) current = dirname(current);
  return current;
}

function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
