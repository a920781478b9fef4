import { closeSync, ftruncateSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { processCommand, processIdentity } from '../../util/process-identity.ts';

/** What a running PostgreSQL writes about itself into `postmaster.pid`. */
export interface PostmasterFile {
  readonly pid: number;
  readonly port: number | null;
  readonly socketDir: string | null;
  readonly status: 'starting' | 'ready' | 'stopping' | 'unknown';
}

export type Postmaster =
  | { readonly state: 'none' }
  /** A PostgreSQL runs on exactly this directory. */
  | ({ readonly state: 'running' } & PostmasterFile)
  /** There is a file, and the process it names is gone, or is not PostgreSQL, or is PostgreSQL on another directory. */
  | { readonly state: 'stale' };

export function inspectPostmaster(databaseDir: string): Postmaster {
  let text: string;
  try {
    text = readFileSync(postmasterPath(databaseDir), 'utf8');
  } catch {
    return { state: 'none' };
  }
  const file = parsePostmasterFile(text);
  if (file === null || processIdentity(file.pid) === null) return { state: 'stale' };
  const command = processCommand(file.pid);
  if (command !== null && isPostgresOn(command, databaseDir)) return { state: 'running', ...file };
  return { state: 'stale' };
}

/** Lines: pid, data directory, start time, port, socket directory, listen address, shared memory, status. */
export function parsePostmasterFile(text: string): PostmasterFile | null {
  const lines = text.split('\n');
  // PostgreSQL in single-user mode writes its number negated.
  const pid = Math.abs(Number(lines[0]?.trim() || Number.NaN));
  if (!Number.isInteger(pid) || pid <= 1) return null;
  const port = Number(lines[3]);
  const status = lines[7]?.trim();
  return {
    pid,
    port: Number.isInteger(port) && port > 0 ? port : null,
    socketDir: lines[4] || null,
    status: status === 'starting' || status === 'ready' || status === 'stopping' ? status : 'unknown',
  };
}

/**
 * Makes a stale file harmless. PostgreSQL takes any live process with the number in it for its predecessor and refuses to
 * start ("lock file already exists"): after a restart of a container that is often a process that has nothing to do with
 * it. So the number is replaced by ours, which PostgreSQL knows to be its parent. The other lines stay, because one of them
 * names the shared memory by which it finds out that children of a killed predecessor still work on the files.
 */
export function disown(databaseDir: string): void {
  const path = postmasterPath(databaseDir);
  const text = readFileSync(path, 'utf8');
  if (parsePostmasterFile(text) === null) {
    rmSync(path);
    return;
  }
  const rest = text.split('\n').slice(1);
  // In place, so that the file keeps its owner.
  const file = openSync(path, 'r+');
  try {
    ftruncateSync(file);
    writeSync(file, [String(process.pid), ...rest].join('\n'), 0);
  } finally {
    closeSync(file);
  }
}

function postmasterPath(databaseDir: string): string {
  return join(databaseDir, 'postmaster.pid');
}

/** We start it as `postgres -D <directory> ...`; `ps` gives the command line as one text. */
function isPostgresOn(command: readonly string[], databaseDir: string): boolean {
  const [program, ...args] = command;
  if (args.length === 0) return program?.includes(`postgres -D ${databaseDir} `) ?? false;
  return /(^|\/)postgres$/.test(program ?? '') && args[args.indexOf('-D') + 1] === databaseDir;
}
