import type { KeyDigest } from '../../domain/virtual-key.ts';
import { parseUsageReply } from '../../feed/codec.ts';
import type { UsageReply } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../util/clock.ts';
import { backOffMs } from '../live/back-off.ts';
import type { FeedTransport } from '../live/feed-transport.ts';
import type { KeyEntry } from '../live/knowledge.ts';
import { UnshippedSpend } from './unshipped-spend.ts';
import { PendingBatch } from './usage-batch.ts';
import type { SettlingCall, UsageLog, UsageLogListener } from './usage-log.ts';
import { UsageLogReader } from './usage-log-reader.ts';

export const BATCH_RECORDS_MAX = 500;
/** A settlement waits at most so long for others to share its batch. */
export const BATCH_DELAY_MAX_MS = 200;
/** Records in memory that are not acknowledged. Beyond it they are dropped there and read back from the files. */
export const RECORDS_QUEUED_MAX = 20_000;
export const SHIP_TIMEOUT_MS = 10_000;
export const SHIP_BACK_OFF_MIN_MS = 100;
export const SHIP_BACK_OFF_MAX_MS = 5_000;

export interface UsageShipperOptions {
  readonly usageLog: UsageLog;
  readonly transport: FeedTransport;
  readonly gatewayId: string;
  readonly region: string;
  /** Where the spend of a key is kept; undefined for a key that is not known (any more). */
  readonly keyEntry: (token: KeyDigest) => KeyEntry | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly recordsQueuedMax?: number;
  readonly batchDelayMaxMs?: number;
  readonly timeoutMs?: number;
  readonly backOffMinMs?: number;
  readonly backOffMaxMs?: number;
}

/**
 * Sends the usage log to the control process: one batch at a time, each exactly behind the one before, until the database has
 * said where it stands. The database's cursor is the truth; what is kept here is only a guess at it, corrected by each reply.
 */
export class UsageShipper implements UsageLogListener {
  readonly #options: UsageShipperOptions;
  readonly #usageLog: UsageLog;
  readonly #unshipped: UnshippedSpend;
  /** Where the database stands, as far as we know. */
  #cursor: number;
  /** False until the database has told this process where it stands. */
  #cursorIsKnown: boolean;
  /** Number of the newest settlement in the files. */
  #targetSeq: number;
  /** Records of the settlements after `#queuedAfterSeq`, all of them; what is before is read from the files. */
  #queue: PendingBatch[] = [];
  /** The last of the queue, as long as it has room. */
  #filling: PendingBatch | null = null;
  #queuedCount = 0;
  #queuedAfterSeq: number;
  #queuedAtMs = 0;
  /** What a batch has come to need. */
  #batchBytes = 0;
  #reader: UsageLogReader | null = null;
  /** Built and not acknowledged; sent again as it is. */
  #batch: Batch | null = null;
  #recordsMax = BATCH_RECORDS_MAX;
  #attempt = 0;
  #running: Promise<void> | null = null;
  #stopped = false;
  #draining = false;
  #wake: (() => void) | null = null;

  constructor(options: UsageShipperOptions) {
    this.#options = options;
    this.#usageLog = options.usageLog;
    const { segments, identity, lastSeq } = options.usageLog;
    this.#cursor = segments.firstSeq - 1;
    // Of a log that is new, nobody can have heard anything.
    this.#cursorIsKnown = identity.isNew && lastSeq === 0;
    this.#unshipped = new UnshippedSpend(lastSeq);
    this.#targetSeq = lastSeq;
    this.#queuedAfterSeq = lastSeq;
    options.usageLog.listener = this;
  }

