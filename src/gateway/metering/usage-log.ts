import { mkdirSync } from 'node:fs';
import { type Nano, ZERO_NANO } from '../../domain/money.ts';
import { NO_USAGE, type UsageIntent, type UsageSettlement } from '../../domain/usage.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';
import { FRAME_HEADER_BYTES, FrameBuffer } from '../live/checked-frames.ts';
import { recoverUsageLog } from './recover-usage-log.ts';
import { SEGMENT_BYTES_MAX, SegmentStore, SYNC_INTERVAL_MS } from './segment-store.ts';
import { nodeUsageLogFs, type UsageLogFs } from './usage-log-fs.ts';
import { UsageLogIdentity } from './usage-log-identity.ts';
import { appendIntent, type EncodedIntent, encodeIntent, encodeSettled, type NumberedIntent } from './usage-segment.ts';
import type { UsageSink, UsageWaiter } from './usage-sink.ts';

/** Settlements kept in memory while nothing can be written. Beyond it they are dropped and counted; their calls are then settled at their estimate by the next start. */
export const SETTLEMENTS_HELD_MAX = 10_000;
/** Written and not yet on disk for certain. Beyond it no call is let in until the disk has caught up. */
export const UNSYNCED_BYTES_MAX = 64 * 1024 * 1024;
/** After a failed write, the next attempt. */
export const WRITE_RETRY_MS = 1_000;
/** What a call that was in flight when its process was killed is settled with. */
export const KILLED_IN_FLIGHT = 'killed_in_flight';

export interface UsageLogOptions {
  /** The slot directory; created with mode 0700. */
  readonly directory: string;
  /** Of the snapshot that this process booted from, or null when there is none. */
  readonly installation: string | null;
  readonly clock: Clock;
  readonly log: Log;
  readonly fs?: UsageLogFs;
  readonly segmentBytesMax?: number;
  readonly syncIntervalMs?: number;
  readonly writeRetryMs?: number;
  readonly unsyncedBytesMax?: number;
}

/** Hears of settlements in the order of their numbers; the shipper. */
export interface UsageLogListener {
  /** A call is being settled by this process: it counts from now on, and its frame follows. */
  settling(call: SettlingCall): void;
  /** The SETTLE frame is in the file. Its payload is in `frames` from `start` to `end`, and only during this call. */
  written(seq: number, call: SettlingCall, frames: Buffer, start: number, end: number): void;
  /** The log has been bound to an installation. */
  installationKnown(): void;
}

/** What a listener has to know of a settlement. */
export interface SettlingCall {
  readonly token: string;
  readonly costNano: Nano;
  readonly endedAtMs: number;
}

/** Counted since the process started. */
export interface UsageLogCounts {
  intentsRefused: number;
  settlementsDropped: number;
  writeFailures: number;
  syncFailures: number;
}

/**
 * The usage log of one gateway process: intents before dispatch, settlements after, each with a number, in a file before
 * anybody acts on them. What the requests of one event-loop turn have to say is encoded as it comes and written by one
 * `write` at the end of the turn; then their waiters run.
 */
export class UsageLog implements UsageSink {
  listener: UsageLogListener | null = null;
  readonly counts: UsageLogCounts = { intentsRefused: 0, settlementsDropped: 0, writeFailures: 0, syncFailures: 0 };
  readonly identity: UsageLogIdentity;
  readonly segments: SegmentStore;
  /** Number of the last frame that was there when this process started. */
  readonly recoveredSeq: number;

  readonly #clock: Clock;
  readonly #log: Log;
  readonly #writeRetryMs: number;
  readonly #unsyncedBytesMax: number;
  readonly #calls = new Map<string, Call>();
  readonly #frames = new FrameBuffer();
  #turn = new Turn();
  #spareTurn = new Turn();
  #flushScheduled = false;
  #flushing = false;
  /** Why nothing can be written, or null. */
  #failure: Error | null = null;
  #held: Call[] = [];
  #repair: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;

