import { parseLeaseReply } from '../../feed/lease-codec.ts';
import type { LeaseAsk, LeaseReply } from '../../feed/protocol.ts';
import { LEASE_ITEMS_MAX } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';
import { backOffMs } from '../live/back-off.ts';
import type { FeedTransport } from '../live/feed-transport.ts';
import type { LeaseLog, NumberedAsk } from './lease-log.ts';
import type { LeaseTable } from './lease-table.ts';

/** Between two looks at what is to be said; somebody who waits is heard at once. */
export const LEASE_TICK_MS = 250;
/** Without an answer for this long, an ask is sent again. */
export const LEASE_TIMEOUT_MS = 5_000;
/** A process that ends does not wait longer for a control plane that hangs. */
export const LEAVE_TIMEOUT_MS = 1_000;
export const LEASE_BACK_OFF_MIN_MS = 100;
export const LEASE_BACK_OFF_MAX_MS = 5_000;
/** Starter leases are asked for this often. */
export const STARTER_INTERVAL_MS = 60_000;
/** Checkpoints of what was spent since, so that a start has little to read. */
export const CHECKPOINT_INTERVAL_MS = 5_000;

export interface LeaseClientOptions {
  readonly table: LeaseTable;
  readonly leaseLog: LeaseLog;
  readonly transport: Pick<FeedTransport, 'post'>;
  readonly identity: { readonly gatewayId: string; readonly session: string };
  /** Null until the control plane is known: nothing is asked before. */
  readonly installation: () => string | null;
  readonly incarnation: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Number of the newest frame of the usage log. */
  readonly usageSeq: () => number;
  readonly bootId: string | null;
  /** Where an earlier process stopped: the number of its last answered ask, and one that was not. */
  readonly resumed: { readonly ask: number; readonly open: NumberedAsk | null; readonly declaring: boolean };
  /** After each answer, and after each attempt that failed. */
  readonly onProgress: () => void;
}

/**
 * Asks for money and gives it back: one ask at a time, numbered, on disk before it is sent, repeated unchanged until it is answered. Nothing that
 * happens on the way can make the process believe to hold more than was granted.
 */
export class LeaseClient {
  readonly #options: LeaseClientOptions;
  #ask: number;
  #open: NumberedAsk | null;
  #declaring = false;
  #startersAtMs = Number.NEGATIVE_INFINITY;
  #checkpointAtMs: number;
  #failures = 0;
  #stopped = false;
  #running: Promise<void> | null = null;
  #wake: (() => void) | null = null;
  #asked = false;
  /** leases.log has been begun by this process. */
  #hasBegun = false;
  #leaving = false;

  constructor(options: LeaseClientOptions) {
    this.#options = options;
    this.#ask = options.resumed.ask;
    this.#open = options.resumed.open;
    this.#declaring = options.resumed.declaring;
    this.#checkpointAtMs = options.clock.monotonicMs();
  }

  /** False while the control plane does not answer: nobody needs to wait for it. */
  get isAnswered(): boolean {
    return this.#failures === 0;
  }

  run(): void {
    this.#running ??= this.#work();
  }

  /** Somebody waits. */
  askNow(): void {
    this.#asked = true;
    this.#wakeUp();
  }

