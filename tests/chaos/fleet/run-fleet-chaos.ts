import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { until } from '../../support/until.ts';
import type { SeenRequest } from '../../support/upstream-server-protocol.ts';
import { checkBooks, type KnownCall } from '../check-books.ts';
import { readBooks } from '../read-books.ts';
import { seededRandom } from '../seeded-random.ts';
import { ChangeDriver } from './change-driver.ts';
import { ChaosFleet, MODEL, PRICES } from './chaos-fleet.ts';
import { Disturbances } from './disturbances.ts';
import { FleetObserver } from './fleet-observer.ts';
import { injectFault, type RestartTimes } from './inject-fault.ts';
import { KeyRing, type RingKey } from './key-ring.ts';
import { type Figure, tableOf } from './measured-table.ts';
import { describeFault, QUIET_MS, type Round, scheduleOf } from './schedule.ts';
import { unexplainedExits } from './unexplained-exits.ts';
import { Verdicts } from './verdicts.ts';
import { WorkerLoad } from './worker-load.ts';

export interface FleetChaosOptions {
  readonly seed: number;
  readonly rounds: number;
  /** What is measured may be this many times what is promised: 1, or more where other things run beside. */
  readonly tolerance: number;
  readonly say: (text: string) => void;
}

export interface FleetChaosResult {
  readonly violations: readonly string[];
  readonly figures: readonly Figure[];
}

/** Short enough for cuts of this run to exceed it. */
export const FENCE_MS = 15_000;
const CLOCK_SLACK_MS = 500;
/** What is promised. */
export const CURRENT_WITHIN_MS = 2_000;
export const REVOKED_P99_MS = 1_000;
export const BACKLOG_WITHIN_MS = 60_000;

const KEYS_AT_FIRST = 20;
/** After this a figure is not late any more but missing. */
const WAIT_MS = 60_000;
/** Of a worker that is late, beside the violation. */
const LOG_SHOWN_CHARACTERS = 4_000;
const PROBE_MS = FENCE_MS + 10_000;

/** One run: a fleet of real processes, a schedule of faults, and what was promised all the while. */
export async function runFleetChaos(options: FleetChaosOptions): Promise<FleetChaosResult> {
  const fleet = await ChaosFleet.start(FENCE_MS);
  try {
    return await new FleetRun(fleet, options).run();
  } finally {
    await fleet.stop();
  }
}

class FleetRun {
  readonly #fleet: ChaosFleet;
  readonly #options: FleetChaosOptions;
  readonly #disturbances = new Disturbances();
  readonly #verdicts: Verdicts;
  readonly #ring = new KeyRing();
  readonly #driver: ChangeDriver;
  readonly #observer: FleetObserver;
  readonly #loads: WorkerLoad[];
  readonly #restarts: RestartTimes = { gateway: [], control: [], supervisor: [] };
  readonly #currentMs: number[] = [];
  readonly #managementMs: number[] = [];
  #faults = 0;