  /**
   * Opens the log of a slot and settles what a killed predecessor left open. Throws `ForeignInstallationError` when the
   * directory belongs to another installation.
   */
  constructor(options: UsageLogOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#writeRetryMs = options.writeRetryMs ?? WRITE_RETRY_MS;
    this.#unsyncedBytesMax = options.unsyncedBytesMax ?? UNSYNCED_BYTES_MAX;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    this.identity = new UsageLogIdentity(options.directory, options.log);
    if (options.installation !== null) this.identity.bindInstallation(options.installation);
    const recovered = recoverUsageLog(options.directory, options.log);
    this.recoveredSeq = recovered.lastSeq;
    this.segments = new SegmentStore({
      directory: options.directory,
      fs: options.fs ?? nodeUsageLogFs,
      log: options.log,
      segmentBytesMax: options.segmentBytesMax ?? SEGMENT_BYTES_MAX,
      syncIntervalMs: options.syncIntervalMs ?? SYNC_INTERVAL_MS,
      recovered,
      onSyncFailed: (error) => {
        this.counts.syncFailures += 1;
        this.#fail(error, 'The usage log could not be synced');
        this.#startRepair();
      },
    });
    this.#settleKilled(recovered.open);
  }

  /** Number of the last frame in the files. */
  get lastSeq(): number {
    return this.segments.lastSeq;
  }

  /** Calls with an intent and no settlement. */
  get openCount(): number {
    return this.#calls.size;
  }

  /**
   * Records the installation that the control plane belongs to; without it nothing is shipped. Throws
   * `ForeignInstallationError` when the log belongs to another one.
   */
  bindInstallation(installation: string): void {
    this.identity.bindInstallation(installation);
    this.listener?.installationKnown();
  }

  /** Why no call can be let in, or null. */
  get failure(): Error | null {
    return this.#failure;
  }

  intent(intent: UsageIntent, waiter: UsageWaiter): void {
    if (this.#calls.has(intent.requestId)) throw new Error(`request ${intent.requestId} has an intent already`);
    const turn = this.#turn;
    const refusal = this.#refusal();
    if (refusal === null) {
      const call = new Call(intent);
      // Encoding comes first: if it throws, there is nothing to undo.
      appendIntent(this.#frames, call);
      this.#calls.set(intent.requestId, call);
      turn.add(call, INTENT, waiter);
    } else {
      turn.refuse(refusal, waiter);
    }
    this.#scheduleFlush();
  }

  settle(settlement: UsageSettlement, waiter: UsageWaiter): void {
    const call = this.#calls.get(settlement.requestId);
    if (call === undefined || call.settled !== null || call.seq === 0) {
      throw new Error(`request ${settlement.requestId} has no open intent: it was settled before, or never written`);
    }
    call.settle(settlement);
    this.listener?.settling(call);
    if (this.#failure === null) {
      this.#frames.appendAscii(call.settled!);
      this.#turn.add(call, SETTLEMENT, waiter);
    } else {
      this.#hold(call);
      this.#turn.addHeld(waiter);
    }
    this.#scheduleFlush();
  }

  /** Waits for what is in memory to be in the file and on disk. Nothing may be added after it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#flush();
    await this.segments.flush();
    if (this.#repair !== null) await this.#repair;
    if (this.#retry !== null) {
      clearTimeout(this.#retry);
      this.#retry = null;
      await this.#attemptRepair();
    }
    this.#flush();
    await this.segments.close();
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(this.#flush);
  }

  /** One write for everything that was said since the last one; then the waiters, in the order in which they came. */
  readonly #flush = (): void => {
    this.#flushScheduled = false;
    const turn = this.#turn;
    // A waiter that leads back here adds to the next turn, which has its own flush.
    if (turn.isEmpty || this.#flushing) return;
    this.#flushing = true;
    this.#turn = this.#spareTurn;
    let error: Error | null = null;
    if (turn.calls.length > 0) {
      const frames = this.#frames.view();
      try {
        this.segments.append(frames, turn.calls.length, this.#openCalls);
      } catch (thrown) {
        error = thrown as Error;
      }
      if (error === null) this.#numberFrames(turn, frames);
      else this.#giveUp(turn, error);
      this.#frames.clear();
    }
    this.#callWaiters(turn, error);
    turn.clear();
    this.#spareTurn = turn;
    this.#flushing = false;
  };

  #numberFrames(turn: Turn, frames: Buffer): void {
    let seq = this.segments.lastSeq - turn.calls.length;
    let at = 0;
    for (let index = 0; index < turn.calls.length; index += 1) {
      const call = turn.calls[index]!;
      const start = at + FRAME_HEADER_BYTES;
      at = start + frames.readUInt32BE(at);
      seq += 1;
      if (turn.kinds[index] === INTENT) {
        call.seq = seq;
      } else {
        this.#calls.delete(call.requestId);
        this.listener?.written(seq, call, frames, start, at);
      }
    }
  }

  /** Nothing of this turn is in the file: its intents are refused, its settlements are kept. */
  #giveUp(turn: Turn, error: Error): void {
    this.counts.writeFailures += 1;
    this.#fail(error, 'The usage log could not be written');
    for (let index = 0; index < turn.calls.length; index += 1) {
      const call = turn.calls[index]!;
      if (turn.kinds[index] === SETTLEMENT) this.#hold(call);
      else this.#calls.delete(call.requestId);
    }
    this.#scheduleRepair();
  }

  #callWaiters(turn: Turn, error: Error | null): void {
    for (let index = 0; index < turn.waiters.length; index += 1) {
      const waiter = turn.waiters[index]!;
      try {
        if (turn.kinds[index] === SETTLEMENT) waiter.onSettled();
        else if (error === null) waiter.onIntentWritten();
        else waiter.onIntentRefused(error);
      } catch (thrown) {
        // One request's fault must not keep the others of its turn waiting.
        this.#log.error({ error: thrown }, 'A request failed when the usage log called it back');
      }
      if (error !== null && turn.kinds[index] === INTENT) this.counts.intentsRefused += 1;
    }
    for (const waiter of turn.heldWaiters) {
      try {
        waiter.onSettled();
      } catch (thrown) {
        this.#log.error({ error: thrown }, 'A request failed when the usage log called it back');
      }
    }
    for (let index = 0; index < turn.refusedWaiters.length; index += 1) {
      this.counts.intentsRefused += 1;
      try {
        turn.refusedWaiters[index]!.onIntentRefused(turn.refusals[index]!);
      } catch (thrown) {
        this.#log.error({ error: thrown }, 'A request failed when the usage log called it back');
      }
    }
  }

