import { join } from 'node:path';
import type { Log } from '../../observe/log.ts';
import { FrameBuffer } from '../live/checked-frames.ts';
import type { RecoveredUsageLog } from './recover-usage-log.ts';
import type { UsageLogFs } from './usage-log-fs.ts';
import { appendHead, type CarriedIntent, type SegmentFile, segmentName, USAGE_LOG_FORMAT } from './usage-segment.ts';

/** A segment that has reached this size is followed by a new one. */
export const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;
/** Acknowledged segments that are kept, for a database that is put back to an earlier state. */
export const SEGMENTS_RETAINED = 4;
/** While there is something to sync, it is synced this often; all of it in one go. */
export const SYNC_INTERVAL_MS = 50;

export interface SegmentStoreOptions {
  readonly directory: string;
  readonly fs: UsageLogFs;
  readonly log: Log;
  readonly segmentBytesMax: number;
  readonly syncIntervalMs: number;
  readonly recovered: RecoveredUsageLog;
  /** A sync failed: what was written since the last good one may be lost to a power failure, and must be written again. */
  readonly onSyncFailed: (error: Error) => void;
}

/**
 * The files of the usage log: where frames are appended, which are on disk for certain, and which are not needed any more.
 * It knows frames and their numbers, and nothing of requests.
 */
export class SegmentStore {
  /** Oldest first; the last one is being written. */
  segments: readonly SegmentFile[];
  /** Raised when files were replaced: whoever reads one must open it again. */
  version = 0;

  readonly #options: SegmentStoreOptions;
  readonly #fs: UsageLogFs;
  readonly #directoryFd: number;
  #generation: number;
  #active: OpenSegment | null = null;
  #lastSeq: number;
  #syncedSeq: number;
  /** Copies of the frames after `#syncedSeq`: after a failed sync they can be trusted, and the file can not. */
  readonly #unsynced = new FrameBuffer();
  /** Full segments that still have to be synced. */
  #finished: OpenSegment[] = [];
  /** Given up while a sync of theirs may be running; closed after it. */
  #condemned: OpenSegment[] = [];
  #directoryDirty = false;
  #syncTimer: NodeJS.Timeout | null = null;
  #syncing = false;
  #rebuilding = false;
  #onIdle: (() => void) | null = null;
  readonly #scratch = new FrameBuffer();

  constructor(options: SegmentStoreOptions) {
    this.#options = options;
    this.#fs = options.fs;
    this.segments = options.recovered.segments;
    this.#generation = options.recovered.generation;
    this.#lastSeq = options.recovered.lastSeq;
    this.#syncedSeq = options.recovered.lastSeq;
    this.#directoryFd = this.#fs.openSync(options.directory, 'r');
  }

  /** Number of the last frame that is in a file. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Number of the last frame that is on disk for certain. */
  get syncedSeq(): number {
    return this.#syncedSeq;
  }

  get unsyncedBytes(): number {
    return this.#unsynced.length;
  }

  /** Number of the first frame that can still be read. */
  get firstSeq(): number {
    return this.segments[0]?.firstSeq ?? this.#lastSeq + 1;
  }

  /**
   * Appends `count` frames with one `write`, to a new segment if the present one is full (or there is none). Throws when they
   * could not be written; then none of them counts.
   */
  append(frames: Buffer, count: number, carried: () => readonly CarriedIntent[]): void {
    const { segmentBytesMax } = this.#options;
    if (this.#active === null || (this.#active.bytes > 0 && this.#active.bytes + frames.length > segmentBytesMax)) {
      const next = this.#prepare(this.#lastSeq + 1, carried(), null);
      const full = this.#active;
      this.#install(next);
      if (full !== null) this.#finished.push(full);
    }
    const active = this.#active!;
    try {
      this.#writeAll(active.fd, frames, active.offset);
    } catch (error) {
      // The caller goes on with `rebuild`, so nothing is appended to this file again, whether or not this works.
      this.#fs.ftruncateSync(active.fd, active.offset);
      throw error;
    }
    active.offset += frames.length;
    active.bytes += frames.length;
    this.#lastSeq += count;
    this.#unsynced.appendEncoded(frames);
    this.#scheduleSync();
  }

