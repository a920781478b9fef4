import type { Log } from '../../../observe/log.ts';
import type { Loan, Want } from '../lender.ts';
import { NO_LOAN } from '../lender.ts';
import type { Meter } from '../meter.ts';
import type { RegionLender } from '../rate-limits.ts';
import { AHEAD_SECONDS } from '../window-counter.ts';
import { Breaker } from './breaker.ts';
import type { RegionScript } from './region-scripts.ts';

/** How long Redis may take; a call that would be refused waits at most so long, and is then decided without it. */
export const REDIS_WAIT_MS = 50;
/** A sign of life, and the probe of an open breaker. */
export const BEAT_MS = 1_000;
/** A process that gave none for so long is gone, and with it its slots and its instance's share. */
export const ALIVE_MS = 10_000;
/** After Redis was away, until all processes have told it what they admitted meanwhile. */
export const REPORT_MS = 2 * BEAT_MS;
/** Meters whose use is remembered while Redis is away; of further ones it is not told. */
const UNREPORTED_MAX = 100_000;

/** Runs a script in Redis. Rejects when there is no connection. */
export type RunScript = (
  script: RegionScript,
  keys: readonly string[],
  values: readonly (string | number)[],
) => Promise<unknown>;

export interface RegionTokensOptions {
  readonly run: RunScript;
  readonly region: string;
  readonly instanceId: string;
  /** Of this life of this process. */
  readonly processId: string;
  readonly windowSeconds: number;
  readonly monotonicMs: () => number;
  readonly setTimer: (callback: () => void, delayMs: number) => () => void;
  /** Live instances of the region as the fleet knows them; the larger of this and what Redis said last is believed. */
  readonly liveInstances: () => number;
  /** What was borrowed from whoever lent until now is void. */
  readonly onTrustChanged: () => void;
  readonly log: Log;
}

/**
 * What all instances of a region share, kept in Redis. It is trusted when everybody has kept it up to date for long enough: for a whole window since
 * its data began (it may have been emptied), and until all have reported after it was away. When not, each instance has its share of each limit.
 */
export class RegionTokens implements RegionLender {
  readonly waitMs = REDIS_WAIT_MS;
  /** Questions and reports that failed or came too late. */
  failures = 0;
  readonly #options: RegionTokensOptions;
  readonly #breaker = new Breaker();
  readonly #unreported = new Map<string, number>();
  #trusted = false;
  /** Not before. */
  #trustAtMs = Number.POSITIVE_INFINITY;
  #instances = 1;
  /** When its data began, as it says. */
  #birth = '';
  #cancelBeat: () => void = () => {};
  #stopped = false;

  constructor(options: RegionTokensOptions) {
    this.#options = options;
    // Until the first answer it counts as away.
    while (!this.#breaker.failed());
  }

  get trusted(): boolean {
    return this.#trusted;
  }

  get isOpen(): boolean {
    return this.#breaker.isOpen;
  }

  get liveInstances(): number {
    return Math.max(1, this.#instances, this.#options.liveInstances());
  }

  /** Gives signs of life from now on. Resolves after the first, whether or not Redis was there. */
  async start(): Promise<void> {
    await this.#beat();
    const next = (): void => {
      this.#cancelBeat = this.#options.setTimer(() => void this.#beat().then(() => !this.#stopped && next()), BEAT_MS);
    };
    next();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelBeat();
    await this.#inTime('leave', [this.#key('processes'), this.#key('instances')], [this.#options.processId, '']).catch(
      () => {},
    );
  }

  ask({ meter, limit, need, want }: Want, done: (loan: Loan) => void): void {
    if (this.#breaker.isOpen) {
      done({ ...NO_LOAN, remaining: want });
      return;
    }
    const { windowSeconds, processId } = this.#options;
    const terms = [limit, need, want, this.liveInstances];
    const take = (loan: Loan): void => {
      // Its data began anew.
      if (loan.granted < 0) this.#distrust();
      done(loan.granted < 0 ? { ...NO_LOAN, remaining: want } : loan);
    };
    const birth = this.#birth;
    const answer =
      meter.kind === 'slots'
        ? this.#inTime(
            'take_slots',
            [this.#keyOf(meter), this.#key('birth'), this.#key('processes')],
            [birth, processId, ALIVE_MS, ...terms],
            take,
          )
        : this.#inTime(
            'take',
            [this.#keyOf(meter), this.#key('birth')],
            [birth, windowSeconds, AHEAD_SECONDS, ...terms],
            take,
          );
    // Who waits has a time-out of its own; what comes later is received all the same.
    answer.catch(() => {});
  }

  giveBack(meter: Meter, second: number, amount: number): void {
    if (meter.kind === 'slots') this.#tell('back_slots', meter, [this.#options.processId, amount]);
    else this.#tell('back', meter, [second, amount]);
  }

  charge(meter: Meter, amount: number): void {
    if (this.#breaker.isOpen) this.#remember(meter.key, amount);
    else this.#tell('charge', meter, [this.#options.windowSeconds, AHEAD_SECONDS, amount], amount);
  }

  claim(meter: Meter, slots: number): void {
    this.#tell('claim_slots', meter, [this.#options.processId, slots]);
  }

  #tell(script: RegionScript, meter: Meter, values: readonly (string | number)[], charged = 0): void {
    if (this.#breaker.isOpen) return;
    this.#inTime(script, [this.#keyOf(meter)], values).catch(() => {
      // Perhaps it was counted and perhaps not: counted twice is the safe mistake.
      if (charged > 0) this.#remember(meter.key, charged);
    });
  }