  #refusal(): Error | null {
    if (this.#failure !== null) return this.#failure;
    if (this.segments.unsyncedBytes <= this.#unsyncedBytesMax) return null;
    return new Error(`the disk of the usage log is ${this.segments.unsyncedBytes} bytes behind`);
  }

  #hold(call: Call): void {
    if (this.#held.length < SETTLEMENTS_HELD_MAX) {
      this.#held.push(call);
      return;
    }
    this.counts.settlementsDropped += 1;
    if (this.counts.settlementsDropped % 1_000 === 1) {
      const { settlementsDropped } = this.counts;
      this.#log.error({ settlementsDropped }, 'Settlements are lost: the usage log has not been writable for too long');
    }
  }

  #fail(error: Error, message: string): void {
    if (this.#failure === null) this.#log.error({ error }, `${message}; no call is let in until it can be`);
    this.#failure = error;
  }

  #scheduleRepair(): void {
    if (this.#retry !== null || this.#repair !== null || this.#closed) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#startRepair();
    }, this.#writeRetryMs);
  }

  #startRepair(): void {
    if (this.#repair !== null || this.#failure === null) return;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    this.#repair = this.#attemptRepair().finally(() => {
      this.#repair = null;
      if (this.#failure !== null) this.#scheduleRepair();
    });
  }

  async #attemptRepair(): Promise<void> {
    // What this turn has encoded already goes with the rest, or is refused with the rest.
    this.#flush();
    try {
      await this.segments.rebuild(this.#openAtSync());
    } catch (error) {
      this.counts.writeFailures += 1;
      this.#failure = error as Error;
      this.#log.warn({ error }, 'The usage log can still not be written');
      return;
    }
    this.#failure = null;
    this.#log.info({ held: this.#held.length }, 'The usage log is written again');
    const held = this.#held;
    this.#held = [];
    for (const call of held) {
      this.#frames.appendAscii(call.settled!);
      this.#turn.add(call, SETTLEMENT, NOBODY);
    }
    if (held.length > 0) this.#scheduleFlush();
  }

  /** Intents in the files that have no settlement in the files; a new segment carries them. */
  readonly #openCalls = (): Call[] => {
    const open: Call[] = [];
    for (const call of this.#calls.values()) if (call.seq > 0) open.push(call);
    return open;
  };

  /** Those of them whose frame is on disk for certain; the frames of the others are written again. */
  #openAtSync(): Call[] {
    const { syncedSeq } = this.segments;
    return this.#openCalls().filter((call) => call.seq <= syncedSeq);
  }

  /** The answer is lost, and what it cost is not known: it counts as much as it was expected to. */
  #settleKilled(open: readonly NumberedIntent[]): void {
    if (open.length === 0) return;
    this.#log.warn(
      { calls: open.length },
      'Calls were in flight when the process was killed; they are settled at their estimate',
    );
    const endedAtMs = this.#clock.nowMs();
    for (const { seq, intent } of open) {
      const call = new Call(intent);
      call.seq = seq;
      call.settle(killedInFlight(intent, endedAtMs));
      this.#calls.set(intent.requestId, call);
      this.#frames.appendAscii(call.settled!);
      this.#turn.add(call, SETTLEMENT, NOBODY);
    }
    this.#flush();
  }
}

