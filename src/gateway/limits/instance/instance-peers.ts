import type { Lender, Loan, Want } from '../lender.ts';
import { NO_LOAN } from '../lender.ts';
import type { Meter } from '../meter.ts';
import type { MeterBook } from '../meter-book.ts';
import type { OwnedMeters, Ring } from '../owned-meters.ts';
import type { InstanceLenders } from '../rate-limits.ts';
import type { PeerAnswer, PeerMessage } from './peer-message.ts';
import { hashOfKey, ownerAndHeir } from './rendezvous.ts';

/** A call that would be refused waits for the owner of what it lacks. */
export const OWNER_WAIT_MS = 5;
/** Questions to one process that are open; more are not asked. */
const OPEN_QUESTIONS_MAX = 10_000;
const RINGS_PER_MESSAGE = 200;
/** Seconds of a window that the heir is told of regularly: the current one, the one ahead, and the one before. */
const FRESH_SECONDS = 3;

export interface InstancePeersOptions {
  readonly slot: number;
  readonly book: MeterBook;
  readonly owned: OwnedMeters;
  readonly monotonicMs: () => number;
  /** Called when meters have got another owner. */
  readonly onOwnersChanged: () => void;
}

/**
 * The gateway processes of one instance as lenders of each other. What is limited has one owner among those that are connected; the next in line
 * is told what the owner has counted, and takes over from there.
 */
export class InstancePeers implements InstanceLenders {
  readonly #options: InstancePeersOptions;
  /** Processes that we have a connection to. */
  readonly #peers = new Map<number, PeerLender>();
  /** Slots that take part, ours included. */
  #live: readonly number[];
  /** Processes that were there before us and have not handed over yet. */
  readonly #awaited = new Set<number>();
  readonly #hashes = new WeakMap<Meter, number>();

  constructor(options: InstancePeersOptions) {
    this.#options = options;
    this.#live = [options.slot];
  }

  get liveCount(): number {
    return this.#live.length;
  }

  /** All that was there before has been handed over. */
  get settled(): boolean {
    return this.#awaited.size === 0;
  }

  /** They own what will be ours until they say `moved`. */
  await(slots: Iterable<number>): void {
    for (const slot of slots) this.#awaited.add(slot);
  }

  /** It did not come up, or takes too long: what it knows is not waited for any longer. */
  doNotAwait(slot: number): void {
    this.#awaited.delete(slot);
  }