  #remember(key: string, amount: number): void {
    if (this.#unreported.size < UNREPORTED_MAX || this.#unreported.has(key))
      this.#unreported.set(key, (this.#unreported.get(key) ?? 0) + amount);
  }

  async #beat(): Promise<void> {
    const { instanceId, processId, windowSeconds, monotonicMs, log } = this.#options;
    try {
      const answer = (await this.#inTime(
        'beat',
        [this.#key('processes'), this.#key('instances'), this.#key('birth')],
        [processId, instanceId, ALIVE_MS],
      )) as unknown[];
      const [birth = '', ageMs = 0, instances = 1] = answer;
      this.#birth = String(birth);
      const nowMs = monotonicMs();
      if (this.#trustAtMs === Number.POSITIVE_INFINITY) this.#trustAtMs = nowMs + REPORT_MS;
      const wholeWindowMs = (windowSeconds + 1 + AHEAD_SECONDS) * 1_000;
      // Data that began a moment ago does not know all that live.
      const isYoung = Number(ageMs) < wholeWindowMs;
      this.#instances = isYoung ? Math.max(this.#instances, Number(instances)) : Number(instances);
      if (isYoung) this.#trustAtMs = Math.max(this.#trustAtMs, nowMs + wholeWindowMs - Number(ageMs));
      this.#report();
      this.#trust(nowMs >= this.#trustAtMs);
    } catch (error) {
      if (!this.#stopped && this.#trusted) log.debug({ error }, 'Redis did not answer in time');
    }
  }

  /** What was admitted while it was away counts as of now. */
  #report(): void {
    const { windowSeconds } = this.#options;
    const all = [...this.#unreported];
    this.#unreported.clear();
    for (const [key, amount] of all) {
      this.#inTime('charge', [this.#key(key)], [windowSeconds, AHEAD_SECONDS, amount]).catch(() =>
        this.#remember(key, amount),
      );
    }
  }

  /** One Redis may serve several regions: what they count has nothing to do with each other. */
  #key(name: string): string {
    return `claviger:limits:${this.#options.region}:${name}`;
  }

  #keyOf(meter: Meter): string {
    return this.#key(meter.key);
  }

  /** Rejects after `REDIS_WAIT_MS`. `late` gets the loan whenever it comes. */
  #inTime(
    script: RegionScript,
    keys: readonly string[],
    values: readonly (string | number)[],
    late?: (loan: Loan) => void,
  ): Promise<unknown> {
    const { run, setTimer } = this.#options;
    return new Promise((resolve, reject) => {
      let over = false;
      const fail = (error: unknown): void => {
        if (over) return;
        over = true;
        cancel();
        this.#failed();
        reject(error);
      };
      const cancel = setTimer(() => fail(new Error(`Redis did not answer within ${REDIS_WAIT_MS} ms`)), REDIS_WAIT_MS);
      run(script, keys, values).then((answer) => {
        late?.(loanOf(answer));
        if (over) return;
        over = true;
        cancel();
        this.#succeeded();
        resolve(answer);
      }, fail);
    });
  }

  #succeeded(): void {
    if (this.#breaker.succeeded())
      this.#options.log.info({}, 'Redis answers; limits are shared by the instances of the region again soon');
  }

  #failed(): void {
    this.failures++;
    if (!this.#breaker.failed()) return;
    this.#distrust();
    if (!this.#stopped)
      this.#options.log.warn(
        { liveInstances: this.liveInstances },
        'Redis does not answer: until it does, each instance admits its share of each limit',
      );
  }

  #distrust(): void {
    this.#trustAtMs = Number.POSITIVE_INFINITY;
    this.#trust(false);
  }

  #trust(trusted: boolean): void {
    if (trusted === this.#trusted) return;
    this.#trusted = trusted;
    this.#options.onTrustChanged();
  }
}

function loanOf(answer: unknown): Loan {
  const [granted = 0, second = 0, remaining = 0, resetSeconds = 1] = (answer as unknown[]).map(Number);
  return { granted, second, remaining, resetSeconds };
}