function killedInFlight(intent: UsageIntent, endedAtMs: number): UsageSettlement {
  const costNano: Nano = intent.estimateNano ?? ZERO_NANO;
  return {
    requestId: intent.requestId,
    status: 'failure',
    httpStatus: 500,
    errorCode: KILLED_IN_FLIGHT,
    providerId: null,
    answeredModel: null,
    usage: NO_USAGE,
    estimated: true,
    costNano,
    firstTokenAtMs: null,
    // Not before it began, whatever the wall clock did in between.
    endedAtMs: Math.max(endedAtMs, intent.startedAtMs),
  };
}

/** A call from its intent to the moment when its settlement is in the file. */
class Call implements EncodedIntent, SettlingCall {
  readonly requestId: string;
  readonly token: string;
  readonly members: string;
  /** Of the INTENT frame; 0 until it is in the file. */
  seq = 0;
  /** Payload of the SETTLE frame; null while the call is open. */
  settled: string | null = null;
  costNano: Nano = ZERO_NANO;
  endedAtMs = 0;

  constructor(intent: UsageIntent) {
    const { requestId, token, members } = encodeIntent(intent);
    this.requestId = requestId;
    this.token = token;
    this.members = members;
  }

  settle(settlement: UsageSettlement): void {
    this.settled = encodeSettled(this, settlement);
    this.costNano = settlement.costNano;
    this.endedAtMs = settlement.endedAtMs;
  }
}

const INTENT = 0;
const SETTLEMENT = 1;
type FrameKind = typeof INTENT | typeof SETTLEMENT;

/** What was said in one event-loop turn. `calls`, `kinds` and `waiters` are parallel; one entry is one encoded frame. */
class Turn {
  readonly calls: Call[] = [];
  readonly kinds: FrameKind[] = [];
  readonly waiters: UsageWaiter[] = [];
  /** Of settlements that are kept in memory. */
  readonly heldWaiters: UsageWaiter[] = [];
  readonly refusals: Error[] = [];
  readonly refusedWaiters: UsageWaiter[] = [];

  get isEmpty(): boolean {
    return this.calls.length === 0 && this.heldWaiters.length === 0 && this.refusedWaiters.length === 0;
  }

  add(call: Call, kind: FrameKind, waiter: UsageWaiter): void {
    this.calls.push(call);
    this.kinds.push(kind);
    this.waiters.push(waiter);
  }

  addHeld(waiter: UsageWaiter): void {
    this.heldWaiters.push(waiter);
  }

  refuse(error: Error, waiter: UsageWaiter): void {
    this.refusals.push(error);
    this.refusedWaiters.push(waiter);
  }

  clear(): void {
    this.calls.length = 0;
    this.kinds.length = 0;
    this.waiters.length = 0;
    this.heldWaiters.length = 0;
    this.refusals.length = 0;
    this.refusedWaiters.length = 0;
  }
}

const NOBODY: UsageWaiter = {
  onIntentWritten() {},
  onIntentRefused() {},
  onSettled() {},
};
