import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processTree, type RunningProcess, runningProcesses } from './processes-table.ts';

/** The program that users start; built from `src` before the tests run. */
export const PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface ClavigerOptions {
  /** After `serve`; `--port` is added unless it is among them. */
  readonly args?: readonly string[];
  /** Added to a small clean environment; undefined removes a variable from it. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Data directory. Absent: a new one that is removed at the end. */
  readonly dir?: string;
  /** Working directory; the data directory when absent, so that no `.env` is found. */
  readonly cwd?: string;
  /** Node to run it with; this one when absent. */
  readonly node?: string;
  readonly nodeArgs?: readonly string[];
  /** Path that answers 200 when it is ready, with `SERVER_ROOT_PATH` if that is set. */
  readonly readinessPath?: string;
  readonly readyWithinMs?: number;
}

export interface ClavigerPids {
  readonly supervisor: number;
  readonly gateways: readonly number[];
  readonly control: number | null;
  readonly postgres: number | null;
}

export type ClavigerRole = 'supervisor' | 'gateway' | 'control' | 'postgres';

/** An answer of the running instance, its body read. */
export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  json(): ReturnType<typeof JSON.parse>;
}

/** A running instance. `stop` ends every process that belongs to it, also when some of them were killed before. */
export interface Claviger extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly masterKey: string;
  readonly dir: string;
  /** Standard output and error so far. */
  logs(): string;
  waitForLog(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  pids(): ClavigerPids;
  /** Sends a signal to the processes of a role (all gateway processes) and returns their ids. */
  kill(role: ClavigerRole, signal?: NodeJS.Signals): readonly number[];
  /** A call with the master key unless another one is given; `key` null: with none. */
  api(method: string, path: string, body?: unknown, key?: string | null): Promise<ApiAnswer>;
  /** `POST /key/generate`; returns the key. */
  generateKey(fields?: object): Promise<string>;
  waitUntilReady(timeoutMs?: number): Promise<void>;
  /** Resolves with the exit code of the supervisor. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
  /** SIGTERM, and SIGKILL to what is left after 20 s; the exit code of the supervisor. */
  stop(): Promise<number | NodeJS.Signals | null>;
}

const READY_MS = 30_000;
const STOP_MS = 20_000;
const POLL_MS = 25;
/** Kept of the output; the beginning is dropped. */
const LOG_CHARACTERS_MAX = 2_000_000;

/** Starts `claviger serve` on a free port and waits until it is ready; fails with its output when it does not get there. */
export async function startClaviger(options: ClavigerOptions = {}): Promise<Claviger> {
  const dir = options.dir ?? (await temporaryDirectory());
  const masterKey = options.env?.LITELLM_MASTER_KEY ?? `sk-test-${randomBytes(12).toString('hex')}`;
  const args = options.args ?? [];
  const portAt = args.indexOf('--port');
  const port = portAt < 0 ? await freePort() : Number(args[portAt + 1]);
  const env = cleanEnvironment({ LITELLM_MASTER_KEY: masterKey, CLAVIGER_DATA_DIR: dir, ...options.env });
  const child = spawn(
    options.node ?? process.execPath,
    [...(options.nodeArgs ?? []), PROGRAM, 'serve', ...args, ...(portAt < 0 ? ['--port', `${port}`] : [])],
    { cwd: options.cwd ?? dir, env, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const instance = new Instance(child, {
    port,
    masterKey,
    dir,
    removeDir: options.dir === undefined,
    tls: env.SSL_CERTFILE_PATH !== undefined,
    readinessPath: options.readinessPath ?? '/health/readiness',
  });
  try {
    await instance.waitUntilReady(options.readyWithinMs ?? READY_MS);
  } catch (error) {
    await instance.stop();
    throw error;
  }
  return instance;
}

/** Runs the program until it ends by itself: for commands, and for starts that must fail. */
export async function runClaviger(
  args: readonly string[],
  options: { env?: Readonly<Record<string, string | undefined>>; cwd?: string; timeoutMs?: number } = {},
): Promise<{ code: number | NodeJS.Signals | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: cleanEnvironment(options.env ?? {}),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const timer = setTimeout(() => killAll(processTree(child.pid ?? 0)), options.timeoutMs ?? READY_MS);
  const code = await new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve(signal ?? status));
  });
  clearTimeout(timer);
  return { code, stdout, stderr };
}

/**
 * A directory that the account of the embedded PostgreSQL can enter: it is another one when the tests run as root, and
 * then a database in a private directory would be moved out of it and left behind.
 */
export async function temporaryDirectory(prefix = 'claviger-test-'): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), prefix));
  await chmod(dir, 0o711);
  return dir;
}

