import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startEmbeddedPostgres } from '../../src/storage/embedded/embedded-postgres.ts';
import { systemClock } from '../../src/util/clock.ts';
import { processIdentity } from '../../src/util/process-identity.ts';
import { runtimeDirectory } from '../../src/util/runtime-directory.ts';
import { silentLog } from '../support/silent-log.ts';
import { until } from '../support/until.ts';

/** An ordinary account to run as, when the tests run as root. */
export interface OrdinaryAccount {
  readonly uid: number;
  readonly gid: number;
}

export interface InstanceOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly bounds?: { readonly readyTimeoutMs?: number; readonly controlPatienceMs?: number };
  readonly account?: OrdinaryAccount;
}

const fixtures = join(dirname(fileURLToPath(import.meta.url)), 'fixtures');
const loader = fileURLToPath(import.meta.resolve('tsx'));

/** A supervisor in a process of its own, with its children. */
export class Instance {
  readonly dataDir: string;
  readonly port: number;
  readonly supervisor: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<number | null>;
  readonly #seen = new Set<number>();

  constructor({ account, bounds, dataDir, env, port }: InstanceOptions) {
    this.dataDir = dataDir;
    this.port = port;
    this.supervisor = spawn(
      process.execPath,
      ['--import', loader, join(fixtures, 'run-supervisor.ts'), JSON.stringify(bounds ?? {})],
      {
        cwd: '/',
        env: {
          PATH: process.env.PATH,
          CLAVIGER_DATA_DIR: dataDir,
          HOST: '127.0.0.1',
          PORT: String(port),
          CLAVIGER_DRAIN_TIMEOUT: '5',
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
      },
    );
    this.supervisor.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.supervisor.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = once(this.supervisor, 'close').then(([code]) => code as number | null);
  }

  async serving(): Promise<this> {
    await until(`the instance serves; it says ${this.stdout}${this.stderr}`, () => {
      if (this.supervisor.exitCode !== null) throw new Error(`it ended: ${this.stdout}${this.stderr}`);
      return this.stdout.includes('"message":"serving"') ? true : null;
    });
    this.processes();
    return this;
  }

  /** Children as the supervisor recorded them. */
  processes(): { readonly pid: number; readonly slot: number | null }[] {
    const list = JSON.parse(readFileSync(join(this.dataDir, 'processes.json'), 'utf8'));
    for (const { pid } of list) this.#seen.add(pid);
    return list;
  }

  gatewayPid(slot = 0): number {
    return this.processes().findLast((process) => process.slot === slot)!.pid;
  }

  controlPid(): number {
    return this.processes().findLast((process) => process.slot === null)!.pid;
  }

  postgresPid(databaseRoot = this.dataDir): number {
    const pid = Number(readFileSync(join(databaseRoot, 'postgres-18', 'postmaster.pid'), 'utf8').split('\n')[0]);
    this.#seen.add(pid);
    return pid;
  }

  /** Asks the gateway process that happens to accept the connection. */
  who(): Promise<{ pid: number; slot: number; session: string; reloads: number }> {
    return this.fetch('/who').then((text) => JSON.parse(text));
  }

  fetch(path: string): Promise<string> {
    return httpText({ host: '127.0.0.1', port: this.port, path });
  }

  /** Asks the control process, which asks the database. */
  control(): Promise<{ pid: number; directory: string; name: string }> {
    const socketPath = join(this.socketDir(), 'control.sock');
    return httpText({ socketPath, path: '/' }).then((text) => JSON.parse(text));
  }

  socketDir(): string {
    const { uid, gid } = { uid: process.getuid!(), gid: process.getgid!() };
    return runtimeDirectory({ dataDir: this.dataDir, env: {}, owner: { uid, gid } });
  }

  /** SIGKILL. Its children have its output, so that does not end with it. */
  async kill(): Promise<void> {
    const exited = once(this.supervisor, 'exit');
    this.supervisor.kill('SIGKILL');
    await exited;
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.supervisor.kill(signal);
    return await this.ended;
  }

  /** Processes that this test saw and that still live. */
  alive(): number[] {
    return [...this.#seen].filter((pid) => processIdentity(pid) !== null);
  }
}

/** For connection attempts that may be refused while a process is restarted. */
export function orNull<T>(attempt: Promise<T>): Promise<T | null> {
  return attempt.catch(() => null);
}

export interface StartedInstances {
  readonly start: (options: InstanceOptions) => Instance;
  readonly dataDir: (parent?: string) => string;
  /** With a database in it, copied from one that is made once: that is faster. */
  readonly dataDirWithDatabase: () => Promise<string>;
  /** Ends what is left, whatever the test did to it. */
  readonly cleanUp: () => Promise<void>;
  /** After all tests of the file. */
  readonly removeTemplate: () => Promise<void>;
}

export function instances(): StartedInstances {
  const started: Instance[] = [];
  const directories: string[] = [];
  let template: Promise<string> | null = null;
  const dataDir = (parent = '/tmp'): string => {
    mkdirSync(parent, { recursive: true });
    const directory = mkdtempSync(join(parent, 'cts-'));
    chmodSync(directory, 0o711);
    directories.push(directory);
    return join(directory, 'data');
  };
  return {
    dataDir,
    dataDirWithDatabase: async () => {
      template ??= makeTemplate();
      const directory = dataDir();
      mkdirSync(directory);
      spawnSync('cp', ['-a', join(await template, 'postgres-18'), directory]);
      return directory;
    },
    start: (options) => {
      const instance = new Instance(options);
      started.push(instance);
      return instance;
    },
    removeTemplate: async () => {
      if (template !== null) rmSync(await template, { recursive: true, force: true });
    },
    cleanUp: async () => {
      for (const instance of started.splice(0)) {
        if (instance.supervisor.exitCode === null && instance.supervisor.signalCode === null) await instance.end();
        for (const pid of instance.alive()) process.kill(pid, 'SIGKILL');
      }
      for (const directory of directories.splice(0)) {
        endPostgresBelow(directory);
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

async function makeTemplate(): Promise<string> {
  const directory = mkdtempSync('/tmp/cts-template-');
  const database = await startEmbeddedPostgres({
    dataDir: directory,
    socketDir: directory,
    log: silentLog,
    clock: systemClock,
  });
  await database.stop();
  return directory;
}

/** An account that the tests may run an instance as; null when they do not run as root. */
export function ordinaryAccount(): OrdinaryAccount | null {
  return process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : null;
}

export function ownedBy(account: OrdinaryAccount, directory: string): void {
  mkdirSync(directory, { recursive: true });
  chownSync(directory, account.uid, account.gid);
}

function endPostgresBelow(directory: string): void {
  const { stdout } = spawnSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' });
  for (const line of stdout.split('\n')) {
    if (line.includes(`-D ${directory}/`)) process.kill(Number.parseInt(line, 10), 'SIGKILL');
  }
}

function httpText(options: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ ...options, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
      response.once('error', reject);
    });
    request.once('error', reject);
    // Longer than the supervisor waits for metrics. Node's cluster forgets a connection that comes in while a port is closed.
    request.setTimeout(2_000, () => request.destroy(new Error('no answer within 2 s')));
  });
}