  lenderOf(meter: Meter): Lender | null {
    if (this.#live.length === 1) return null;
    const { owner } = this.#ranking(meter);
    return owner === this.#options.slot ? null : (this.#peers.get(owner) ?? GONE);
  }

  noteChange(meter: Meter): void {
    this.#options.owned.noteChange(meter);
  }

  /** A connection to another process is there; what it owns now goes over it. */
  peerUp(slot: number, send: (message: PeerMessage) => void): void {
    const { slot: ours } = this.#options;
    const before = this.#live;
    this.#peers.get(slot)?.end();
    this.#peers.set(slot, new PeerLender(send));
    send(['hello', ours]);
    this.#live = [...new Set([...before, slot])].sort((a, b) => a - b);
    this.#moveFrom(before);
    this.#options.onOwnersChanged();
    send(['moved']);
  }

  answered(slot: number, [, id, granted, second, remaining, resetSeconds]: PeerAnswer): void {
    this.#peers.get(slot)?.answered(id, { granted, second, remaining, resetSeconds });
  }

  /** The connection to it is closed. It stays a member until all that it said has been read. */
  linkDown(slot: number): void {
    this.#peers.get(slot)?.end();
  }

  /** It is gone, and its last words have been read. */
  peerGone(slot: number): void {
    this.#awaited.delete(slot);
    const before = this.#live;
    if (!before.includes(slot)) return;
    this.#peers.get(slot)?.end();
    this.#peers.delete(slot);
    this.#live = before.filter((live) => live !== slot);
    this.#moveFrom(before);
    this.#options.onOwnersChanged();
  }

  /** `borrower` is a number for the connection, new for each. */
  receive(borrower: number, from: number, message: PeerMessage, answer: (answer: PeerAnswer) => void): void {
    const { book, owned } = this.#options;
    switch (message[0]) {
      case 'hello':
        break;
      case 'moved':
        this.#awaited.delete(from);
        break;
      case 'rings':
        for (const [key, ring] of message[1]) owned.takeOver(key, ring);
        break;
      case 'back':
        owned.takeBack(borrower, message[1], message[2], message[3]);
        break;
      case 'charge':
        owned.charge(message[1], message[2]);
        break;
      case 'claim':
        owned.claim(borrower, message[1], message[2]);
        break;
      case 'ask': {
        const [, id, key, limit, need, want] = message;
        const isOurs = this.settled && this.#ranking(book.meterOfKey(key)).owner === this.#options.slot;
        // Who is not the owner does not say that nothing is left.
        const loan = isOurs
          ? owned.lend(borrower, key, limit, need, want, this.#live.length)
          : { ...NO_LOAN, remaining: want };
        answer(['loan', id, loan.granted, loan.second, loan.remaining, loan.resetSeconds]);
        break;
      }
    }
  }

  borrowerGone(borrower: number): void {
    this.#options.owned.forget(borrower);
  }

  /** Tells those who would take over what has been counted since the last time. To be called a few times a second. */
  replicate(): void {
    if (this.#live.length === 1) return;
    const newest = Math.floor(this.#options.monotonicMs() / 1_000);
    this.#sendToHeirs(this.#options.owned.takeChanged(), (ring) =>
      ring.filter(([second]) => second > newest - FRESH_SECONDS),
    );
  }

  #moveFrom(before: readonly number[]): void {
    const { book, owned, slot: ours } = this.#options;
    const leaving = new Map<number, (readonly [string, Ring])[]>();
    const staying: Meter[] = [];
    for (const meter of book.meters()) {
      const hash = this.#hash(meter);
      const { owner } = ownerAndHeir(hash, this.#live);
      if (owner === ours) staying.push(meter);
      else if (ownerAndHeir(hash, before).owner === ours) {
        const ring = owned.handOver(meter);
        leaving.set(owner, [...(leaving.get(owner) ?? []), [meter.key, ring]]);
      }
    }
    for (const [slot, rings] of leaving) this.#sendRings(slot, rings);
    this.#sendToHeirs(staying, (ring) => ring);
  }

  #sendToHeirs(meters: readonly Meter[], part: (ring: Ring) => Ring): void {
    const bySlot = new Map<number, (readonly [string, Ring])[]>();
    for (const meter of meters) {
      const { owner, heir } = this.#ranking(meter);
      if (owner !== this.#options.slot || heir === null || meter.kind === 'slots') continue;
      const ring = part(meter.window.entries());
      if (ring.length === 0) continue;
      const rings = bySlot.get(heir);
      if (rings === undefined) bySlot.set(heir, [[meter.key, ring]]);
      else rings.push([meter.key, ring]);
    }
    for (const [slot, rings] of bySlot) this.#sendRings(slot, rings);
  }

  #sendRings(slot: number, rings: readonly (readonly [string, Ring])[]): void {
    for (let index = 0; index < rings.length; index += RINGS_PER_MESSAGE)
      this.#peers.get(slot)?.send(['rings', rings.slice(index, index + RINGS_PER_MESSAGE)]);
  }

  #ranking(meter: Meter): { owner: number; heir: number | null } {
    return ownerAndHeir(this.#hash(meter), this.#live);
  }

  #hash(meter: Meter): number {
    let hash = this.#hashes.get(meter);
    if (hash === undefined) {
      hash = hashOfKey(meter.key);
      this.#hashes.set(meter, hash);
    }
    return hash;
  }
}

/** Another gateway process, as a lender. */
class PeerLender implements Lender {
  readonly waitMs = OWNER_WAIT_MS;
  readonly #send: (message: PeerMessage) => void;
  readonly #open = new Map<number, (loan: Loan) => void>();
  #nextId = 0;
  #ended = false;

  constructor(send: (message: PeerMessage) => void) {
    this.#send = send;
  }

  ask({ meter, limit, need, want }: Want, done: (loan: Loan) => void): void {
    if (this.#ended || this.#open.size >= OPEN_QUESTIONS_MAX) {
      done({ ...NO_LOAN, remaining: want });
      return;
    }
    const id = this.#nextId++;
    this.#open.set(id, done);
    this.send(['ask', id, meter.key, limit, need, want]);
  }

  answered(id: number, loan: Loan): void {
    const done = this.#open.get(id);
    this.#open.delete(id);
    done?.(loan);
  }

  giveBack(meter: Meter, second: number, amount: number): void {
    this.send(['back', meter.key, second, amount]);
  }

  charge(meter: Meter, amount: number): void {
    this.send(['charge', meter.key, amount]);
  }

  claim(meter: Meter, slots: number): void {
    this.send(['claim', meter.key, slots]);
  }

  send(message: PeerMessage): void {
    if (!this.#ended) this.#send(message);
  }

  end(): void {
    this.#ended = true;
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const done of open) done({ ...NO_LOAN, remaining: 1 });
  }
}

/** The owner of the moment can not be reached any more, and its successor does not know yet. */
const GONE: Lender = {
  waitMs: OWNER_WAIT_MS,
  ask: ({ want }, done) => done({ ...NO_LOAN, remaining: want }),
  giveBack: () => {},
  charge: () => {},
  claim: () => {},
};
