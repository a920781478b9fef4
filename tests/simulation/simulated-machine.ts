import type { BootReading } from '../../src/util/boot-clock.ts';
import type { Clock } from '../../src/util/clock.ts';
import type { EventQueue } from './event-queue.ts';

/**
 * A machine with its clocks, and the process on it. The process may be stopped (SIGSTOP: clocks go on) or suspended together with its machine
 * (the monotonic clock stands still); what is due meanwhile is done when it goes on.
 */
export class SimulatedMachine implements Clock {
  readonly #queue: EventQueue;
  readonly #random: () => number;
  #bootCount = 0;
  #bootedAtMs = 0;
  #stoodStillMs = 0;
  #suspendedSinceMs: number | null = null;
  #wallOffsetMs: number;
  #isStopped = false;
  #backlog: (() => void)[] = [];
  #life = 0;

  constructor(queue: EventQueue, random: () => number) {
    this.#queue = queue;
    this.#random = random;
    this.#wallOffsetMs = 1.7e12 + (random() - 0.5) * 7_200_000;
    this.reboot();
  }

  /** Number of the process; what an earlier one had planned, or had asked for, is nobody's any more. */
  get life(): number {
    return this.#life;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  monotonicMs(): number {
    const untilMs = this.#suspendedSinceMs ?? this.#queue.nowMs;
    return untilMs - this.#bootedAtMs - this.#stoodStillMs;
  }

  nowMs(): number {
    return this.#queue.nowMs + this.#wallOffsetMs;
  }

  bootReading(): BootReading {
    return { bootId: `boot-${this.#bootCount}`, monotonicMs: this.monotonicMs(), wallMs: this.nowMs() };
  }

  /** Does something in the process after a time, when it is running then. */
  after(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.#queue.after(delayMs, () => this.#do(life, run));
  }

  /** `first` is what the process happens to do before everything else when it goes on. */
  stop(durationMs: number, suspend: boolean, first: () => void): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (suspend) this.#suspendedSinceMs = this.#queue.nowMs;
    this.#queue.after(durationMs, () => {
      if (this.#suspendedSinceMs !== null) this.#stoodStillMs += this.#queue.nowMs - this.#suspendedSinceMs;
      this.#suspendedSinceMs = null;
      this.#isStopped = false;
      first();
      const backlog = this.#backlog;
      this.#backlog = [];
      for (const run of backlog) run();
    });
  }

  /** The process is gone; `after` is heard by the next one only. */
  kill(): void {
    this.#life += 1;
    this.#backlog = [];
  }

  reboot(): void {
    this.#bootCount += 1;
    // As if it had been up for a while: monotonic clocks do not begin with the simulation.
    this.#bootedAtMs = this.#queue.nowMs - this.#random() * 1_000_000;
    this.#stoodStillMs = 0;
  }

  setClock(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  #do(life: number, run: () => void): void {
    if (life !== this.#life) return;
    if (this.#isStopped) this.#backlog.push(() => this.#do(life, run));
    else run();
  }
}
