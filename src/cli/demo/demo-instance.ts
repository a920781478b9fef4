import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatorError } from '../../util/operator-error.ts';
import { call } from './call.ts';

export interface DemoInstanceOptions {
  readonly name: string;
  readonly port: number;
  /** After `claviger serve`. */
  readonly args: readonly string[];
  readonly env: () => Readonly<Record<string, string>>;
  /** Working directory. */
  readonly dir: string;
  /** Takes all that it prints. */
  readonly logPath: string;
  /** The program file, and what Node needs to run it. */
  readonly program: readonly string[];
}

/** Starting on a machine that starts all the others at the same moment. */
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 50;
/** From SIGTERM on; then it is killed. */
const STOP_TIMEOUT_MS = 20_000;

/** A `claviger serve` of its own, in a process group of its own. */
export class DemoInstance {
  readonly name: string;
  readonly url: string;
  readonly logPath: string;
  readonly #options: DemoInstanceOptions;
  #child: ChildProcess | null = null;
  #exited: Promise<void> = Promise.resolve();
  #wanted = false;

  constructor(options: DemoInstanceOptions) {
    this.#options = options;
    this.name = options.name;
    this.url = `http://127.0.0.1:${options.port}`;
    this.logPath = options.logPath;
  }

  /** The id of the process group; null while it does not run. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Resolves when it has ended, whoever ended it. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** False: it ended although nobody here told it to. */
  get isWanted(): boolean {
    return this.#wanted;
  }

  /** Resolves when it answers; throws `OperatorError` when it ends before, or takes too long. */
  async start(): Promise<void> {
    const { args, dir, env, logPath, port, program } = this.#options;
    const log = openSync(logPath, 'a', 0o600);
    this.#wanted = true;
    // A group of its own: Ctrl-C at the terminal reaches the demo, which ends everything in order.
    const child = spawn(process.execPath, [...program, 'serve', '--port', `${port}`, ...args], {
      cwd: dir,
      env: env(),
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      const ended = (): void => {
        if (this.#child === child) this.#child = null;
        resolve();
      };
      child.once('exit', ended);
      child.once('error', ended);
    });
    await this.#untilReady();
  }

  /** SIGKILL to all its processes at once, as if its machine had lost power. */
  async kill(): Promise<void> {
    this.#wanted = false;
    this.#signal('SIGKILL');
    await this.#exited;
  }

  async stop(): Promise<void> {
    this.#wanted = false;
    const pid = this.pid;
    if (pid === null) return;
    // Only the supervisor: it ends the others in order.
    process.kill(pid, 'SIGTERM');
    const timer = setTimeout(() => this.#signal('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  async #untilReady(): Promise<void> {
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    while ((await call('GET', `${this.url}/health/readiness`, null)).status !== 200) {
      if (this.#child === null) throw this.#failure('ended before it was ready');
      if (performance.now() > deadlineMs) throw this.#failure(`was not ready within ${READY_TIMEOUT_MS / 1_000} s`);
      await delay(READY_POLL_MS);
    }
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.pid;
    if (pid === null) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }

  #failure(what: string): OperatorError {
    return new OperatorError(`The ${this.name} ${what}. What it said is in ${this.logPath}.`);
  }
}
