import { copyFileSync, fchmodSync, openSync, statSync, truncateSync } from 'node:fs';

/** At this size the log is copied to `<path>.1`, which replaces the one before, and emptied: at most about twice this. */
export const POSTGRES_LOG_BYTES_MAX = 10 * 1024 * 1024;

/** Opens for appending: after the file was emptied, the next line is at its start again. */
export function openLog(path: string): number {
  const file = openSync(path, 'a', 0o600);
  fchmodSync(file, 0o600);
  return file;
}

/**
 * The writer is another process, which may have been started by an earlier run of ours and has the file open: so the file is
 * emptied and not renamed. What is written between the copy and that is lost.
 */
export function boundLog(path: string, bytesMax = POSTGRES_LOG_BYTES_MAX): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || found.size <= bytesMax) return;
  copyFileSync(path, `${path}.1`);
  truncateSync(path, 0);
}
