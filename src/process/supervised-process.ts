import type { ChildProcess } from 'node:child_process';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../util/clock.ts';
import type { Boot, ToChild, ToSupervisor } from './messages.ts';
import { countFailure, restartDelayMs } from './restart-backoff.ts';

export interface SupervisedProcessOptions {
  /** For people: `gateway process 0`. */
  readonly name: string;
  readonly fork: () => ChildProcess;
  /** Made anew at each start. May take its time (the control process waits for its database). */
  readonly boot: () => Promise<Boot>;
  /**
   * Send `Boot` only when the child has said `hello`. Node keeps messages for a forked process until it listens, and drops
   * those for a cluster worker.
   */
  readonly helloFirst: boolean;
  /** A start that takes longer counts as failed; null: it may take for ever. */
  readonly readyTimeoutMs: number | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly onStart?: (child: ChildProcess) => void;
  readonly onReady?: () => void;
  readonly onMessage?: (message: ToSupervisor) => void;
  /** It was never ready and says, or shows, that it can not run. Called at most once; it is not started again by itself. */
  readonly onCannotRun: (sentence: string) => void;
}

/**
 * One child that is kept alive: started, given its `Boot`, watched, and started again with back-off when it dies, until it
 * is drained or killed.
 */
export class SupervisedProcess {
  readonly #options: SupervisedProcessOptions;
  #child: ChildProcess | null = null;
  /** The child has its `Boot`, and so listens for messages. */
  #booted = false;
  #ready = false;
  #everReady = false;
  #readyAtMs = 0;
  #failures = 0;
  #starts = 0;
  #ending = false;
  #fatal: { readonly message: string; readonly retry: boolean } | null = null;
  #readyTimer: NodeJS.Timeout | null = null;
  #restartTimer: NodeJS.Timeout | null = null;
  #ended: (() => void) | null = null;

  constructor(options: SupervisedProcessOptions) {
    this.#options = options;
  }

  get ready(): boolean {
    return this.#ready;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  start(): void {
    const { fork, helloFirst, log, name, onStart, readyTimeoutMs } = this.#options;
    this.#starts++;
    this.#fatal = null;
    const child = fork();
    this.#child = child;
    this.#booted = false;
    child.on('message', (message) => this.#receive(child, message as ToSupervisor));
    child.on('error', (error) => {
      // It never came to life (too many processes, no memory): then there is no `exit`.
      if (child.pid === undefined) this.#exited(error.message);
      else log.warn({ err: error }, `${name}: ${error.message}`);
    });
    child.once('exit', (code, signal) => this.#exited(signal ?? `exit code ${code}`));
    if (readyTimeoutMs !== null) this.#readyTimer = setTimeout(() => this.#notReady(child), readyTimeoutMs);
    onStart?.(child);
    if (!helloFirst) this.#sendBoot(child);
  }

  #sendBoot(child: ChildProcess): void {
    void this.#options.boot().then((boot) => {
      if (child !== this.#child || this.#ending) return;
      this.#booted = true;
      this.send(boot);
    });
  }

  send(message: ToChild): void {
    if (this.#child?.connected) this.#child.send(message, () => {});
  }

  /** Asks it to finish, serving on for `noticeMs`; kills it when it has not after `timeoutMs`. Resolves when it is gone. */
  async drain(timeoutMs: number, noticeMs = 0): Promise<void> {
    const { log, name } = this.#options;
    const gone = this.#end();
    // Without a `Boot` it has nothing to finish, and a cluster worker may not even get the message.
    if (this.#booted) this.send({ type: 'drain', noticeMs });
    else this.#child?.kill('SIGKILL');
    const timer = setTimeout(() => {
      log.warn({ pid: this.pid }, `${name} did not finish within ${Math.round(timeoutMs / 1000)} s and is killed`);
      this.#child?.kill('SIGKILL');
    }, timeoutMs);
    await gone;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    const gone = this.#end();
    this.#child?.kill('SIGKILL');
    await gone;
  }

  /** No more restarts from here. Resolves when the child, if there is one, has exited. */
  #end(): Promise<void> {
    this.#ending = true;
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    if (this.#child === null) return Promise.resolve();
    const before = this.#ended;
    return new Promise((resolve) => {
      this.#ended = () => {
        before?.();
        resolve();
      };
    });
  }

  #receive(child: ChildProcess, message: ToSupervisor): void {
    if (child !== this.#child) return;
    if (message.type === 'hello') {
      if (this.#options.helloFirst) this.#sendBoot(child);
    } else if (message.type === 'ready') {
      this.#clearReadyTimer();
      this.#ready = true;
      this.#everReady = true;
      this.#readyAtMs = this.#options.clock.monotonicMs();
      this.#options.onReady?.();
    } else if (message.type === 'fatal') {
      this.#fatal = message;
    } else {
      this.#options.onMessage?.(message);
    }
  }

  #notReady(child: ChildProcess): void {
    if (child !== this.#child) return;
    const { name, readyTimeoutMs } = this.#options;
    const seconds = Math.round((readyTimeoutMs ?? 0) / 1000);
    this.#fatal = { message: `The ${name} was not ready within ${seconds} s.`, retry: false };
    child.kill('SIGKILL');
  }

  #exited(how: string): void {
    const { clock, log, name, onCannotRun, random } = this.#options;
    const healthyMs = this.#ready ? clock.monotonicMs() - this.#readyAtMs : 0;
    this.#clearReadyTimer();
    this.#child = null;
    this.#ready = false;
    if (this.#ending) {
      this.#ended?.();
      return;
    }
    // A process that serves from disk may be ready before it learns that it can not run: its first life counts as the start.
    const isStart = !this.#everReady || this.#starts === 1;
    if (this.#fatal !== null && !this.#fatal.retry && isStart) {
      this.#ending = true;
      onCannotRun(this.#fatal.message);
      return;
    }
    this.#failures = countFailure(this.#failures, healthyMs);
    const delayMs = restartDelayMs(this.#failures, random());
    const reason = this.#fatal === null ? how : this.#fatal.message;
    log.warn({ reason, delayMs }, `${name} ended and is started again`);
    this.#restartTimer = setTimeout(() => this.start(), delayMs);
  }

  #clearReadyTimer(): void {
    if (this.#readyTimer !== null) clearTimeout(this.#readyTimer);
    this.#readyTimer = null;
  }
}
