import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { asAccount } from '../../util/account.ts';
import type { Clock } from '../../util/clock.ts';
import { processIdentity } from '../../util/process-identity.ts';
import type { Binaries } from './binaries.ts';
import { openLog } from './bounded-log.ts';
import type { Place } from './place.ts';
import { inspectPostmaster } from './postmaster-file.ts';

/** Names the socket file; nothing listens on a network port. */
export const SOCKET_PORT = 5432;

/** A PostgreSQL that runs, whether this process started it or an earlier one did. */
export interface RunningPostmaster {
  readonly pid: number;
  readonly socketDir: string;
  readonly port: number;
  /** Resolves when the process has ended, for whatever reason, with words for the log. */
  readonly exited: Promise<string>;
}

export interface LaunchOptions {
  readonly place: Place;
  readonly binaries: Binaries;
  readonly socketDir: string;
  readonly logPath: string;
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
}

export type LaunchResult =
  | { readonly ok: true; readonly postmaster: RunningPostmaster }
  /** `again`: a predecessor is still on its way out, so another attempt will do. */
  | { readonly ok: false; readonly again: boolean; readonly reason: string };

/** After a crash PostgreSQL replays its log first; beyond this the start counts as failed, and it goes on replaying. */
export const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 10;
/** How often the death of a PostgreSQL that is not our child is looked for. */
const WATCH_MS = 250;

/**
 * Starts PostgreSQL in a session and process group of its own, with its output in a file: neither an interrupt from the
 * terminal nor the death of this process reaches it.
 */
export async function launchPostmaster(options: LaunchOptions): Promise<LaunchResult> {
  const { binaries, clock, logPath, place, signal, socketDir } = options;
  // Nothing runs on this directory (the caller looked), and no other PostgreSQL has its socket here.
  for (const name of [`.s.PGSQL.${SOCKET_PORT}`, `.s.PGSQL.${SOCKET_PORT}.lock`])
    rmSync(join(socketDir, name), { force: true });
  const log = openLog(logPath);
  const logOffset = statSync(logPath).size;
  let child: ChildProcess;
  try {
    child = spawn(binaries.postgres, serverArguments(place.databaseDir, socketDir), {
      ...asAccount(place.account),
      env: binaries.env,
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log],
    });
  } finally {
    closeSync(log);
  }
  let ended = false;
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code}` : signal));
  }).finally(() => {
    ended = true;
  });
  child.unref();

  const deadlineMs = clock.monotonicMs() + READY_TIMEOUT_MS;
  while (!ended) {
    const seen = inspectPostmaster(place.databaseDir);
    if (seen.state === 'running' && seen.pid === child.pid && seen.status === 'ready') {
      return { ok: true, postmaster: { pid: seen.pid, socketDir, port: SOCKET_PORT, exited } };
    }
    if (signal?.aborted) child.kill('SIGQUIT');
    if (clock.monotonicMs() > deadlineMs) {
      return { ok: false, again: false, reason: `not ready within ${READY_TIMEOUT_MS / 1000} s` };
    }
    await Promise.race([delay(POLL_MS), exited]);
  }
  const said = readLog(logPath, logOffset);
  return { ok: false, again: PREDECESSOR.test(said), reason: lastFatal(said) ?? (await exited) };
}

/** Follows a PostgreSQL that an earlier run started. It is not our child, so nobody tells us when it ends. */
export function adoptPostmaster(pid: number, socketDir: string, port: number): RunningPostmaster {
  const identity = processIdentity(pid);
  const exited = new Promise<string>((resolve) => {
    const timer = setInterval(() => {
      if (identity !== null && processIdentity(pid) === identity) return;
      clearInterval(timer);
      resolve('it is gone');
    }, WATCH_MS);
    timer.unref();
  });
  return { pid, socketDir, port, exited };
}

function serverArguments(databaseDir: string, socketDir: string): string[] {
  const settings = {
    listen_addresses: '',
    unix_socket_directories: `"${socketDir.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
    port: String(SOCKET_PORT),
    shared_buffers: '32MB',
    max_wal_size: '256MB',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_destination: 'stderr',
    logging_collector: 'off',
    log_checkpoints: 'off',
    log_line_prefix: '%m [%p] ',
  };
  return ['-D', databaseDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

const PREDECESSOR = /lock file ".*" already exists|pre-existing shared memory block/;

function lastFatal(said: string): string | null {
  const lines = said.split('\n').filter((line) => /FATAL|PANIC|[Ee]rror/.test(line));
  return lines.at(-1)?.replace(/^.*?(FATAL|PANIC):\s*/, '') ?? null;
}

function readLog(path: string, offset: number): string {
  return readFileSync(path).subarray(offset).toString('utf8');
}
