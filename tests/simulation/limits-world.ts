import { InstancePeers } from '../../src/gateway/limits/instance/instance-peers.ts';
import type { PeerAnswer, PeerMessage } from '../../src/gateway/limits/instance/peer-message.ts';
import type { LimitedSubject } from '../../src/gateway/limits/limited-subject.ts';
import { MeterBook } from '../../src/gateway/limits/meter-book.ts';
import { OwnedMeters } from '../../src/gateway/limits/owned-meters.ts';
import { Permit } from '../../src/gateway/limits/permit.ts';
import { RateLimits } from '../../src/gateway/limits/rate-limits.ts';
import type { TokenEstimate } from '../../src/gateway/limits/token-estimate.ts';
import { EventQueue } from './event-queue.ts';

const REPLICATE_MS = 100;
const TICK_MS = 250;
/** Messages take up to so long, in order on each connection. Some are later than a call waits. */
const DELAY_MAX_MS = 12;

export interface AdmittedCall {
  readonly atMs: number;
  readonly subject: LimitedSubject;
}

interface SimulatedProcess {
  readonly slot: number;
  readonly generation: number;
  readonly book: MeterBook;
  readonly peers: InstancePeers;
  readonly limits: RateLimits;
  takesCalls: boolean;
  alive: boolean;
  readonly open: Set<Permit>;
}

/** Gateway processes of one instance with simulated time and connections; they come, leave and crash. */
export class LimitsWorld {
  readonly queue = new EventQueue();
  readonly admitted: AdmittedCall[] = [];
  refused = 0;
  /** When calls were made. */
  readonly attemptsAtMs: number[] = [];
  /** By meter: what a process that crashed had counted and its successor did not know. */
  readonly forgotten = new Map<string, number>();
  readonly #random: () => number;
  readonly #windowSeconds: number;
  readonly #processes = new Map<number, SimulatedProcess>();
  /** When the last message on a connection arrives. */
  readonly #arrivals = new Map<string, number>();
  #generation = 0;

  constructor(random: () => number, windowSeconds: number) {
    this.#random = random;
    this.#windowSeconds = windowSeconds;
  }

  get slots(): number[] {
    return [...this.#processes.keys()];
  }

  process(slot: number): SimulatedProcess | undefined {
    return this.#processes.get(slot);
  }

  start(slot: number): void {
    const monotonicMs = (): number => this.queue.nowMs;
    const book = new MeterBook(this.#windowSeconds);
    const owned = new OwnedMeters(book, monotonicMs);
    const peers: InstancePeers = new InstancePeers({
      slot,
      book,
      owned,
      monotonicMs,
      onOwnersChanged: () => limits.lendersChanged(true),
    });
    const limits = new RateLimits({
      book,
      monotonicMs,
      instance: peers,
      region: null,
      regions: () => 1,
      setTimer: (callback, delayMs) => {
        let cancelled = false;
        this.queue.after(delayMs, () => {
          if (!cancelled && process.alive) callback();
        });
        return () => {
          cancelled = true;
        };
      },
    });
    this.#generation++;
    const process: SimulatedProcess = {
      slot,
      generation: this.#generation,
      book,
      peers,
      limits,
      takesCalls: false,
      alive: true,
      open: new Set(),
    };
    const others = [...this.#processes.values()];
    this.#processes.set(slot, process);
    peers.await(others.map((other) => other.slot));
    for (const other of others) this.#connect(process, other);
    this.#every(process, REPLICATE_MS, () => peers.replicate());
    this.#every(process, TICK_MS, () => limits.tick());
    const begin = (): void => {
      if (peers.settled) process.takesCalls = true;
      else if (process.alive) this.queue.after(1, begin);
    };
    begin();
  }

  /** Ends in order: its calls are over and its successors know all that it counted. */
  leave(slot: number): void {
    const process = this.#processes.get(slot)!;
    process.takesCalls = false;
    for (const permit of process.open) process.limits.settle(permit, 1);
    process.peers.replicate();
    this.#end(process);
  }

  /** What it had counted, by meter, is compared with what its successor knows when it takes over. */
  crash(slot: number): void {
    const process = this.#processes.get(slot)!;
    const counted = new Map<string, number>();
    for (const meter of process.book.meters())
      if (meter.kind !== 'slots' && process.peers.lenderOf(meter) === null)
        counted.set(meter.key, meter.window.sumAt(this.#second()));
    this.#end(process, (other) => {
      for (const [key, sum] of counted) {
        const meter = other.book.meterOfKey(key);
        if (other.peers.lenderOf(meter) !== null) continue;
        const gap = sum - meter.window.sumAt(this.#second());
        if (gap > 0) this.forgotten.set(key, (this.forgotten.get(key) ?? 0) + gap);
      }
    });
  }

  call(
    slot: number,
    subjects: readonly LimitedSubject[],
    estimate: TokenEstimate,
    lastsMs: number,
    used: number,
  ): void {
    const process = this.#processes.get(slot);
    if (process?.takesCalls !== true) return;
    this.attemptsAtMs.push(this.queue.nowMs);
    const decide = (decision: unknown): void => {
      if (!process.alive) return;
      if (!(decision instanceof Permit)) {
        this.refused++;
        return;
      }
      for (const subject of subjects) this.admitted.push({ atMs: this.queue.nowMs, subject });
      process.open.add(decision);
      this.queue.after(lastsMs, () => {
        if (!process.alive) return;
        process.open.delete(decision);
        process.limits.settle(decision, used);
      });
    };
    const decision = process.limits.admit(subjects, estimate, false, decide);
    if (decision !== null) decide(decision);
  }

  /** Calls under way in all processes that live, of one subject or of all. */
  openCalls(id?: string): number {
    let open = 0;
    for (const process of this.#processes.values())
      for (const { subjects } of process.open) if (id === undefined || subjects[0]!.id === id) open++;
    return open;
  }

  #end(process: SimulatedProcess, onGone: (other: SimulatedProcess) => void = () => {}): void {
    process.alive = false;
    process.takesCalls = false;
    process.open.clear();
    this.#processes.delete(process.slot);
    for (const other of this.#processes.values()) {
      this.#deliver(other, process, () => {
        other.peers.linkDown(process.slot);
      });
      // What it wrote before its end is read first.
      this.#deliver(process, other, () => {
        other.peers.borrowerGone(process.generation);
        other.peers.peerGone(process.slot);
        onGone(other);
      });
    }
  }