  /** Settlements that the database has not confirmed; where only the files know, half of their frames. */
  get backlogRecords(): number {
    const inFiles = Math.max(0, this.#queuedAfterSeq - this.#cursor);
    return this.#queuedCount + Math.ceil(inFiles / 2);
  }

  /** Age of the oldest settlement that the database has not confirmed; 0 with none. */
  get oldestUnshippedAgeMs(): number {
    const oldest = this.#batch !== null && this.#batch.records.count > 0 ? this.#batch.records : this.#queue[0];
    return oldest === undefined ? 0 : Math.max(0, this.#options.clock.nowMs() - oldest.oldestEndedAtMs);
  }

  /** Number of the last frame that the database has confirmed. */
  get acknowledgedSeq(): number {
    return this.#cursor;
  }

  get isDone(): boolean {
    return this.#cursor >= this.#targetSeq;
  }

  run(): void {
    this.#running ??= this.#work();
  }

  /** Ships what is there and returns true, or gives up after `timeoutMs` and returns false. Then it is stopped. */
  async drain(timeoutMs: number): Promise<boolean> {
    this.#draining = true;
    this.#wakeUp();
    this.run();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#running, deadline]);
    clearTimeout(timer);
    this.#stopped = true;
    this.#wakeUp();
    return this.isDone;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wakeUp();
    await this.#running;
  }

  settling({ token, costNano }: SettlingCall): void {
    this.#unshipped.settling(token, costNano);
  }

  written(seq: number, call: SettlingCall, frames: Buffer, start: number, end: number): void {
    this.#unshipped.written();
    this.#targetSeq = seq;
    if (this.#queuedCount >= (this.#options.recordsQueuedMax ?? RECORDS_QUEUED_MAX)) {
      this.#readFromFiles();
      return;
    }
    if (this.#filling === null) {
      this.#filling = new PendingBatch(this.#batchBytes);
      this.#queue.push(this.#filling);
    }
    const batch = this.#filling;
    batch.add(seq, call, frames, start, end);
    batch.countSpend(call.token, call.costNano);
    this.#queuedCount += 1;
    if (batch.count >= this.#recordsMax) this.#seal();
    if (this.#queuedCount === 1) {
      this.#queuedAtMs = this.#options.clock.monotonicMs();
      this.#wakeUp();
    } else if (this.#filling === null) this.#wakeUp();
  }

  #seal(): void {
    this.#batchBytes = this.#filling?.bytes ?? this.#batchBytes;
    this.#filling = null;
  }

  /** Forgets what is in memory: the files have it too. */
  #readFromFiles(): void {
    this.#queue = [];
    this.#filling = null;
    this.#queuedCount = 0;
    this.#queuedAfterSeq = this.#targetSeq;
  }

  /** The log has been bound to an installation, and can be shipped from now on. */
  installationKnown(): void {
    this.#wakeUp();
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      if (this.isDone || this.#usageLog.identity.installation === null) {
        if (this.#draining) break;
        await this.#sleep(null);
        continue;
      }
      const waitMs = this.#msUntilDue();
      if (waitMs > 0) await this.#sleep(waitMs);
      else await this.#shipOnce();
    }
    await this.#reader?.close();
    this.#reader = null;
  }

  /** A backlog, a full batch and the end of the process do not wait for company. */
  #msUntilDue(): number {
    const hasFullBatch = this.#queue.length > 1 || (this.#queue.length === 1 && this.#filling === null);
    const hasCompany = hasFullBatch || this.#cursor < this.#queuedAfterSeq;
    if (this.#draining || this.#batch !== null || hasCompany) return 0;
    const dueAtMs = this.#queuedAtMs + (this.#options.batchDelayMaxMs ?? BATCH_DELAY_MAX_MS);
    return Math.ceil(dueAtMs - this.#options.clock.monotonicMs());
  }

  async #shipOnce(): Promise<void> {
    try {
      this.#batch ??= await this.#nextBatch();
      const reply = await this.#post(this.#batch);
      this.#attempt = 0;
      if (reply.ok) this.#accepted(this.#batch, reply);
      else await this.#resume(this.#batch, reply.cursor);
    } catch (error) {
      const level = this.#attempt === 0 ? 'warn' : 'debug';
      const { backOffMinMs = SHIP_BACK_OFF_MIN_MS, backOffMaxMs = SHIP_BACK_OFF_MAX_MS, random, log } = this.#options;
      log[level](
        { error, backlogRecords: this.backlogRecords },
        'Usage could not be delivered; it is kept and sent again',
      );
      await this.#sleepAtLeast(backOffMs(this.#attempt, backOffMinMs, backOffMaxMs, random));
      this.#attempt += 1;
    }
  }

  async #nextBatch(): Promise<Batch> {
    const from = this.#cursor;
    // An empty batch asks where the database stands: nothing is sent on top of a guess.
    if (!this.#cursorIsKnown) return { from, to: from, records: new PendingBatch(), isSent: false };
    if (from >= this.#queuedAfterSeq) {
      // What is written from now on waits from now on.
      this.#queuedAtMs = this.#options.clock.monotonicMs();
      const records = this.#queue[0] ?? new PendingBatch();
      if (records === this.#filling) this.#seal();
      return { from, to: Math.max(from, records.lastSeq), records, isSent: false };
    }
    if (this.#reader !== null && this.#reader.position !== from) await this.#forgetReader();
    this.#reader ??= new UsageLogReader(this.#usageLog.segments, from, this.#options.log);
    const records = new PendingBatch(this.#batchBytes);
    await this.#reader.next(this.#recordsMax, this.#queuedAfterSeq, {
      onSettled: (seq, begin, payload) => {
        records.add(seq, begin, payload, 0, payload.length);
        if (this.#unshipped.counts(seq)) records.countSpend(begin.token, begin.costNano);
      },
    });
    const to = this.#reader.position;
    if (to >= this.#queuedAfterSeq) await this.#forgetReader();
    return { from, to, records, isSent: false };
  }

  async #post(built: Batch): Promise<UsageReply> {
    const { from, to, records } = built;
    const { gatewayId, region, transport, timeoutMs = SHIP_TIMEOUT_MS } = this.#options;
    const { installation, incarnation } = this.#usageLog.identity;
    const body = records.body({ installation: installation!, gatewayId, region, incarnation, from, to });
    const answer = await transport.post('/feed/v1/usage', body, timeoutMs).catch((error: unknown) => {
      built.isSent = true;
      throw error;
    });
    if (answer.status === 400 || answer.status === 413) await this.#shrink(built);
    if (answer.status !== 200) {
      // An error may come after the commit.
      built.isSent = true;
      throw new Error(`the control process answered ${answer.status}: ${answer.body.slice(0, 500)}`);
    }
    return parseUsageReply(answer.body);
  }

  /**
   * The batch is too large, or something in it can not be understood: it comes again in halves. A single record that is still
   * refused is left out, with a line in the log, because it would hold up all that follow.
   */
  async #shrink({ from, to, records }: Batch): Promise<void> {
    if (records.count === 0) return;
    if (records.count > 1) {
      this.#recordsMax = Math.floor(records.count / 2);
      this.#batch = null;
      this.#readFromFiles();
      await this.#forgetReader();
      return;
    }
    const requestId = records.onlyRequestId;
    this.#options.log.error({ requestId, seq: to }, 'A usage record was refused and is not delivered');
    this.#batch = { from, to, records: new PendingBatch(), isSent: true };
  }

  #accepted({ to, records }: Batch, reply: Extract<UsageReply, { ok: true }>): void {
    if (reply.cursor !== to)
      throw new Error(`the database took frames up to ${to} and says that it stands at ${reply.cursor}`);
    this.#batch = null;
    this.#cursorIsKnown = true;
    this.#recordsMax = Math.min(BATCH_RECORDS_MAX, this.#recordsMax * 2);
    this.#advanceTo(to, records);
    for (const [token, spendNano] of Object.entries(reply.spend)) {
      const entry = this.#options.keyEntry(token as KeyDigest);
      if (entry !== undefined) entry.spendNano = BigInt(spendNano) + this.#unshipped.of(token);
    }
  }

  /** The database stands elsewhere, which is what counts. */
  async #resume({ from, to, records, isSent }: Batch, cursor: number): Promise<void> {
    const { log, gatewayId } = this.#options;
    if (this.#cursorIsKnown && cursor === from)
      throw new Error(`the database refused a batch that begins where it stands (${from})`);
    // Ahead of us it can only be by what it had from us: before the first reply, anything that an earlier process left in the
    // files; after it, this very batch, sent before without an answer.
    const isOurs = this.#cursorIsKnown ? isSent && cursor === to : cursor <= this.#usageLog.recoveredSeq;
    if (cursor < this.#cursor) {
      log.warn(
        { gatewayId, cursor, was: this.#cursor },
        'The database stands at an earlier point; usage is sent again from there',
      );
      this.#startOverAt(cursor);
    } else if (isOurs) {
      this.#advanceTo(cursor, records);
    } else {
      // It has frames of this incarnation that we do not: the disk lost them, or another process has a copy of our files.
      // Their numbers can not be used again; under a new incarnation everything is sent, and rows that exist are recognised.
      log.error(
        { gatewayId, cursor, ours: from },
        'The database has frames that this usage log has not; it goes on as a new incarnation',
      );
      this.#usageLog.identity.renewIncarnation();
      this.#startOverAt(0);
    }
    this.#batch = null;
    await this.#forgetReader();
    this.#cursorIsKnown = true;
  }

  #startOverAt(cursor: number): void {
    this.#cursor = cursor;
    this.#readFromFiles();
  }

  /** Everything up to `cursor` is in the database. */
  #advanceTo(cursor: number, sent: PendingBatch): void {
    if (sent.lastSeq <= cursor) this.#unshipped.shipped(sent.lastSeq, sent.spendNano);
    while (this.#queue.length > 0 && this.#queue[0]!.lastSeq <= cursor) {
      const done = this.#queue.shift()!;
      if (done === this.#filling) this.#filling = null;
      this.#queuedCount -= done.count;
      this.#unshipped.shipped(done.lastSeq, done.spendNano);
    }
    this.#cursor = cursor;
    if (this.isDone) this.#unshipped.allShipped();
    this.#usageLog.segments.removeAcknowledged(cursor);
  }

  async #forgetReader(): Promise<void> {
    const reader = this.#reader;
    this.#reader = null;
    await reader?.close();
  }

  /** Until something happens, and no longer than `ms`. */
  #sleep(ms: number | null): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = ms === null ? null : setTimeout(() => this.#wakeUp(), ms);
      this.#wake = () => {
        if (timer !== null) clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Through everything but `stop`. */
  async #sleepAtLeast(ms: number): Promise<void> {
    const endMs = this.#options.clock.monotonicMs() + ms;
    for (let leftMs = ms; leftMs > 0 && !this.#stopped; leftMs = endMs - this.#options.clock.monotonicMs()) {
      await this.#sleep(leftMs);
    }
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}

interface Batch {
  readonly from: number;
  readonly to: number;
  readonly records: PendingBatch;
  /** An attempt to send it has ended without an answer: the database may have it. */
  isSent: boolean;
}
