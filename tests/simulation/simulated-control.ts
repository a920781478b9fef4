import type { FenceTimes } from '../../src/domain/fence.ts';
import type { FenceClass } from '../../src/domain/virtual-key.ts';
import { ElapsedClock } from '../../src/util/elapsed-clock.ts';
import type { EventQueue } from './event-queue.ts';
import { SimulatedMachine } from './simulated-machine.ts';

/** Ways to be wrong; each must be found out by the simulation. */
export const MUTANTS = [
  'heartbeat stamped on receipt',
  'age of the database ignored',
  'witness before its revision is applied',
  'a read instead of a committed write',
  'suspension of the machine not noticed',
  'time down not counted after a restart',
  'witness file believed without its revision on disk',
] as const;
export type Mutant = (typeof MUTANTS)[number];

export const SIMULATED_FENCES: FenceTimes = { normal: 20_000, strict: 6_000 };
export const WRITE_INTERVAL_MS = SIMULATED_FENCES.strict / 4;

export interface Reply {
  readonly epoch: 1;
  readonly rev: number;
  readonly dbAgeMs: number;
  readonly witnessRev: number;
  readonly witnessAgeMs: number;
}

/** 5 % up to 12 seconds. */
export function heavyTailed(random: () => number): number {
  return random() < 0.05 ? random() * 12_000 : 1 + random() * 40;
}

export class SimulatedDatabase {
  readonly #queue: EventQueue;
  /** Commit times of revisions 1, 2, ...; and those of each class, with their revisions. */
  readonly #committedAtMs: number[] = [];
  readonly #ofClass: Readonly<Record<FenceClass, { readonly rev: number; readonly atMs: number }[]>> = {
    normal: [],
    strict: [],
  };

  constructor(queue: EventQueue) {
    this.#queue = queue;
  }

  /** A key of that class is blocked. */
  commit(fence: FenceClass): void {
    const rev = this.#committedAtMs.push(this.#queue.nowMs);
    this.#ofClass[fence].push({ rev, atMs: this.#queue.nowMs });
  }

  /** Newest revision at that time. */
  revAt(atMs: number): number {
    let low = 0;
    let high = this.#committedAtMs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#committedAtMs[middle]! <= atMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** When the first key of that class behind `rev` was blocked; null: there is none. */
  oldestBehind(rev: number, fence: FenceClass): number | null {
    const blocked = this.#ofClass[fence];
    let low = 0;
    let high = blocked.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (blocked[middle]!.rev <= rev) low = middle + 1;
      else high = middle;
    }
    return blocked[low]?.atMs ?? null;
  }
}

/** A control process: polls, writes its heartbeat, pushes and answers, as `ChangeTail`, `Heartbeat` and `createAnswerPing` do. */
export class SimulatedControl {
  readonly machine: SimulatedMachine;
  rev = 0;
  /** Its way to the database is cut. */
  cutOff = false;
  /** Since when the database that it reaches is an old primary, which hears of no commit and commits nothing. */
  isolatedAtMs: number | null = null;
  readonly #queue: EventQueue;
  readonly #random: () => number;
  readonly #database: SimulatedDatabase;
  readonly #mutant: Mutant | null;
  readonly #readsOnly: boolean;
  readonly #onRead: (control: SimulatedControl) => void;
  readonly #clock: ElapsedClock;
  #readAtMs: number | null = null;
  #beat: { readonly rev: number; readonly readAtMs: number } | null = null;

  constructor(
    queue: EventQueue,
    random: () => number,
    database: SimulatedDatabase,
    mutant: Mutant | null,
    readsOnly: boolean,
    onRead: (control: SimulatedControl) => void,
  ) {
    this.#queue = queue;
    this.#random = random;
    this.#database = database;
    this.#mutant = mutant;
    this.#readsOnly = readsOnly;
    this.#onRead = onRead;
    this.machine = new SimulatedMachine(queue, random);
    this.#clock = new ElapsedClock(this.machine);
  }

  start(): void {
    this.#poll(() => {});
    this.#heartbeat();
  }

  reply(): Reply | null {
    if (this.#readAtMs === null || this.#beat === null) return null;
    const nowMs = this.#clock.monotonicMs();
    const isIgnored = this.#mutant === 'age of the database ignored';
    return {
      epoch: 1,
      rev: this.rev,
      dbAgeMs: isIgnored ? 0 : nowMs - this.#readAtMs,
      witnessRev: this.#beat.rev,
      witnessAgeMs: isIgnored ? 0 : nowMs - this.#beat.readAtMs,
    };
  }

  answer(fresh: boolean, send: (reply: Reply) => void): void {
    const compose = (): void => {
      const reply = this.reply();
      if (reply !== null) send(reply);
    };
    if (fresh) this.#read(compose);
    else compose();
  }

  #poll(then: () => void): void {
    this.machine.after(250, () => this.#poll(() => {}));
    this.#read(then);
    this.#onRead(this);
  }

  #read(then: () => void): void {
    const askedAtMs = this.#clock.monotonicMs();
    this.#ask(false, (rev) => {
      this.rev = Math.max(this.rev, rev);
      this.#readAtMs = Math.max(this.#readAtMs ?? 0, askedAtMs);
      this.#onRead(this);
      then();
    });
  }

  #heartbeat(): void {
    this.machine.after(WRITE_INTERVAL_MS, () => this.#heartbeat());
    const askedAtMs = this.#clock.monotonicMs();
    this.#ask(!this.#readsOnly, (rev) => {
      if (this.#beat === null || this.#beat.readAtMs < askedAtMs) this.#beat = { rev, readAtMs: askedAtMs };
    });
  }

  /** There, at the database, and back. A write is answered when it is committed, which an isolated primary can not. */
  #ask(write: boolean, answer: (rev: number) => void): void {
    this.#queue.after(heavyTailed(this.#random), () => {
      const { isolatedAtMs } = this;
      if (this.cutOff) return;
      const rev = this.#database.revAt(isolatedAtMs ?? this.#queue.nowMs);
      this.#queue.after(heavyTailed(this.#random) / 4, () => {
        if (write && (isolatedAtMs !== null || this.isolatedAtMs !== null)) return;
        const backMs = heavyTailed(this.#random);
        if (!this.cutOff) this.machine.after(backMs, () => answer(rev));
      });
    });
  }
}