  #connect(from: SimulatedProcess, to: SimulatedProcess): void {
    this.queue.after(this.#delay(), () => {
      if (!from.alive || !to.alive) {
        from.peers.peerGone(to.slot);
        return;
      }
      const send = (message: PeerMessage): void => this.#send(from, to, message);
      from.peers.peerUp(to.slot, send);
    });
  }

  #send(from: SimulatedProcess, to: SimulatedProcess, message: PeerMessage): void {
    const copy = JSON.parse(JSON.stringify(message)) as PeerMessage;
    this.#deliver(from, to, () => {
      if (!to.alive) return;
      // Whoever says hello is answered with a connection.
      if (copy[0] === 'hello' && !this.#arrivals.has(`back ${to.generation} ${from.generation}`)) {
        this.#arrivals.set(`back ${to.generation} ${from.generation}`, 0);
        if (!this.#arrivals.has(`${to.generation} ${from.generation} connected`)) this.#connect(to, from);
      }
      to.peers.receive(from.generation, from.slot, copy, (answer: PeerAnswer) =>
        this.#deliver(to, from, () => {
          if (from.alive) from.peers.answered(to.slot, answer);
        }),
      );
    });
    this.#arrivals.set(`${from.generation} ${to.generation} connected`, 0);
  }

  #deliver(from: SimulatedProcess, to: SimulatedProcess, run: () => void): void {
    const link = `${from.generation} ${to.generation}`;
    const atMs = Math.max(this.queue.nowMs + this.#delay(), this.#arrivals.get(link) ?? 0);
    this.#arrivals.set(link, atMs);
    this.queue.after(atMs - this.queue.nowMs, () => {
      if (to.alive) run();
    });
  }

  #delay(): number {
    return this.#random() < 0.9 ? this.#random() : this.#random() * DELAY_MAX_MS;
  }

  #every(process: SimulatedProcess, everyMs: number, run: () => void): void {
    const next = (): void => {
      if (!process.alive) return;
      run();
      this.queue.after(everyMs, next);
    };
    this.queue.after(this.#random() * everyMs, next);
  }

  #second(): number {
    return Math.floor(this.queue.nowMs / 1_000);
  }
}
