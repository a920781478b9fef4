/**
 * One file of the usage log, `usage-<number of its first frame>.log`: checked frames whose payloads are
 *
 *   {"head": ...}      first; which segment this is
 *   {"carried": ...}   an intent of an earlier segment that had no settlement when this segment began
 *   {"intent": ...}    numbered: a call that is about to be made
 *   {"settled": ...}   numbered: the whole record of a call that has ended, its intent included
 *
 * A segment explains itself: it can be read without any other file, and what is sent of it are its own bytes.
 */
import type { Nano } from '../../domain/money.ts';
import type { UsageIntent, UsageSettlement } from '../../domain/usage.ts';
import type { FrameBuffer } from '../live/checked-frames.ts';
import { intentMembers, known, settlementMembers } from './usage-json.ts';

export const USAGE_LOG_FORMAT = 2;

export interface SegmentHead {
  readonly format: number;
  readonly firstSeq: number;
  /**
   * Raised when a segment replaces frames that may not have reached the disk: of two segments that hold the same frame, the
   * one with the higher generation counts.
   */
  readonly generation: number;
  readonly carriedCount: number;
}

export interface SegmentFile {
  readonly path: string;
  readonly firstSeq: number;
}

/** An intent and the number of its frame. */
export interface NumberedIntent {
  readonly seq: number;
  readonly intent: UsageIntent;
}

/** An intent on its way into a file: what it begins with, and everything else as JSON members. */
export interface EncodedIntent {
  readonly requestId: string;
  readonly token: string;
  readonly members: string;
}

export interface CarriedIntent extends EncodedIntent {
  readonly seq: number;
}

/** What is read of a SETTLE frame without parsing it. */
export interface SettledBegin {
  readonly requestId: string;
  readonly costNano: Nano;
  readonly endedAtMs: number;
  readonly token: string;
}

const SEGMENT_NAME = /^usage-(\d{16})\.log$/;

export function segmentName(firstSeq: number): string {
  return `usage-${String(firstSeq).padStart(16, '0')}.log`;
}

/** The number in a segment's name, or null for another file. */
export function firstSeqOf(name: string): number | null {
  const match = SEGMENT_NAME.exec(name);
  return match === null ? null : Number(match[1]);
}

export function appendHead(frames: FrameBuffer, head: SegmentHead, carried: readonly CarriedIntent[]): void {
  frames.append(`{"head":${JSON.stringify(head)}}`);
  for (const intent of carried) {
    frames.appendAscii(`{"carried":{"seq":${intent.seq},"intent":{${allMembers(intent)}}}}`);
  }
}

export function encodeIntent(intent: UsageIntent): EncodedIntent {
  return { requestId: intent.requestId, token: intent.token, members: intentMembers(intent) };
}

export function appendIntent(frames: FrameBuffer, intent: EncodedIntent): void {
  frames.appendAscii(`{"intent":{${allMembers(intent)}}}`);
}

function allMembers({ requestId, token, members }: EncodedIntent): string {
  return `"requestId":"${requestId}","token":${known(token)},${members}`;
}

/** The payload of a SETTLE frame. What a delivery has to know comes first, where `settledBegin` finds it. */
export function encodeSettled({ requestId, token, members }: EncodedIntent, settlement: UsageSettlement): string {
  const { costNano, endedAtMs } = settlement;
  return (
    `${SETTLED}"requestId":"${requestId}","costNano":${costNano},"endedAtMs":${endedAtMs},"token":${known(token)},` +
    `${settlementMembers(settlement)},${members}}}`
  );
}

const SETTLED = '{"settled":{';
const SETTLED_BEGIN =
  /^\{"settled":\{"requestId":"([^"\\]+)","costNano":(\d+),"endedAtMs":(\d+),"token":("(?:[^"\\]|\\.)*"),/;
/** Ids, numbers and a token of any legal length fit. */
const SETTLED_BEGIN_BYTES_MAX = 2_048;

/** Null: not a SETTLE frame. */
export function settledBegin(payload: Buffer): SettledBegin | null {
  const match = SETTLED_BEGIN.exec(payload.toString('latin1', 0, SETTLED_BEGIN_BYTES_MAX));
  if (match === null) return null;
  return {
    requestId: match[1]!,
    costNano: Number(match[2]) as Nano,
    endedAtMs: Number(match[3]),
    token: JSON.parse(match[4]!) as string,
  };
}

/** Bytes around the members of a record in the payload of a SETTLE frame: `{"settled":{` and `}}`. */
export const SETTLED_HEAD_BYTES = SETTLED.length;
export const SETTLED_TAIL_BYTES = 2;

type Payload = {
  readonly head?: SegmentHead;
  readonly carried?: NumberedIntent;
  readonly intent?: UsageIntent;
};

export interface SegmentVisitor {
  /** `payload` is a view of what is being read. */
  onSettled(seq: number, begin: SettledBegin, payload: Buffer): void;
}

/** Reads the payloads of one segment in order and counts frames. */
export class SegmentDecoder {
  /** Intents without a settlement so far. Empty when they are not asked for. */
  readonly open = new Map<string, NumberedIntent>();
  head: SegmentHead | null = null;
  /** Frames that were written as they are and make no sense: a fault of ours, not of the disk. */
  unreadableCount = 0;
  #carriedLeft = 0;
  #lastSeq: number;
  readonly #firstSeq: number;
  readonly #wantsOpen: boolean;

  /** `wantsOpen` false: intents are counted and not read, which is what takes the time. */
  constructor(firstSeq: number, wantsOpen: boolean) {
    this.#firstSeq = firstSeq;
    this.#lastSeq = firstSeq - 1;
    this.#wantsOpen = wantsOpen;
  }

  /** Number of the last frame read; one less than the first number of the segment before there is one. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** The head and everything that it carries have been read. Before that, a segment says nothing. */
  get isBegun(): boolean {
    return this.head !== null && this.#carriedLeft === 0;
  }

  /**
   * False: the segment does not begin as it must, and nothing in it is to be trusted. Once it has begun, every frame whose
   * checksum fits has its number, also one that can not be understood: the numbers behind it must not change.
   */
  accept(bytes: Buffer, visitor: SegmentVisitor): boolean {
    if (this.head === null) return this.#acceptHead(parsePayload(bytes)?.head);
    if (this.#carriedLeft > 0) return this.#acceptCarried(parsePayload(bytes)?.carried);
    this.#lastSeq += 1;
    const begin = settledBegin(bytes);
    if (begin !== null) {
      this.open.delete(begin.requestId);
      visitor.onSettled(this.#lastSeq, begin, bytes);
      return true;
    }
    if (!this.#wantsOpen) return true;
    const intent = parsePayload(bytes)?.intent;
    if (intent === undefined) this.unreadableCount += 1;
    else this.open.set(intent.requestId, { seq: this.#lastSeq, intent });
    return true;
  }

  #acceptHead(head: SegmentHead | undefined): boolean {
    if (head === undefined || head.format !== USAGE_LOG_FORMAT || head.firstSeq !== this.#firstSeq) return false;
    this.head = head;
    this.#carriedLeft = head.carriedCount;
    return true;
  }

  #acceptCarried(carried: NumberedIntent | undefined): boolean {
    if (carried === undefined) return false;
    if (this.#wantsOpen) this.open.set(carried.intent.requestId, carried);
    this.#carriedLeft -= 1;
    return true;
  }
}

function parsePayload(bytes: Buffer): Payload | null {
  try {
    return JSON.parse(bytes.toString('utf8')) as Payload;
  } catch {
    return null;
  }
}
