import { existsSync, realpathSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';
import { OperatorError } from '../../util/operator-error.ts';
import { pathHex, runtimeDirectory } from '../../util/runtime-directory.ts';
import { assertSocketPathFits } from '../../util/unix-socket.ts';
import { writeAccessFiles } from './access-files.ts';
import { prepareBinaries } from './binaries.ts';
import { boundLog } from './bounded-log.ts';
import { createDatabase, DATABASE_USER } from './create-database.ts';
import { decidePlace, type Place } from './place.ts';
import { locatePlatformPackage, type PlatformLookup } from './platform-package.ts';
import { adoptPostmaster, launchPostmaster, type RunningPostmaster, SOCKET_PORT } from './postmaster.ts';
import { disown, inspectPostmaster } from './postmaster-file.ts';

export interface EmbeddedPostgresOptions {
  /** Exists; the caller holds its lock. */
  readonly dataDir: string;
  /** Exists; for the socket when PostgreSQL runs as our own account. As root it gets a directory of its own. */
  readonly socketDir: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Names the directory outside of the data directory; a new instance never finds the database of an old one there. */
  readonly instanceId?: string;
  /** Parent of that directory. */
  readonly outsideParent?: string;
  readonly machine?: PlatformLookup;
  /** Ends the start: what was started is stopped, and the call fails. */
  readonly signal?: AbortSignal;
}

export interface EmbeddedPostgres {
  /** Connection string for `pg` and `psql`. Stays the same over restarts. */
  readonly url: string;
  readonly pid: number;
  /** It was running already, started by an earlier run. */
  readonly takenOver: boolean;
  /** Resolves when PostgreSQL has ended, also by itself or killed, with words for the log. */
  readonly exited: Promise<string>;
  /**
   * `fast`: connections are closed, everything is written; after `STOP_FAST_TIMEOUT_MS` as `immediate`: stop now, repair at
   * the next start.
   */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
}

/** The database was there before and PostgreSQL does not come up on it: another attempt may succeed. */
export class PostgresDoesNotStart extends OperatorError {}

export const STOP_FAST_TIMEOUT_MS = 10_000;
/** PostgreSQL kills its own stragglers 5 s after `immediate`; beyond this it is killed. */
const STOP_IMMEDIATE_TIMEOUT_MS = 7_000;
/** How long a predecessor that is on its way out is waited for. */
const PREDECESSOR_TIMEOUT_MS = 10_000;
const PREDECESSOR_POLL_MS = 100;
const LOG_CHECK_INTERVAL_MS = 60_000;

/**
 * A real PostgreSQL in the data directory, on a unix socket only. Creates the database when there is none, takes over a
 * PostgreSQL that an earlier run left, and otherwise starts one. It is not started again when it dies: the caller sees
 * `exited` and calls this again.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { clock, log } = options;
  const dataDir = realpathSync(options.dataDir);
  const outsideName = pathHex(options.instanceId ?? dataDir);
  const source = locatePlatformPackage(options.machine);
  const place = decidePlace({
    dataDir,
    source,
    outsideRoot: join(options.outsideParent ?? '/var/lib/claviger', outsideName),
  });
  if (place.remark !== null) log.info({}, place.remark);
  const binaries = prepareBinaries(source, place.root, place.account);
  if (!place.exists) await createDatabase(place, binaries);
  const accessChanged = writeAccessFiles(place);

  const socketDir = socketDirFor(place, dataDir, options.socketDir);
  assertSocketPathFits(join(socketDir, `.s.PGSQL.${SOCKET_PORT}`));
  const logPath = `${place.databaseDir}.log`;
  boundLog(logPath);

  const deadlineMs = clock.monotonicMs() + PREDECESSOR_TIMEOUT_MS;
  for (;;) {
    const running = await takeOver(place, socketDir, clock, deadlineMs, options.signal);
    if (running !== null) {
      if (accessChanged) process.kill(running.pid, 'SIGHUP');
      return embedded(running, true, socketDir, options, logPath);
    }
    const result = await launchPostmaster({ place, binaries, socketDir, logPath, clock, signal: options.signal });
    if (result.ok) return embedded(result.postmaster, false, socketDir, options, logPath);
    if (!result.again || clock.monotonicMs() > deadlineMs) {
      if (socketDir !== options.socketDir) removeIfEmpty(socketDir);
      const sentence = `The embedded PostgreSQL does not start: ${result.reason}. Its log is ${logPath}.`;
      throw place.exists ? new PostgresDoesNotStart(sentence) : new OperatorError(sentence);
    }
    await delay(PREDECESSOR_POLL_MS);
  }
}

/** The PostgreSQL that runs on this directory, once it is ready; null when there is none (any more). */
async function takeOver(
  place: Place,
  socketDir: string,
  clock: Clock,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Promise<RunningPostmaster | null> {
  for (;;) {
    const seen = inspectPostmaster(place.databaseDir);
    if (seen.state === 'none') return null;
    if (seen.state === 'stale') {
      disown(place.databaseDir);
      return null;
    }
    const port = seen.port ?? SOCKET_PORT;
    if (seen.status === 'ready') {
      const postmaster = adoptPostmaster(seen.pid, socketDir, port);
      if (seen.socketDir === socketDir && existsSync(join(socketDir, `.s.PGSQL.${port}`))) return postmaster;
      // Its socket is elsewhere (XDG_RUNTIME_DIR changed) or gone (somebody cleaned /tmp), so it makes room for another.
      await stopProcess(postmaster, 'fast');
      continue;
    }
    if (signal?.aborted) {
      await stopProcess(adoptPostmaster(seen.pid, socketDir, port), 'fast');
      throw new PostgresDoesNotStart('The start of the embedded PostgreSQL was interrupted.');
    }
    if (clock.monotonicMs() > deadlineMs) {
      throw new PostgresDoesNotStart(
        `A PostgreSQL (process ${seen.pid}) is ${seen.status === 'unknown' ? 'busy' : seen.status} on ${place.databaseDir} and does not become ready; end it and start again. Its log is ${place.databaseDir}.log.`,
      );
    }
    await delay(PREDECESSOR_POLL_MS);
  }
}

/**
 * The account of PostgreSQL can not enter our own runtime directory, which is closed to everyone; so when it is another
 * account than ours its socket lives in a runtime directory of that account. Root can enter that one.
 */
function socketDirFor(place: Place, dataDir: string, ownSocketDir: string): string {
  if (place.account.uid === process.getuid?.()) return ownSocketDir;
  return runtimeDirectory({ dataDir, env: {}, owner: place.account });
}

function embedded(
  running: RunningPostmaster,
  takenOver: boolean,
  ownedDir: string,
  { log, socketDir }: EmbeddedPostgresOptions,
  logPath: string,
): EmbeddedPostgres {
  log.info(
    { pid: running.pid, log: logPath },
    takenOver ? 'embedded PostgreSQL taken over' : 'embedded PostgreSQL started',
  );
  const logTimer = setInterval(() => boundLog(logPath), LOG_CHECK_INTERVAL_MS);
  logTimer.unref();
  void running.exited.then(() => clearInterval(logTimer));
  return {
    url: connectionUrl(running.socketDir, running.port),
    pid: running.pid,
    takenOver,
    exited: running.exited,
    async stop(mode = 'fast') {
      await stopProcess(running, mode);
      if (ownedDir !== socketDir) removeIfEmpty(ownedDir);
    },
  };
}

/** The directory goes into the query, the only place where it may hold spaces and be long. */
function connectionUrl(socketDir: string, port: number): string {
  return `postgresql://${DATABASE_USER}@localhost:${port}/postgres?host=${encodeURIComponent(socketDir)}`;
}

async function stopProcess({ pid, exited }: RunningPostmaster, mode: 'fast' | 'immediate'): Promise<void> {
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  const steps: readonly (readonly [NodeJS.Signals, number])[] = [
    ...(mode === 'fast' ? ([['SIGINT', STOP_FAST_TIMEOUT_MS]] as const) : []),
    ['SIGQUIT', STOP_IMMEDIATE_TIMEOUT_MS],
    ['SIGKILL', STOP_IMMEDIATE_TIMEOUT_MS],
  ];
  for (const [signal, waitMs] of steps) {
    // Lets an end that already happened be noticed: the number may belong to another process by now.
    await Promise.resolve();
    if (ended) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
      throw error;
    }
    const timer = new AbortController();
    await Promise.race([exited, delay(waitMs, undefined, { signal: timer.signal }).catch(() => {})]);
    timer.abort();
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Something else is in it: then it stays.
  }
}