  /** Gives back what no call in flight needs, and ends. After the last call; a control plane that is away gets it at the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wakeUp();
    await this.#running;
    try {
      this.#leaving = true;
      // An ask that was not answered comes before what is said now.
      if (this.#open !== null) await this.#step();
      if (this.#open === null) await this.#step();
      this.#checkpoint();
    } catch (error) {
      this.#options.log.warn({ error }, 'leases.log could not be written at the end');
    }
    this.#options.leaseLog.close();
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#step();
      } catch (error) {
        // The disk: nothing is asked and nothing is returned until it can be written down.
        this.#failures += 1;
        this.#options.log.error({ error }, 'leases.log can not be written; budgets get no more money until it can');
        this.#options.onProgress();
      }
      if (this.#stopped) break;
      await this.#pause();
    }
  }

  async #step(): Promise<void> {
    this.#asked = false;
    const { clock } = this.#options;
    // Not before: a disk that is full must not keep a process from starting.
    if (!this.#hasBegun) this.#checkpoint();
    const open = this.#open ?? this.#compose();
    if (open !== null) {
      const answer = await this.#post(open);
      if (answer === null) this.#failures += 1;
      else {
        this.#failures = 0;
        this.#take(open, answer);
      }
      this.#options.onProgress();
    }
    if (clock.monotonicMs() - this.#checkpointAtMs >= CHECKPOINT_INTERVAL_MS) this.#checkpoint();
  }

  /** The next ask, on disk; null when there is nothing to say. */
  #compose(): NumberedAsk | null {
    const { table, leaseLog, clock, installation } = this.#options;
    if (installation() === null) return null;
    const nowMs = clock.monotonicMs();
    const starters = !this.#leaving && nowMs - this.#startersAtMs >= STARTER_INTERVAL_MS;
    const contents = table.composeAsk(nowMs, LEASE_ITEMS_MAX, this.#leaving);
    if (contents === null && !starters && !this.#declaring) return null;
    const ask: NumberedAsk = {
      ask: this.#ask + 1,
      wishes: contents?.wishes ?? [],
      returns: contents?.returns ?? [],
      starters,
      ...(this.#declaring ? { declares: declared(table) } : {}),
    };
    if (leaseLog.isLarge) this.#checkpoint();
    leaseLog.ask(ask);
    this.#open = ask;
    if (starters) this.#startersAtMs = nowMs;
    return ask;
  }

  async #post(ask: NumberedAsk): Promise<LeaseReply | null> {
    const { transport, identity, installation, incarnation, log } = this.#options;
    const body: LeaseAsk = { installation: installation() ?? '', ...identity, incarnation, ...ask };
    try {
      const { status, body: text } = await transport.post(
        '/feed/v1/leases',
        JSON.stringify(body),
        this.#leaving ? LEAVE_TIMEOUT_MS : LEASE_TIMEOUT_MS,
      );
      if (status !== 200) {
        log.debug({ status }, 'The control plane does not answer an ask for budgets');
        return null;
      }
      return parseLeaseReply(text);
    } catch (error) {
      log.debug({ error }, 'An ask for budgets was not answered');
      return null;
    }
  }

  #take(ask: NumberedAsk, reply: LeaseReply): void {
    const { table, leaseLog, clock, log } = this.#options;
    if (!reply.ok) {
      // Its history is another one than ours: what we hold is declared, with the next number that it expects.
      log.warn(
        { ask: ask.ask, cursor: reply.cursor },
        'The control plane does not know this ask; all pots are declared to it',
      );
      leaseLog.reply(ask.ask, reply, clock.nowMs());
      this.#ask = reply.cursor;
      this.#declaring = true;
      this.#open = null;
      this.#asked = true;
      return;
    }
    leaseLog.reply(ask.ask, reply, clock.nowMs());
    this.#ask = ask.ask;
    this.#open = null;
    if (ask.declares !== undefined) this.#declaring = false;
    table.applyReply(reply, ask.wishes, clock.monotonicMs());
  }

  #checkpoint(): void {
    const { table, leaseLog, clock, usageSeq, incarnation, bootId } = this.#options;
    const wallMs = clock.nowMs();
    const toWallMs = wallMs - clock.monotonicMs();
    const pots = table.pots().map((pot) => ({
      ...pot,
      startsAtMs: pot.startsAtMs + toWallMs,
      endsAtMs: pot.endsAtMs === null ? null : pot.endsAtMs + toWallMs,
    }));
    leaseLog.checkpoint({ incarnation, bootId, ask: this.#ask, usageSeq: usageSeq(), wallMs, pots }, this.#open);
    this.#checkpointAtMs = clock.monotonicMs();
    this.#hasBegun = true;
  }

  #pause(): Promise<void> {
    const { random } = this.#options;
    const delayMs =
      this.#failures === 0
        ? LEASE_TICK_MS
        : backOffMs(this.#failures, LEASE_BACK_OFF_MIN_MS, LEASE_BACK_OFF_MAX_MS, random);
    // Behind this turn of the event loop: what its calls lack is one ask.
    if (this.#asked && this.#failures === 0) return new Promise((resolve) => setImmediate(resolve));
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs);
      this.#wake = () => {
        // Somebody who waits does not make us call a control plane that is away more often.
        if (this.#failures > 0 && !this.#stopped) return;
        clearTimeout(timer);
        setImmediate(resolve);
      };
    });
  }

  #wakeUp(): void {
    this.#wake?.();
  }
}

function declared(table: LeaseTable) {
  return table
    .pots()
    .filter(({ periodStartMs }) => periodStartMs >= 0)
    .map(({ ledger, periodStartMs, amountNano }) => ({ ledger, periodStartMs, amountNano: String(amountNano) }));
}
