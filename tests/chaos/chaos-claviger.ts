import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { stringify } from 'yaml';
import { type Claviger, freePort, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { runningProcesses } from '../support/processes-table.ts';
import { until } from '../support/until.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import type { Books, KnownCall, Prices } from './check-books.ts';
import { readBooks } from './read-books.ts';

export const GATEWAYS = 2;
export const MODEL = 'chaos';
export const PRICES: Prices = { promptNano: 2_500, completionNano: 10_000 };
const NANO_PER_DOLLAR = 1e9;
const MASTER_KEY = 'sk-master-of-the-chaos-tests';
const RESTART_MS = 60_000;

/** A standalone instance with two gateway processes, its provider in another process, and the books of both. */
export class ChaosClaviger {
  /** The one that runs now; another one after the supervisor was killed. */
  claviger: Claviger;
  readonly #dir: string;
  readonly #start: () => Promise<Claviger>;
  readonly #upstream: ChildProcess;
  /** Instances whose supervisor was killed; their gateway processes finish their open requests. */
  readonly #former: Claviger[] = [];

  private constructor(dir: string, start: () => Promise<Claviger>, upstream: ChildProcess, claviger: Claviger) {
    this.#dir = dir;
    this.#start = start;
    this.#upstream = upstream;
    this.claviger = claviger;
  }

  static async start(): Promise<ChaosClaviger> {
    const dir = await temporaryDirectory('claviger-chaos-');
    const data = join(dir, 'data');
    await mkdir(data, { mode: 0o711 });
    const upstream = fork(fileURLToPath(new URL('./ledger-upstream.mjs', import.meta.url)), [ledgerIn(dir)]);
    try {
      const [{ port: upstreamPort }] = (await once(upstream, 'message')) as [{ port: number }];
      const config = join(dir, 'config.yaml');
      await writeFile(config, stringify({ model_list: [model(upstreamPort)] }));
      const port = await freePort();
      const start = (): Promise<Claviger> =>
        startClaviger({
          dir,
          args: ['--config', config, '--num_workers', `${GATEWAYS}`, '--port', `${port}`],
          env: { LITELLM_MASTER_KEY: MASTER_KEY, CLAVIGER_DATA_DIR: data },
          readyWithinMs: RESTART_MS,
        });
      const claviger = await start();
      await waitUntilCurrent(claviger, GATEWAYS);
      return new ChaosClaviger(dir, start, upstream, claviger);
    } catch (error) {
      upstream.kill('SIGKILL');
      await rm(dir, { recursive: true, force: true, maxRetries: 5 });
      throw error;
    }
  }

  /** After SIGKILL of the supervisor: again on the same data directory. */
  async startAgain(): Promise<void> {
    this.#former.push(this.claviger);
    this.claviger = await this.#start();
  }

  /** SIGKILL of one gateway process, with the other one left to serve. */
  killGateway(random: () => number): number {
    const { gateways } = this.claviger.pids();
    const pid = gateways[Math.floor(random() * gateways.length)];
    if (pid === undefined) throw new Error('there is no gateway process to kill');
    process.kill(pid, 'SIGKILL');
    return pid;
  }

  /**
   * Of the embedded PostgreSQL; null when it does not run. One that outlived its supervisor has lost its place in the tree,
   * so its own file is asked, and the command as well: while a start is prepared the file names another process.
   */
  postgresPid(): number | null {
    let pid: number;
    try {
      pid = Number(this.#postmasterFile()[0]);
    } catch {
      return null;
    }
    const process = runningProcesses().find((running) => running.pid === pid);
    return process !== undefined && /(^|\/)postgres /.test(process.command) ? pid : null;
  }

  /** All processes are there, know the newest revision, have nothing open, and the database has confirmed everything. */
  async waitUntilQuiet(timeoutMs = RESTART_MS): Promise<void> {
    await until('the processes are there again', () => this.#allThere(), timeoutMs);
    // A connection that is kept open may lead to a process that was killed.
    const current = (): Promise<true | null> =>
      waitUntilCurrent(this.claviger, GATEWAYS).then(
        () => true,
        () => null,
      );
    await until('the gateway processes know the newest revision', current, timeoutMs);
    await until(
      'nothing is open and nothing waits to be shipped',
      async () => {
        const { text } = await this.claviger.api('GET', '/metrics');
        const open = sumOf(text, 'claviger_usage_log_open_calls');
        return open === 0 && sumOf(text, 'claviger_usage_log_backlog_records') === 0 ? true : null;
      },
      timeoutMs,
    );
  }

  /** Calls that the provider billed. A line that a kill has cut can not be there: nobody kills the provider. */
  async billed(): Promise<KnownCall[]> {
    const text = await readFile(ledgerIn(this.#dir), 'utf8').catch(() => '');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as KnownCall);
  }

  async books(completed: readonly KnownCall[]): Promise<Books> {
    const books = await readBooks((statements) => this.query(statements), MODEL);
    return { ...books, completed, billed: await this.billed() };
  }

  /** Straight from the embedded PostgreSQL, all statements in one snapshot. */
  async query(statements: readonly string[]): Promise<Record<string, unknown>[][]> {
    const [, , , port, host] = this.#postmasterFile();
    const client = new pg.Client({ host: host ?? '', port: Number(port), user: 'claviger', database: 'postgres' });
    await client.connect();
    try {
      await client.query('begin isolation level repeatable read read only');
      const answers: Record<string, unknown>[][] = [];
      for (const statement of statements) answers.push((await client.query(statement)).rows);
      return answers;
    } finally {
      await client.end();
    }
  }

  async stop(): Promise<void> {
    await this.claviger.stop();
    for (const claviger of this.#former) await claviger.stop();
    this.#upstream.kill('SIGKILL');
    await rm(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #allThere(): true | null {
    const { control, gateways } = this.claviger.pids();
    return gateways.length === GATEWAYS && control !== null && this.postgresPid() !== null ? true : null;
  }

  #postmasterFile(): string[] {
    return readFileSync(join(this.#dir, 'data', 'postgres-18', 'postmaster.pid'), 'utf8').split('\n');
  }
}

function model(upstreamPort: number): object {
  return {
    model_name: MODEL,
    litellm_params: {
      model: `openai/${MODEL}`,
      api_base: `http://127.0.0.1:${upstreamPort}/v1`,
      api_key: 'sk-of-the-provider',
      input_cost_per_token: PRICES.promptNano / NANO_PER_DOLLAR,
      output_cost_per_token: PRICES.completionNano / NANO_PER_DOLLAR,
    },
  };
}

function ledgerIn(dir: string): string {
  return join(dir, 'ledger.jsonl');
}

/** Of all series of a gauge; NaN when there is none, so that a renamed gauge is never taken for zero. */
function sumOf(exposition: string, name: string): number {
  const values = [...exposition.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))];
  return values.length === 0 ? Number.NaN : values.reduce((sum, [, value]) => sum + Number(value), 0);
}