  constructor(fleet: ChaosFleet, options: FleetChaosOptions) {
    const random = seededRandom(options.seed + 1);
    this.#fleet = fleet;
    this.#options = options;
    const bounds = { fenceMs: FENCE_MS, slackMs: CLOCK_SLACK_MS };
    this.#verdicts = new Verdicts(this.#disturbances, bounds, (text) =>
      options.say(`VIOLATION (seed ${options.seed}): ${text}`),
    );
    this.#observer = new FleetObserver(fleet, this.#verdicts);
    this.#driver = new ChangeDriver({
      ...{ fleet, ring: this.#ring, random },
      onRevoked: (key) => this.#probe(key),
      onProblem: (text) => this.#verdicts.violation('management', Date.now(), text),
    });
    this.#loads = [];
  }

  async run(): Promise<FleetChaosResult> {
    const { rounds, say, seed } = this.#options;
    await this.#begin();
    for (const [index, round] of scheduleOf(seed, rounds).entries()) {
      say(`round ${index + 1} of ${rounds}, ${round.faults.length} faults`);
      await this.#storm(round, index + 1);
      await this.#quiet();
    }
    return this.#end();
  }

  async #begin(): Promise<void> {
    while (this.#ring.made < KEYS_AT_FIRST) await this.#driver.makeKey();
    const random = seededRandom(this.#options.seed + 2);
    // A worker that has just started does not know what was made before.
    const end = this.#disturbances.begin([...this.#workerNames()], 'cut', 'the start', Date.now());
    for (const member of this.#fleet.workers)
      this.#loads.push(new WorkerLoad({ member, ring: this.#ring, model: MODEL, verdicts: this.#verdicts, random }));
    await this.#everywhere(await this.#newestRev());
    end(Date.now());
    this.#observer.run();
    this.#driver.run();
  }

  async #storm({ faults }: Round, number: number): Promise<void> {
    const startedAtMs = performance.now();
    const lines = new Map<string, Promise<void>>();
    await Promise.all(
      faults.map(async (scheduled) => {
        await delay(scheduled.atMs - (performance.now() - startedAtMs));
        const line = `round ${number}: ${describeFault(scheduled)}`;
        this.#options.say(line);
        this.#faults += 1;
        // At one place one thing after the other, when what was ended takes longer to come back than the schedule thinks.
        const place = placeOf(scheduled.fault);
        const before = lines.get(place) ?? Promise.resolve();
        const work = before.then(() =>
          injectFault(scheduled, {
            ...{ fleet: this.#fleet, disturbances: this.#disturbances, restarts: this.#restarts, line },
            onRestart: (name) => this.#restarted(name),
            onDatabaseEnd: () => this.#verdicts.databaseEnded(),
          }),
        );
        lines.set(
          place,
          work.catch(() => undefined),
        );
        await work.catch((error: unknown) =>
          this.#verdicts.violation('recovery', Date.now(), `${line}: ${String(error)}`),
        );
      }),
    );
  }

  /** Everything has healed: knowledge is current soon, and the admin takes changes that are soon in force. */
  async #quiet(): Promise<void> {
    const healedAtMs = performance.now();
    const { say, tolerance } = this.#options;
    try {
      const rev = await this.#newestRev();
      const slowest = await this.#everywhere(rev);
      const currentMs = Math.round(performance.now() - healedAtMs);
      this.#currentMs.push(currentMs);
      if (currentMs > CURRENT_WITHIN_MS * tolerance) {
        this.#verdicts.violation(
          'recovery',
          Date.now(),
          `${slowest} was current only ${currentMs} ms after everything had healed; it said:\n${this.#logsOf(slowest)}`,
        );
      }
      await until('a key can be made', () => this.#driver.makeKey(), WAIT_MS);
      this.#managementMs.push(Math.round(performance.now() - healedAtMs));
      say(`current ${currentMs} ms after healing; a key was made after ${this.#managementMs.at(-1)} ms`);
    } catch (error) {
      this.#verdicts.violation('recovery', Date.now(), `after healing: ${String(error)}`);
    }
    await delay(Math.max(0, QUIET_MS - (performance.now() - healedAtMs)));
  }

  async #end(): Promise<FleetChaosResult> {
    const fleet = this.#fleet;
    await this.#driver.stop();
    await Promise.all(this.#loads.map((load) => load.stop()));
    const stoppedAtMs = performance.now();
    const completed = this.#loads.flatMap((load) => load.completed);
    const seen = await this.#providersLedger();
    const books = async () => ({
      ...(await readBooks((list) => this.#query(list), MODEL)),
      completed,
      billed: seen.bills,
    });
    const problems = async () => checkBooks(await books(), PRICES);
    await until(
      'the books are right',
      async () => ((await problems()).length === 0 ? true : null),
      BACKLOG_WITHIN_MS,
    ).catch(() => null);
    const booksMs = Math.round(performance.now() - stoppedAtMs);
    for (const problem of await problems()) this.#verdicts.violation('books', Date.now(), `books: ${problem}`);
    for (const call of this.#loads.flatMap((load) => load.calls)) {
      const receivedAtMs = seen.receivedAtMs.get(call.id);
      if (receivedAtMs !== undefined) this.#verdicts.providerHad(call, receivedAtMs);
    }
    await this.#sameModels();
    await this.#observer.look();
    await this.#observer.stop();
    const { rows } = await books();
    for (const problem of await fleet.end()) this.#verdicts.violation('process', Date.now(), problem);
    const exits = [...fleet.members.values()].flatMap((member) => unexplainedExits(member));
    for (const exit of exits) this.#verdicts.violation('process', Date.now(), exit);
    const late = this.#verdicts.lateness(true);
    const p99 = late[Math.min(late.length - 1, Math.floor(late.length * 0.99))] ?? 0;
    if (p99 > REVOKED_P99_MS * this.#options.tolerance)
      this.#verdicts.violation(
        'revoked',
        Date.now(),
        `a revoked key was admitted by connected workers up to ${p99} ms (p99) after its commit`,
      );
    if (this.#verdicts.epochs.size > 1)
      this.#verdicts.violation(
        'position',
        Date.now(),
        `there are ${this.#verdicts.epochs.size} epochs, and no history was replaced`,
      );
    const figures = tableOf({
      verdicts: this.#verdicts,
      driver: this.#driver,
      restarts: this.#restarts,
      faults: this.#faults,
      currentMs: this.#currentMs,
      managementMs: this.#managementMs,
      keys: { made: this.#ring.made, revoked: this.#ring.revoked.length },
      books: { completed: completed.length, billed: seen.bills.length, rows, afterMs: booksMs },
      fenceMs: FENCE_MS,
    });
    return { violations: this.#verdicts.violations.map(({ text }) => text), figures };
  }

  *#workerNames() {
    for (const { name } of this.#fleet.workers) yield name;
  }

  #probe(key: RingKey): void {
    for (const load of this.#loads) load.probe(key, Date.now() + PROBE_MS);
  }

  #restarted(name: string): void {
    const load = this.#loads.find(({ worker }) => worker === name);
    if (load === undefined) return;
    load.restartAt(this.#observer.confirmedRev.get(this.#fleet.instanceIdOf(load.worker)) ?? 0);
  }

  async #newestRev(): Promise<number> {
    const [row] = await this.#fleet.database.query<{ rev: string }>('select rev from claviger.installation');
    return Number(row!.rev);
  }

  #logsOf(name: string): string {
    const member = this.#fleet.workers.find((worker) => worker.name === name);
    return member?.claviger.logs().slice(-LOG_SHOWN_CHARACTERS) ?? '';
  }

  /** Resolves with the last worker that had it. */
  async #everywhere(rev: number): Promise<string> {
    let behind: string[] = [];
    let last = '';
    await until(
      `revision ${rev} everywhere`,
      () => {
        behind = this.#loads.filter((load) => load.revSeen < rev).map(({ worker }) => worker);
        last = behind[0] ?? last;
        return behind.length === 0 ? true : null;
      },
      WAIT_MS,
    ).catch((error: Error) => {
      throw new Error(`${error.message} (${behind.join(', ')})`);
    });
    return last;
  }

  async #providersLedger(): Promise<{ bills: KnownCall[]; receivedAtMs: Map<string, number> }> {
    const calls = (await this.#fleet.upstream.requests()).filter(({ method }) => method === 'POST');
    return {
      bills: calls.map((seen) => ({
        id: idOf(seen),
        prompt: seen.billed.promptTokens,
        completion: seen.billed.completionTokens,
      })),
      receivedAtMs: new Map(calls.map((seen) => [idOf(seen), seen.receivedAtMs])),
    };
  }

  /** Every worker serves the models that the admin has confirmed, and no other ones. */
  async #sameModels(): Promise<void> {
    const key = this.#ring.valid[0]?.key ?? '';
    const expected = [MODEL, ...this.#driver.extraModels].sort().join(' ');
    for (const { claviger, name } of this.#fleet.workers) {
      const list = async (): Promise<string> => {
        const answer = await claviger.api('GET', '/v1/models', undefined, key);
        if (answer.status !== 200) return `${answer.status} ${answer.text}`;
        return answer
          .json()
          .data.map(({ id }: { id: string }) => id)
          .sort()
          .join(' ');
      };
      await until('the models are the same', async () => ((await list()) === expected ? true : null), 10_000).catch(
        async () =>
          this.#verdicts.violation('recovery', Date.now(), `${name} serves ${await list()}, the admin has ${expected}`),
      );
    }
  }

  async #query(statements: readonly string[]): Promise<Record<string, unknown>[][]> {
    const client = new pg.Client({ connectionString: this.#fleet.database.cluster.directUrl('litellm') });
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
}

function idOf({ bodyBase64 }: SeenRequest): string {
  return JSON.parse(Buffer.from(bodyBase64, 'base64').toString('utf8')).messages[0].content;
}

function placeOf(fault: Round['faults'][number]['fault']): string {
  if (fault.kind === 'database') return 'database';
  return fault.kind === 'link' ? `way of ${fault.link}` : fault.member;
}
