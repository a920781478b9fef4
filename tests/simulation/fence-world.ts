/**
 * One database, two control processes and one gateway process, with everything between them that can go wrong; the ages and witnesses are those of
 * the program itself (`Freshness`, `ElapsedClock`, `witnessAge`, `bestWitness`). Keys are blocked all the time, and the gateway process is asked
 * all the time whether it would still admit one.
 */
import { type Echo, Freshness } from '../../src/gateway/live/freshness.ts';
import { bestWitness, type WitnessRecord, witnessAge } from '../../src/gateway/live/witness-file.ts';
import { ElapsedClock } from '../../src/util/elapsed-clock.ts';
import { seededRandom } from '../chaos/seeded-random.ts';
import { EventQueue } from './event-queue.ts';
import {
  heavyTailed,
  type Mutant,
  type Reply,
  SIMULATED_FENCES,
  SimulatedControl,
  SimulatedDatabase,
  WRITE_INTERVAL_MS,
} from './simulated-control.ts';
import { SimulatedMachine } from './simulated-machine.ts';

export interface Outcome {
  admissions: number;
  refusals: number;
  /** Later than the fence after the commit that they violate, in milliseconds. */
  violations: number[];
}

const DURATION_MS = 120_000;
const INSTALLATION = 'simulated';

export function simulate(seed: number, mutant: Mutant | null = null): Outcome {
  return new FenceWorld(seed, mutant).run();
}

class FenceWorld {
  readonly #queue = new EventQueue();
  readonly #random: () => number;
  readonly #mutant: Mutant | null;
  readonly #outcome: Outcome = { admissions: 0, refusals: 0, violations: [] };
  readonly #database = new SimulatedDatabase(this.#queue);
  readonly #controls: readonly SimulatedControl[];
  readonly #machine: SimulatedMachine;
  /** Network between the gateway process and all control processes. */
  #partitioned = false;
  #connectedTo = 0;

  // The gateway process.
  #isDown = false;
  #clock: ElapsedClock;
  #freshness = new Freshness();
  #disagreedAtMs = Number.NEGATIVE_INFINITY;
  #applied = 0;
  #pinging = false;
  // Its disk.
  #witnessFile: WitnessRecord | null = null;
  /** Revisions that a power failure leaves behind. */
  #syncedRev = 0;
  #setBackAtMs = Number.NEGATIVE_INFINITY;
  #witnessKeptAtMs = Number.NEGATIVE_INFINITY;
  /** After a reboot with a clock that was set back nothing bounds a normal key until the next answer. */
  #normalIsBounded = true;
  #keptIsBounded = true;

  constructor(seed: number, mutant: Mutant | null) {
    const random = seededRandom(seed);
    this.#random = random;
    this.#mutant = mutant;
    this.#machine = new SimulatedMachine(this.#queue, random);
    const readsOnly = mutant === 'a read instead of a committed write';
    this.#controls = [0, 1].map(
      () =>
        new SimulatedControl(this.#queue, random, this.#database, mutant, readsOnly, (control) => this.#push(control)),
    );
    this.#clock = this.#newClock();
  }

