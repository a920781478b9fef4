import type { Log } from '../observe/log.ts';
import { type EmbeddedPostgres, PostgresDoesNotStart } from '../storage/embedded/embedded-postgres.ts';
import type { Clock } from '../util/clock.ts';
import { countFailure, restartDelayMs } from './restart-backoff.ts';

export interface DatabaseKeeperOptions {
  /** Gives up when `signal` aborts. */
  readonly startDatabase: (signal: AbortSignal) => Promise<EmbeddedPostgres>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** It never ran and can not; called at most once, and nothing more is tried. */
  readonly onCannotRun: (error: unknown) => void;
}

/** Keeps the embedded PostgreSQL running: starts it, and starts it again with back-off when it dies. */
export class DatabaseKeeper {
  /** The connection string, once PostgreSQL ran for the first time. */
  readonly url: Promise<string>;
  readonly #options: DatabaseKeeperOptions;
  readonly #stopping = new AbortController();
  #resolveUrl: (url: string) => void = () => {};
  #everRan = false;
  #database: EmbeddedPostgres | null = null;
  #running: Promise<void> = Promise.resolve();
  #starts = 0;

  constructor(options: DatabaseKeeperOptions) {
    this.#options = options;
    this.url = new Promise((resolve) => {
      this.#resolveUrl = resolve;
    });
  }

  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  get pid(): number | undefined {
    return this.#database?.pid;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Waits for a start that is under way (it is bounded), then stops PostgreSQL. */
  async stop(mode: 'fast' | 'immediate'): Promise<void> {
    this.#stopping.abort();
    await this.#database?.stop(mode);
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, log, onCannotRun, random } = this.#options;
    const stopping = this.#stopping.signal;
    let failures = 0;
    while (!stopping.aborted) {
      const startedMs = clock.monotonicMs();
      const reason = await this.#runOnce().catch((error: unknown) => {
        // A PostgreSQL that can not start right now (disk full, long recovery) does not keep the gateway from serving what
        // it knows; one that can not start at all is for the operator, who is looking at this moment.
        if (!this.#everRan && !(error instanceof PostgresDoesNotStart)) {
          this.#stopping.abort();
          onCannotRun(error);
        }
        return error instanceof Error ? error.message : String(error);
      });
      if (stopping.aborted) return;
      failures = countFailure(failures, clock.monotonicMs() - startedMs);
      const delayMs = restartDelayMs(failures, random());
      log.warn({ reason, delayMs }, 'embedded PostgreSQL ended and is started again');
      await sleep(delayMs, stopping);
    }
  }

  /** Until PostgreSQL has ended, with the reason. */
  async #runOnce(): Promise<string> {
    this.#starts++;
    const database = await this.#options.startDatabase(this.#stopping.signal);
    this.#everRan = true;
    this.#database = database;
    this.#resolveUrl(database.url);
    if (this.#stopping.signal.aborted) await database.stop('fast');
    const reason = await database.exited;
    this.#database = null;
    return reason;
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
