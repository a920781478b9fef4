import { mkdirSync } from 'node:fs';
import { systemClock } from '../../util/clock.ts';
import { redactShapes } from '../../util/redact.ts';
import { runtimeDirectory } from '../../util/runtime-directory.ts';

type Start = typeof import('../../storage/embedded/embedded-postgres.ts').startEmbeddedPostgres;

/** The embedded PostgreSQL, shared by all instances of the demo through its unix socket. */
export class DemoDatabase {
  readonly #dataDir: string;
  #running: Awaited<ReturnType<Start>> | null = null;
  #wanted = false;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  get pid(): number | null {
    return this.#running?.pid ?? null;
  }

  get isWanted(): boolean {
    return this.#wanted;
  }

  get exited(): Promise<unknown> {
    return this.#running?.exited ?? Promise.resolve();
  }

  /** Its URL, which stays the same. */
  async start(): Promise<string> {
    const { startEmbeddedPostgres } = await import('../../storage/embedded/embedded-postgres.ts');
    mkdirSync(this.#dataDir, { recursive: true, mode: 0o711 });
    const database = await startEmbeddedPostgres({
      dataDir: this.#dataDir,
      socketDir: runtimeDirectory({
        dataDir: this.#dataDir,
        env: process.env,
        owner: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
      }),
      log: SILENT,
      clock: systemClock,
    });
    this.#running = database;
    this.#wanted = true;
    void database.exited.then(() => {
      if (this.#running === database) this.#running = null;
    });
    return database.url;
  }

  /** immediate: as a crash. */
  async stop(mode: 'fast' | 'immediate'): Promise<void> {
    this.#wanted = false;
    await this.#running?.stop(mode);
  }
}

const nothing = (): void => undefined;
const SILENT: Parameters<Start>[0]['log'] = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => SILENT,
  hide: nothing,
  isEnabled: () => false,
  redact: redactShapes,
};