  run(): Outcome {
    for (const control of this.#controls) control.start();
    this.#startGateway();
    this.#every(
      () => 50 + this.#random() * 400,
      () => this.#database.commit(this.#random() < 0.5 ? 'normal' : 'strict'),
    );
    this.#every(
      () => 20 + this.#random() * 180,
      () => {
        if (this.#isRunning) this.#admit();
      },
    );
    this.#every(
      () => 2_000 + this.#random() * 12_000,
      () => this.#misfortune(),
    );
    this.#queue.runUntil(DURATION_MS);
    return this.#outcome;
  }

  #every(delayMs: () => number, run: () => void): void {
    this.#queue.after(delayMs(), () => {
      run();
      this.#every(delayMs, run);
    });
  }

  /** Would the oldest key of each class that was blocked, and of which that is not known here yet, be admitted? */
  #admit(): void {
    for (const fence of ['normal', 'strict'] as const) {
      const committedAtMs = this.#database.oldestBehind(this.#applied, fence);
      const stalenessMs = this.#freshness.stalenessMs(fence, this.#nowMs());
      if (stalenessMs > SIMULATED_FENCES[fence]) {
        this.#outcome.refusals += 1;
        continue;
      }
      this.#outcome.admissions += 1;
      if (committedAtMs === null || (fence === 'normal' && !this.#normalIsBounded)) continue;
      const lateMs = this.#queue.nowMs - committedAtMs - SIMULATED_FENCES[fence];
      // Milliseconds are doubles here and clocks of 1.7e12 have a grain.
      if (lateMs > 0.01) this.#outcome.violations.push(lateMs);
    }
  }

  get #isRunning(): boolean {
    return !this.#isDown && !this.#machine.isStopped;
  }

  #startGateway(): void {
    this.#isDown = false;
    this.#pinging = false;
    this.#machine.after(0, () => {
      this.#ping();
      this.#keepWitness();
      this.#catchUp();
    });
  }

  #newClock(): ElapsedClock {
    const machine = this.#machine;
    if (this.#mutant !== 'suspension of the machine not noticed') return new ElapsedClock(machine);
    // Both clocks are the monotonic one: nothing to compare.
    return new ElapsedClock({ nowMs: () => machine.monotonicMs(), monotonicMs: () => machine.monotonicMs() });
  }

  /** As `LiveKnowledge` reads it. */
  #nowMs(): number {
    const nowMs = this.#clock.monotonicMs();
    if (this.#clock.disagreedAtMs !== this.#disagreedAtMs) {
      this.#disagreedAtMs = this.#clock.disagreedAtMs;
      this.#freshness.disagreed(this.#disagreedAtMs);
    }
    return nowMs;
  }

  #ping(): void {
    this.#machine.after(1_000, () => this.#ping());
    if (this.#pinging || this.#mutant === 'heartbeat stamped on receipt') return;
    this.#pinging = true;
    const fresh = this.#random() < 0.1;
    const sentAtMs = this.#nowMs();
    this.#machine.after(3_000, () => {
      this.#pinging = false;
    });
    const control = this.#controls[this.#connectedTo]!;
    const { life } = this.#machine;
    this.#send(control.machine, () =>
      control.answer(fresh, (reply) =>
        this.#send(this.#machine, () => {
          if (life === this.#machine.life) this.#answered({ sentAtMs, fresh, reply });
        }),
      ),
    );
  }

  #answered(echo: Echo & { readonly reply: Reply }): void {
    this.#pinging = false;
    this.#nowMs();
    if (this.#mutant === 'witness before its revision is applied') {
      this.#freshness.applied({ epoch: 1, rev: Math.max(this.#applied, echo.reply.rev) });
    }
    this.#freshness.answered(echo);
    if (this.#freshness.witness?.certain === true) this.#normalIsBounded = true;
  }

  /** What a control process sends on its own: the changes it has read, and how old they are. */
  #push(control: SimulatedControl): void {
    if (control !== this.#controls[this.#connectedTo]) return;
    const { rev } = control;
    const reply = control.reply();
    this.#send(this.#machine, () => {
      this.#apply(rev);
      if (this.#mutant === 'heartbeat stamped on receipt' && reply !== null) {
        this.#freshness.answered({ sentAtMs: this.#nowMs(), fresh: false, reply });
      }
    });
  }

  /** The feed connects again and again, and is told everything that the control process has. */
  #catchUp(): void {
    this.#machine.after(500 + this.#random() * 2_000, () => this.#catchUp());
    const control = this.#controls[this.#connectedTo]!;
    this.#send(control.machine, () => {
      const { rev } = control;
      this.#send(this.#machine, () => this.#apply(rev));
    });
  }

  #apply(rev: number): void {
    if (rev <= this.#applied) return;
    this.#applied = rev;
    this.#freshness.applied({ epoch: 1, rev });
    const synced = rev;
    this.#machine.after(this.#random() * 15_000, () => {
      this.#syncedRev = Math.max(this.#syncedRev, synced);
    });
  }

  #keepWitness(): void {
    this.#machine.after(WRITE_INTERVAL_MS, () => this.#keepWitness());
    const record = this.#record();
    if (record === null) return;
    const keptAtMs = this.#queue.nowMs;
    const isBounded = this.#normalIsBounded;
    this.#machine.after(this.#delayMs() / 10, () => {
      this.#witnessFile = record;
      this.#witnessKeptAtMs = keptAtMs;
      this.#keptIsBounded = isBounded;
    });
  }

  #record(): WitnessRecord | null {
    const { witness } = this.#freshness;
    if (witness === null) return null;
    return {
      format: 1,
      installation: INSTALLATION,
      epoch: witness.epoch,
      rev: witness.rev,
      ...this.#machine.bootReading(),
      ageMs: this.#nowMs() - witness.atMs,
      certain: witness.certain,
    };
  }

  /** The process is killed, and with a reboot its machine loses what was not synced. */
  #restart(reboot: boolean): void {
    if (!this.#isRunning) return;
    this.#isDown = true;
    this.#machine.kill();
    const downMs = this.#random() * 15_000;
    let wasSetBack = false;
    if (reboot) {
      this.#applied = Math.min(this.#applied, this.#syncedRev);
      // Set forward, left alone, or set back to before the witness was kept; less than that can not be told from a short time down.
      const lot = this.#random();
      wasSetBack = lot < 0.3;
      const sinceKeptMs = this.#queue.nowMs - this.#witnessKeptAtMs + downMs;
      if (wasSetBack) this.#machine.setClock(-sinceKeptMs - 10 - this.#random() * 10_000);
      else if (lot < 0.6) this.#machine.setClock(this.#random() * 10_000);
    }
    this.#queue.after(downMs, () => {
      if (reboot) this.#machine.reboot();
      this.#clock = this.#newClock();
      this.#disagreedAtMs = Number.NEGATIVE_INFINITY;
      this.#syncedRev = this.#applied;
      const nowMs = this.#nowMs();
      this.#freshness = new Freshness({ epoch: 1, rev: this.#applied }, this.#restored(nowMs));
      this.#normalIsBounded = this.#keptIsBounded && (!wasSetBack || this.#freshness.witness?.certain !== false);
      // As `WitnessKeeper.begin`.
      this.#witnessFile = this.#record();
      this.#witnessKeptAtMs = this.#queue.nowMs;
      this.#keptIsBounded = this.#normalIsBounded;
      this.#startGateway();
    });
  }

  #restored(nowMs: number) {
    const record = this.#witnessFile;
    if (record === null) return null;
    const now = this.#machine.bootReading();
    const rev = this.#mutant === 'witness file believed without its revision on disk' ? record.rev : this.#applied;
    const position = { installation: INSTALLATION, epoch: 1, rev };
    if (this.#mutant !== 'time down not counted after a restart') return bestWitness([record], position, nowMs, now);
    const forgotten = { ...record, ...now };
    return witnessAge(forgotten, now).certain ? bestWitness([forgotten], position, nowMs, now) : null;
  }

  #misfortune(): void {
    const ms = (max: number): number => this.#random() * max;
    const control = this.#controls[Math.floor(this.#random() * 2)]!;
    switch (Math.floor(this.#random() * 11)) {
      case 0:
        this.#partition(ms(30_000));
        break;
      case 1:
        if (this.#isRunning) this.#machine.stop(ms(15_000), false, () => this.#admit());
        break;
      case 2:
        control.machine.stop(ms(15_000), false, () => {});
        break;
      case 3:
        control.cutOff = true;
        this.#queue.after(ms(30_000), () => {
          control.cutOff = false;
        });
        break;
      case 4:
        // The database fails over, and for this one the old primary stays where it was: cut off from its copy, and reading well.
        control.isolatedAtMs ??= this.#queue.nowMs;
        this.#queue.after(ms(30_000), () => {
          control.isolatedAtMs = null;
        });
        break;
      case 5:
        if (this.#isRunning) this.#machine.stop(2_000 + ms(15_000), true, () => this.#admit());
        break;
      case 6:
        control.machine.stop(2_000 + ms(15_000), true, () => {});
        break;
      case 7:
        this.#restart(false);
        break;
      case 8:
        if (this.#random() < 0.5) this.#partition(ms(30_000));
        // Across a reboot the wall clock is believed: one that was set back by less than the time down looks like a short time down.
        if (this.#witnessKeptAtMs > this.#setBackAtMs) this.#restart(true);
        break;
      case 9:
        if (this.#isRunning) this.#setClock((this.#random() - 0.5) * 60_000);
        if (!control.machine.isStopped) control.machine.setClock((this.#random() - 0.5) * 60_000);
        break;
      default:
        this.#connectedTo = 1 - this.#connectedTo;
    }
  }

  #partition(durationMs: number): void {
    this.#partitioned = true;
    this.#queue.after(durationMs, () => {
      this.#partitioned = false;
    });
  }

  #setClock(byMs: number): void {
    if (byMs < 0) this.#setBackAtMs = this.#queue.nowMs;
    this.#machine.setClock(byMs);
  }

  /** Lost, late, more than once, overtaken: whatever a network may do. */
  #send(to: SimulatedMachine, arrive: () => void): void {
    if (this.#partitioned || this.#random() < 0.02) return;
    to.after(this.#delayMs(), arrive);
    if (this.#random() < 0.05) to.after(this.#delayMs(), arrive);
  }

  #delayMs(): number {
    return heavyTailed(this.#random);
  }
}
