import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { postgresBinaries } from './postgres-binaries.ts';
import { copyAsStandby } from './postgres-standby.ts';
import { asAccount, unprivilegedAccount } from './unprivileged-account.ts';

export interface PostgresCluster {
  readonly version: string;
  /** Straight to PostgreSQL. */
  readonly directUrl: (database: string) => string;
  /** Through PgBouncer when there is one, else the same as `directUrl`. */
  readonly url: (database: string) => string;
  /** Holds `data/`, the sockets and the log; gone after `stop`. */
  readonly dir: string;
  /** As `pg_ctl stop -m immediate`: connections are cut, nothing is written any more; what was committed is there after `resume`. */
  readonly halt: () => Promise<void>;
  readonly resume: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface ClusterOptions {
  /** '14' to '18'. */
  readonly major?: string;
  /** Path of the PgBouncer program; transaction pooling. */
  readonly pgbouncer?: string | undefined;
  /** Additional server settings, for example `{ ssl: 'on' }`. */
  readonly serverSettings?: Readonly<Record<string, string>>;
  /** A read-only copy that follows this one. */
  readonly standbyOf?: PostgresCluster;
}

const startTimeoutMs = 30_000;
const connectionsMax = 300;

/**
 * A PostgreSQL of its own in a temporary directory, reached through a unix socket in a directory that only we can enter.
 * It is not durable (fsync off) and goes away with this process, however that ends.
 */
export async function startPostgresCluster(options: ClusterOptions = {}): Promise<PostgresCluster> {
  const account = unprivilegedAccount();
  const binaries = postgresBinaries(options.major ?? '18', account);
  // The path of a unix socket has 107 bytes at most, and some systems have long temporary directories.
  const dir = mkdtempSync(join(tmpdir().length <= 40 ? tmpdir() : '/tmp', 'claviger-test-'));
  chmodSync(dir, 0o700);
  const dataDir = join(dir, 'data');
  mkdirSync(dataDir, { mode: 0o700 });
  if (account !== null) for (const path of [dir, dataDir]) chownSync(path, account.uid, account.gid);

  const spawnOptions = { env: binaries.env, cwd: dir, ...asAccount(account) };
  const { standbyOf: primary } = options;
  if (primary === undefined) {
    const initialised = spawnSync(
      join(binaries.binDir, 'initdb'),
      ['-D', dataDir, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'],
      { ...spawnOptions, encoding: 'utf8' },
    );
    if (initialised.status !== 0) throw new Error(`initdb failed: ${initialised.stderr || initialised.error?.message}`);
  } else {
    await copyAsStandby(primary.dir, primary.directUrl('postgres'), dataDir);
    if (account !== null) spawnSync('chown', ['-R', `${account.uid}:${account.gid}`, dataDir]);
  }

  const settings: Record<string, string> = {
    listen_addresses: '',
    unix_socket_directories: dir,
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    shared_buffers: '32MB',
    max_connections: String(connectionsMax),
    autovacuum: 'off',
    ...options.serverSettings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const serverCommand = [join(binaries.binDir, 'postgres'), '-D', dataDir, ...flags];
  const logPath = join(dir, 'postgres.log');
  let starts = 0;
  const startServer = () => guarded(serverCommand, 'INT', dir, logPath, spawnOptions, spareMark(dir, ++starts));
  const serverReady = (guard: ChildProcess | undefined) =>
    ready('PostgreSQL', () => statusOf(dataDir) === 'ready', guard, logPath);
  const guards: ChildProcess[] = [startServer()];
  const cluster: PostgresCluster = {
    version: binaries.version,
    dir,
    directUrl: (database) => socketUrl(dir, 5432, database),
    url: (database) => socketUrl(dir, options.pgbouncer === undefined ? 5432 : 6432, database),
    halt: async () => {
      const server = guards.shift();
      const pid = Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
      const ended = new Promise((resolve) => server?.once('exit', resolve));
      writeFileSync(spareMark(dir, starts), '');
      process.kill(pid, 'SIGQUIT');
      await ended;
    },
    resume: async () => {
      // Left behind by a server that had no time to clean up; it says "ready".
      rmSync(join(dataDir, 'postmaster.pid'), { force: true });
      guards.unshift(startServer());
      await serverReady(guards[0]);
    },
    stop: async () => {
      for (const guard of [...guards].reverse()) await end(guard);
      // Files belong to `account`, but we are root when they do.
      spawnSync('rm', ['-rf', dir]);
    },
  };
  try {
    await serverReady(guards[0]);
    if (options.pgbouncer !== undefined) {
      const configPath = join(dir, 'pgbouncer.ini');
      writeFileSync(configPath, pgbouncerConfig(dir), { mode: 0o644 });
      const poolerOptions = { ...spawnOptions, env: process.env };
      guards.push(
        guarded([options.pgbouncer, configPath], 'TERM', configPath, join(dir, 'pgbouncer.log'), poolerOptions),
      );
      await ready('PgBouncer', () => accepts(join(dir, '.s.PGSQL.6432')), guards[1], join(dir, 'pgbouncer.log'));
    }
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

function spareMark(dir: string, start: number): string {
  return join(dir, `halted-${start}`);
}

function socketUrl(dir: string, port: number, database: string): string {
  return `postgres://postgres@localhost:${port}/${database}?host=${encodeURIComponent(dir)}`;
}

function pgbouncerConfig(dir: string): string {
  return [
    '[databases]',
    `* = host=${dir} port=5432 user=postgres`,
    '[pgbouncer]',
    'listen_addr =',
    'listen_port = 6432',
    `unix_socket_dir = ${dir}`,
    'auth_type = any',
    'pool_mode = transaction',
    'max_client_conn = 1000',
    'default_pool_size = 10',
    '',
  ].join('\n');
}

/**
 * Runs a server below a shell that waits for the end of its own stdin, which is a pipe from us: it ends with us, even when
 * we are killed, and then leaves nothing behind, unless the file `spare` says that the server was halted to be started again.
 */
function guarded(
  command: readonly string[],
  stopSignal: 'INT' | 'TERM',
  leftBehind: string,
  logPath: string,
  options: object,
  spare = '',
) {
  const script = [
    'exec 3<&0; stop=$1; left=$2; log=$3; spare=$4; shift 4',
    '"$@" >"$log" 2>&1 </dev/null 3<&- & server=$!',
    '(read -r _; [ -z "$spare" ] || [ ! -e "$spare" ] || exit; kill -$stop $server; while kill -0 $server; do sleep 0.05; done; rm -rf "$left") <&3 &',
    'exec 3<&-; wait $server',
  ].join('\n');
  return spawn('/bin/sh', ['-c', script, 'guard', stopSignal, leftBehind, logPath, spare, ...command], {
    ...options,
    // A group of its own, so that an interrupt from the terminal reaches it only through the pipe, after the tests.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
}

async function end(guard: ChildProcess): Promise<void> {
  if (guard.exitCode !== null || guard.signalCode !== null) return;
  const ended = new Promise((resolve) => guard.once('exit', resolve));
  guard.stdin?.end();
  await ended;
}

async function ready(
  name: string,
  look: () => boolean | Promise<boolean>,
  guard: ChildProcess | undefined,
  logPath: string,
): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (!(await look())) {
    if (guard?.exitCode !== null || Date.now() > deadline) {
      const log = existsSync(logPath) ? readFileSync(logPath, 'utf8') : '';
      throw new Error(`${name} did not start: ${log.slice(-2_000)}`);
    }
    await delay(10);
  }
}

/** Its socket accepts connections before it answers them, so its own word counts: the 8th line of this file. */
function statusOf(dataDir: string): string | undefined {
  const path = join(dataDir, 'postmaster.pid');
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n')[7]?.trim() : undefined;
}

function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