  /**
   * Leaves all files that may not have reached the disk, writes what they held after `syncedSeq` into a new segment of a
   * higher generation, and syncs that. `carried` are the intents that were open at `syncedSeq`. Nothing may be appended
   * meanwhile. Rejects when that fails too; nothing has changed then, and it can be tried again.
   */
  async rebuild(carried: readonly CarriedIntent[]): Promise<void> {
    this.#rebuilding = true;
    if (this.#syncTimer !== null) clearTimeout(this.#syncTimer);
    this.#syncTimer = null;
    this.#generation += 1;
    try {
      const next = this.#prepare(this.#syncedSeq + 1, carried, this.#unsynced.view());
      try {
        await this.#syncFd(next.fd);
      } catch (error) {
        this.#discard(next);
        throw error;
      }
      const superseded = this.segments.filter(({ firstSeq }) => firstSeq > next.firstSeq);
      const left = this.#active === null ? this.#finished : [...this.#finished, this.#active];
      this.#install(next);
      this.#finished = [];
      this.#condemned.push(...left);
      for (const { path } of superseded) this.#remove(path);
    } finally {
      this.#rebuilding = false;
    }
    this.version += 1;
    this.#syncedSeq = this.#lastSeq;
    this.#unsynced.clear();
    if (!this.#syncing) this.#closeCondemned();
    this.#scheduleSync();
  }

  /** Deletes segments that were acknowledged to their last frame, but for the newest of them. */
  removeAcknowledged(ackedSeq: number): void {
    // A segment ends where the next one begins.
    const done = this.segments.filter((_, index) => (this.segments[index + 1]?.firstSeq ?? Infinity) <= ackedSeq + 1);
    const removable = done.slice(0, -SEGMENTS_RETAINED);
    if (removable.length === 0) return;
    this.segments = this.segments.slice(removable.length);
    for (const { path } of removable) this.#remove(path);
  }

  /** Resolves when everything appended is on disk, or a sync has failed. */
  async flush(): Promise<void> {
    while (this.#syncing || this.#syncTimer !== null) {
      const idle = new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
      if (!this.#syncing) this.#sync();
      await idle;
    }
  }

  async close(): Promise<void> {
    await this.flush();
    if (this.#active !== null) this.#condemned.push(this.#active);
    this.#condemned.push(...this.#finished);
    this.#active = null;
    this.#finished = [];
    this.#closeCondemned();
    this.#fs.closeSync(this.#directoryFd);
  }

  /** A complete segment under a temporary name. */
  #prepare(firstSeq: number, carried: readonly CarriedIntent[], frames: Buffer | null): OpenSegment {
    const { directory } = this.#options;
    const name = segmentName(firstSeq);
    const temporaryPath = join(directory, `.${name}.tmp`);
    const head = { format: USAGE_LOG_FORMAT, firstSeq, generation: this.#generation, carriedCount: carried.length };
    this.#scratch.clear();
    appendHead(this.#scratch, head, carried);
    if (frames !== null) this.#scratch.appendEncoded(frames);
    const bytes = this.#scratch.view();
    const fd = this.#fs.openSync(temporaryPath, 'w', 0o600);
    const segment: OpenSegment = {
      fd,
      firstSeq,
      path: join(directory, name),
      temporaryPath,
      offset: bytes.length,
      bytes: frames?.length ?? 0,
    };
    try {
      this.#writeAll(fd, bytes, 0);
    } catch (error) {
      this.#discard(segment);
      throw error;
    } finally {
      this.#scratch.clear();
    }
    return segment;
  }

  /** Puts it in its place and makes it the one that is written. When it throws, nothing has changed. */
  #install(next: OpenSegment): void {
    try {
      this.#fs.renameSync(next.temporaryPath, next.path);
    } catch (error) {
      this.#discard(next);
      throw error;
    }
    this.#active = next;
    const before = this.segments.filter(({ firstSeq }) => firstSeq < next.firstSeq);
    this.segments = [...before, { path: next.path, firstSeq: next.firstSeq }];
    this.#directoryDirty = true;
  }

  #remove(path: string): void {
    try {
      this.#fs.unlinkSync(path);
    } catch (error) {
      // It is of no use any more and does no harm: a start recognises it by its numbers and its generation.
      this.#options.log.warn({ file: path, error }, 'A segment of the usage log could not be removed');
    }
  }

  #discard(segment: OpenSegment): void {
    this.#fs.closeSync(segment.fd);
    try {
      this.#fs.unlinkSync(segment.temporaryPath);
    } catch {
      // Left for the next start, which removes temporary files.
    }
  }

  #writeAll(fd: number, bytes: Buffer, at: number): void {
    for (let done = 0; done < bytes.length; ) {
      done += this.#fs.writeSync(fd, bytes, done, bytes.length - done, at + done);
    }
  }

  #scheduleSync(): void {
    if (this.#syncTimer !== null || this.#syncing || this.#rebuilding) return;
    this.#syncTimer = setTimeout(() => this.#sync(), this.#options.syncIntervalMs);
  }

  /** Syncs, off the event loop, everything that is in the files now. */
  #sync(): void {
    if (this.#syncTimer !== null) clearTimeout(this.#syncTimer);
    this.#syncTimer = null;
    this.#syncing = true;
    const generation = this.#generation;
    const seq = this.#lastSeq;
    const bytes = this.#unsynced.length;
    const finished = this.#finished;
    const segments = this.#active === null ? finished : [...finished, this.#active];
    const directoryDirty = this.#directoryDirty;
    this.#directoryDirty = false;
    this.#syncEach(segments, directoryDirty, (error) => {
      this.#syncing = false;
      this.#closeCondemned();
      if (generation === this.#generation) {
        if (error !== null) {
          this.#directoryDirty ||= directoryDirty;
          this.#options.onSyncFailed(error);
        } else {
          this.#syncedSeq = seq;
          this.#unsynced.drop(bytes);
          this.#finished = this.#finished.slice(finished.length);
          for (const segment of finished) this.#fs.closeSync(segment.fd);
        }
      }
      if (error === null && (this.#unsynced.length > 0 || this.#directoryDirty)) this.#scheduleSync();
      this.#onIdle?.();
    });
  }

  #syncEach(segments: readonly OpenSegment[], directory: boolean, done: (error: Error | null) => void): void {
    let index = 0;
    const next = (error: Error | null): void => {
      if (error !== null) done(error);
      else if (index < segments.length) this.#fs.fdatasync(segments[index++]!.fd, next);
      else if (directory) this.#fs.fsync(this.#directoryFd, done);
      else done(null);
    };
    next(null);
  }

  #syncFd(fd: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  #closeCondemned(): void {
    for (const { fd } of this.#condemned) this.#fs.closeSync(fd);
    this.#condemned = [];
  }
}

interface OpenSegment extends SegmentFile {
  readonly fd: number;
  readonly temporaryPath: string;
  /** Where the next frame goes. */
  offset: number;
  /** Of numbered frames. */
  bytes: number;
}
