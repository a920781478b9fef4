import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Replaces a file so that after a crash there is either the old content or the new one, never a part: a temporary file in
 * the same directory, fsync, rename, fsync of the directory. `mode` is the mode of the file whatever it had before.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = temporaryPath(path);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** The same for boot and shut-down, where there is nothing else to do meanwhile. */
export function writeFileAtomicSync(path: string, data: string | Uint8Array, mode = 0o600): void {
  placeFileSync(path, data, mode, renameSync);
}

/** Makes a file that must not exist yet, complete from the first moment; of several that try at once one wins, the others get EEXIST. */
export function createFileAtomicSync(path: string, data: string | Uint8Array, mode = 0o600): void {
  placeFileSync(path, data, mode, (temporary) => {
    try {
      linkSync(temporary, path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // Some mounted file systems have no hard links; there two at once are not told apart.
      if ((code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') || existsSync(path)) throw error;
      renameSync(temporary, path);
      return;
    }
    rmSync(temporary);
  });
}

function placeFileSync(
  path: string,
  data: string | Uint8Array,
  mode: number,
  place: (temporary: string, path: string) => void,
): void {
  const temporary = temporaryPath(path);
  try {
    const file = openSync(temporary, 'wx', mode);
    try {
      writeFileSync(file, data);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    place(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** Ends in `.tmp` so that whoever reads the directory can tell what a crash left behind. */
function temporaryPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
}