/** A port that nobody listens on now; connecting to it is refused until somebody takes it. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

interface InstanceFacts {
  readonly port: number;
  readonly masterKey: string;
  readonly dir: string;
  readonly removeDir: boolean;
  readonly tls: boolean;
  readonly readinessPath: string;
}

class Instance implements Claviger {
  readonly url: string;
  readonly port: number;
  readonly masterKey: string;
  readonly dir: string;
  readonly exited: Promise<number | NodeJS.Signals | null>;
  readonly #child: ChildProcess;
  readonly #facts: InstanceFacts;
  readonly #supervisor: number;
  /** Every process that was ever seen as part of it; orphans have lost the parent that would lead to them. */
  readonly #known = new Map<number, string>();
  readonly #killAtExit = (): void => killAll(this.#alive());
  #log = '';
  #onLog: () => void = () => undefined;

  constructor(child: ChildProcess, facts: InstanceFacts) {
    this.#child = child;
    this.#facts = facts;
    this.#supervisor = child.pid ?? 0;
    this.url = `${facts.tls ? 'https' : 'http'}://127.0.0.1:${facts.port}`;
    this.port = facts.port;
    this.masterKey = facts.masterKey;
    this.dir = facts.dir;
    // Not "close": an orphan of a killed supervisor may hold the pipes open.
    this.exited = new Promise((resolve) => {
      child.once('error', () => resolve(null));
      child.once('exit', (code, signal) => resolve(signal ?? code));
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#log = (this.#log + text).slice(-LOG_CHARACTERS_MAX);
        this.#onLog();
      });
    }
    process.once('exit', this.#killAtExit);
  }

  logs(): string {
    return this.#log;
  }

  async waitForLog(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = pattern.exec(this.#log);
      if (found !== null) return found;
      if (Date.now() > deadline) throw this.#failure(`did not log ${pattern} within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now() + 1);
        this.#onLog = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  pids(): ClavigerPids {
    const tree = this.#alive();
    const withEntry = (entry: string): number[] =>
      tree.filter(({ command }) => command.includes(entry)).map(({ pid }) => pid);
    // The backends of PostgreSQL call themselves "postgres: ...".
    const postgres = tree.find(({ command }) => /(^|\/)postgres /.test(command) && !command.startsWith('postgres:'));
    return {
      supervisor: this.#supervisor,
      gateways: withEntry('gateway-process'),
      control: withEntry('control-process')[0] ?? null,
      postgres: postgres?.pid ?? null,
    };
  }

  kill(role: ClavigerRole, signal: NodeJS.Signals = 'SIGKILL'): readonly number[] {
    const pids = this.pids();
    const chosen = {
      supervisor: [pids.supervisor],
      gateway: pids.gateways,
      control: [pids.control],
      postgres: [pids.postgres],
    }[role].filter((pid) => pid !== null);
    if (chosen.length === 0) throw this.#failure(`has no ${role} process to kill`);
    for (const pid of chosen) process.kill(pid, signal);
    return chosen;
  }

  async api(method: string, path: string, body?: unknown, key: string | null = this.masterKey): Promise<ApiAnswer> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text, json: () => JSON.parse(text) };
  }

  async generateKey(fields: object = {}): Promise<string> {
    const answer = await this.api('POST', '/key/generate', fields);
    if (answer.status !== 200) throw this.#failure(`gave no key: ${answer.status} ${answer.text}`);
    return answer.json().key;
  }

  async waitUntilReady(timeoutMs = READY_MS): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    let last = 'no answer';
    for (;;) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw this.#failure(`ended with ${this.#child.signalCode ?? this.#child.exitCode} before it was ready`);
      }
      const status = await statusOf(this.url, this.#facts.readinessPath);
      this.#alive();
      if (status === 200) return;
      if (status !== null) last = `status ${status}`;
      if (Date.now() > deadline) throw this.#failure(`was not ready within ${timeoutMs} ms (${last})`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async stop(): Promise<number | NodeJS.Signals | null> {
    this.#alive();
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGTERM');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS);
    });
    await Promise.race([this.exited, late]);
    clearTimeout(timer);
    killAll(this.#alive());
    const code = await this.exited;
    process.off('exit', this.#killAtExit);
    if (this.#facts.removeDir) await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** What runs of it now: the supervisor's tree, and earlier members that have lost their parent. */
  #alive(): RunningProcess[] {
    const all = runningProcesses();
    const members = all.filter(({ pid, command }) => pid === this.#supervisor || this.#known.get(pid) === command);
    for (let i = 0; i < members.length; i++) {
      for (const process of all) {
        if (process.parent === members[i]?.pid && !members.includes(process)) members.push(process);
      }
    }
    for (const { pid, command } of members) this.#known.set(pid, command);
    return members;
  }

  #failure(what: string): Error {
    return new Error(`Claviger on port ${this.port} ${what}. Its output:\n${this.#log.slice(-4_000)}`);
  }
}

/** Nothing of the tests' own environment reaches the instance but what every program needs. */
function cleanEnvironment(own: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {
    HOST: '127.0.0.1',
    LITELLM_SALT_KEY: 'salt-of-the-tests',
    // Nearly all tests stop instances that nobody balances to.
    CLAVIGER_DRAIN_NOTICE: '0',
  };
  for (const name of ['PATH', 'HOME', 'TMPDIR', 'LANG', 'NODE_EXTRA_CA_CERTS', 'NODE_V8_COVERAGE']) {
    if (process.env[name] !== undefined) env[name] = process.env[name];
  }
  for (const [name, value] of Object.entries(own)) {
    if (value === undefined) delete env[name];
    else env[name] = value;
  }
  return env;
}

/** Null: nobody answers. The certificate is not checked, because readiness is all that is asked. */
function statusOf(url: string, path: string): Promise<number | null> {
  return new Promise((resolve) => {
    const send = url.startsWith('https:') ? requestHttps : requestHttp;
    const request = send(`${url}${path}`, { agent: false, rejectUnauthorized: false, timeout: 2_000 }, (answer) => {
      answer.resume();
      answer.once('close', () => resolve(answer.statusCode ?? null));
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(null));
    request.end();
  });
}

function killAll(processes: readonly RunningProcess[]): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
}
