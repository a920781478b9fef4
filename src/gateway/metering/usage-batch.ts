import type { UsageBatch } from '../../feed/protocol.ts';
import { withRoom } from '../../util/with-room.ts';
import { SETTLED_HEAD_BYTES, SETTLED_TAIL_BYTES, type SettledBegin } from './usage-segment.ts';

const OPENING = Buffer.from('{"records":[');
const CAPACITY_FIRST_BYTES = 16 * 1024;
/** `{"seq":<number>,` and what joins two records. */
const AROUND_RECORD_BYTES = 32;

/**
 * Records on their way to the control process, as the body that will be sent: the bytes of their SETTLE frames, each with its
 * number. Kept as bytes and not as objects because there may be thousands of them for as long as the control process is away, and
 * the garbage collector would visit each again and again.
 */
export class PendingBatch {
  count = 0;
  /** Of the last record; 0 with none. */
  lastSeq = 0;
  /** Of the first record. */
  oldestEndedAtMs = 0;
  /** What its records cost, by token; only those that this process counts as unshipped. */
  readonly spendNano = new Map<string, bigint>();
  #bytes: Buffer;
  #length: number;

  constructor(capacityBytes = CAPACITY_FIRST_BYTES) {
    this.#bytes = Buffer.allocUnsafe(Math.max(capacityBytes, CAPACITY_FIRST_BYTES));
    this.#length = OPENING.copy(this.#bytes);
  }

  get bytes(): number {
    return this.#length;
  }

  /** Of a batch of one record. */
  get onlyRequestId(): string {
    const record = JSON.parse(this.#bytes.toString('utf8', OPENING.length, this.#length)) as { requestId: string };
    return record.requestId;
  }

  /** Appends the record in `frames` from `start` to `end`, the payload of a SETTLE frame. */
  add(seq: number, begin: Omit<SettledBegin, 'requestId'>, frames: Buffer, start: number, end: number): void {
    this.#bytes = withRoom(this.#bytes, this.#length, end - start + AROUND_RECORD_BYTES);
    const head = this.count === 0 ? `{"seq":${seq},` : `,{"seq":${seq},`;
    this.#length += this.#bytes.write(head, this.#length, 'latin1');
    // One of the two closing braces is the record's own.
    this.#length += frames.copy(this.#bytes, this.#length, start + SETTLED_HEAD_BYTES, end - SETTLED_TAIL_BYTES + 1);
    if (this.count === 0) this.oldestEndedAtMs = begin.endedAtMs;
    this.count += 1;
    this.lastSeq = seq;
  }

  countSpend(token: string, costNano: number): void {
    this.spendNano.set(token, (this.spendNano.get(token) ?? 0n) + BigInt(costNano));
  }

  /** The body of the request; a view. Nothing may be added after it. */
  body(head: Omit<UsageBatch, 'records'>): Buffer {
    const closing = Buffer.from(`],${JSON.stringify(head).slice(1)}`);
    this.#bytes = withRoom(this.#bytes, this.#length, closing.length);
    closing.copy(this.#bytes, this.#length);
    return this.#bytes.subarray(0, this.#length + closing.length);
  }
}
