/**
 * One file of the usage log, `usage-<number of its first frame>.log`: checked frames whose payloads are
 *
 *   {"head": ...}         first; which segment this is
 *   {"carried": ...}      an intent of an earlier segment that had no settlement when this segment began
 *   {"intent": ...}       numbered
 *   {"settlement": ...}   numbered
 *
 * A segment explains itself: it can be read, and calls can be joined, without any other file.
 */
import type { UsageIntent, UsageSettlement } from '../../domain/usage.ts';
import type { FrameBuffer } from '../live/checked-frames.ts';
import { intentMembers, settlementMembers } from './usage-json.ts';

export const USAGE_LOG_FORMAT = 1;

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

/** An intent and its settlement, with the number of the SETTLE frame. */
export interface SettledCall {
  readonly seq: number;
  readonly intent: UsageIntent;
  readonly settlement: UsageSettlement;
}

/** A `UsageRecord` as JSON. */
export function recordJson({ seq, intent, settlement }: SettledCall): string {
  return `{"seq":${seq},${intentMembers(intent)},${settlementMembers(settlement)}}`;
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

export function appendHead(frames: FrameBuffer, head: SegmentHead, carried: readonly NumberedIntent[]): void {
  frames.append(`{"head":${JSON.stringify(head)}}`);
  for (const { seq, intent } of carried) frames.append(`{"carried":${JSON.stringify({ seq, intent })}}`);
}

export function appendIntent(frames: FrameBuffer, intent: UsageIntent): void {
  frames.append(`{"intent":{${intentMembers(intent)}}}`);
}

export function appendSettlement(frames: FrameBuffer, settlement: UsageSettlement): void {
  frames.append(`{"settlement":{"requestId":"${settlement.requestId}",${settlementMembers(settlement)}}}`);
}

type Payload = {
  readonly head?: SegmentHead;
  readonly carried?: NumberedIntent;
  readonly intent?: UsageIntent;
  readonly settlement?: UsageSettlement;
};

/** Reads the payloads of one segment in order, counts frames, and joins settlements to their intents. */
export class SegmentDecoder {
  readonly open = new Map<string, NumberedIntent>();
  head: SegmentHead | null = null;
  /** Frames that were written as they are and make no sense: a fault of ours, not of the disk. */
  unreadableCount = 0;
  #carriedLeft = 0;
  #lastSeq: number;
  readonly #firstSeq: number;

  constructor(firstSeq: number) {
    this.#firstSeq = firstSeq;
    this.#lastSeq = firstSeq - 1;
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
  accept(bytes: Buffer, onSettled: (call: SettledCall) => void): boolean {
    const payload = parsePayload(bytes);
    if (this.head === null) return this.#acceptHead(payload?.head);
    if (this.#carriedLeft > 0) return this.#acceptCarried(payload?.carried);
    this.#lastSeq += 1;
    const { intent, settlement } = payload ?? {};
    if (intent !== undefined) {
      this.open.set(intent.requestId, { seq: this.#lastSeq, intent });
      return true;
    }
    const opened = settlement === undefined ? undefined : this.open.get(settlement.requestId);
    if (settlement === undefined || opened === undefined) {
      this.unreadableCount += 1;
      return true;
    }
    this.open.delete(settlement.requestId);
    onSettled({ seq: this.#lastSeq, intent: opened.intent, settlement });
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
    this.open.set(carried.intent.requestId, carried);
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
