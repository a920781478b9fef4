import { type FileHandle, open } from 'node:fs/promises';
import type { Log } from '../../observe/log.ts';
import { scanFrames } from '../live/checked-frames.ts';
import { SegmentDecoder, type SegmentFile, type SegmentVisitor } from './usage-segment.ts';

/** Read at once; parsing it is the longest that the event loop is held. */
const READ_BYTES = 256 * 1024;

/** The part of the segment store that is read from. */
export interface ReadableSegments {
  readonly segments: readonly SegmentFile[];
  readonly version: number;
}

/** Reads the records of settled calls back from the files, in order, from a given number on. */
export class UsageLogReader {
  readonly #files: ReadableSegments;
  readonly #log: Log;
  /** Everything up to here has been handed out. */
  #position: number;
  #version: number;
  #current: OpenSegment | null = null;

  constructor(files: ReadableSegments, afterSeq: number, log: Log) {
    this.#files = files;
    this.#log = log;
    this.#position = afterSeq;
    this.#version = files.version;
  }

  get position(): number {
    return this.#position;
  }

  /**
   * Shows `visitor` the next calls that were settled in frames up to `untilSeq`, at most `max`. After it, `position` is the number
   * up to which nothing is left out: of the last call when there were `max` of them, else `untilSeq`. What is damaged or gone is
   * skipped and logged. `untilSeq` must be in the files.
   */
  async next(max: number, untilSeq: number, visitor: SegmentVisitor): Promise<void> {
    const wanted: Wanted = { left: max, visitor };
    while (this.#position < untilSeq && wanted.left > 0) {
      if (this.#version !== this.#files.version) {
        await this.close();
        this.#version = this.#files.version;
      }
      const segment = this.#current ?? (await this.#openSegment(untilSeq));
      if (segment === null) break;
      const progressed = this.#scan(segment, wanted, untilSeq);
      if (this.#position >= untilSeq || wanted.left <= 0) break;
      if (this.#position >= this.#endOf(segment)) await this.close();
      else if (!progressed && !(await this.#readMore(segment))) await this.#leaveDamaged(segment, untilSeq);
    }
  }

  async close(): Promise<void> {
    const current = this.#current;
    this.#current = null;
    await current?.handle.close();
  }

  /** Decodes what has been read; true when that was at least one frame. */
  #scan(segment: OpenSegment, wanted: Wanted, untilSeq: number): boolean {
    const { decoder } = segment;
    const lastSeq = Math.min(untilSeq, this.#endOf(segment));
    const onSettled: SegmentVisitor['onSettled'] = (seq, begin, payload) => {
      if (seq <= this.#position) return;
      wanted.left -= 1;
      wanted.visitor.onSettled(seq, begin, payload);
    };
    const good = scanFrames(segment.bytes, (payload) => {
      if (wanted.left <= 0 || (decoder.isBegun && decoder.lastSeq >= lastSeq)) return false;
      const accepted = decoder.accept(payload, { onSettled });
      if (decoder.lastSeq > this.#position) this.#position = decoder.lastSeq;
      return accepted;
    });
    segment.bytes = segment.bytes.subarray(good);
    return good > 0;
  }

  async #readMore(segment: OpenSegment): Promise<boolean> {
    const chunk = Buffer.allocUnsafe(READ_BYTES);
    const { bytesRead } = await segment.handle.read(chunk, 0, READ_BYTES, segment.offset);
    if (bytesRead === 0) return false;
    segment.offset += bytesRead;
    segment.bytes = Buffer.concat([segment.bytes, chunk.subarray(0, bytesRead)]);
    return true;
  }

  /** Number of the last frame that counts in this segment: the next one begins behind it. */
  #endOf({ firstSeq }: SegmentFile): number {
    const next = this.#files.segments.find((segment) => segment.firstSeq > firstSeq);
    return next === undefined ? Number.POSITIVE_INFINITY : next.firstSeq - 1;
  }

  /** The segment that holds the frame after `position`. */
  async #openSegment(untilSeq: number): Promise<OpenSegment | null> {
    const { segments } = this.#files;
    const found = segments.findLast((segment) => segment.firstSeq <= this.#position + 1) ?? segments[0];
    if (found === undefined || found.firstSeq > untilSeq) {
      this.#skipTo(untilSeq, 'are not in any file');
      return null;
    }
    if (found.firstSeq > this.#position + 1) this.#skipTo(found.firstSeq - 1, 'have been removed already');
    let handle: FileHandle;
    try {
      handle = await open(found.path, 'r');
    } catch (error) {
      if (this.#version !== this.#files.version) return null;
      this.#log.error({ file: found.path, error }, 'A segment of the usage log can not be opened');
      this.#skipTo(Math.min(untilSeq, this.#endOf(found)), 'can not be read');
      return null;
    }
    this.#current = {
      ...found,
      handle,
      decoder: new SegmentDecoder(found.firstSeq, false),
      bytes: Buffer.alloc(0),
      offset: 0,
    };
    return this.#current;
  }

  async #leaveDamaged(segment: OpenSegment, untilSeq: number): Promise<void> {
    await this.close();
    this.#skipTo(Math.min(untilSeq, this.#endOf(segment)), `can not be read from ${segment.path}`);
  }

  #skipTo(seq: number, why: string): void {
    const fields = { fromSeq: this.#position + 1, toSeq: seq };
    if (seq > this.#position) this.#log.error(fields, `Frames of the usage log ${why}; what they hold is not sent`);
    this.#position = Math.max(this.#position, seq);
  }
}

interface Wanted {
  left: number;
  readonly visitor: SegmentVisitor;
}

interface OpenSegment extends SegmentFile {
  readonly handle: FileHandle;
  readonly decoder: SegmentDecoder;
  /** Read and not decoded. */
  bytes: Buffer;
  /** Of the file, behind `bytes`. */
  offset: number;
}
