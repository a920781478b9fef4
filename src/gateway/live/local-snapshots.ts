import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Change, Position } from '../../domain/change.ts';
import { isBefore } from '../../feed/codec.ts';
import type { Log } from '../../observe/log.ts';
import { type DeltaLogFs, DeltaLogWriter, nodeDeltaLogFs, replayDeltaLog } from './delta-log.ts';
import { type Denial, DenialLog } from './denial-log.ts';
import { ForeignInstallationError } from './foreign-installation.ts';
import type { MergeRequest } from './packed/merge-base.ts';
import { mergeBaseInWorker } from './packed/merge-base-in-worker.ts';
import type { PrincipalStore } from './principal-store.ts';
import {
  readSnapshotFile,
  SNAPSHOT_FORMAT_WHOLE,
  SnapshotFormatError,
  type SnapshotHeader,
  writeSnapshotFile,
} from './snapshot-file.ts';
import { deltaLogName, deltaLogsIn, type NamedPoint, snapshotName, snapshotsIn } from './snapshot-names.ts';

/** Snapshots kept: the newest, and two to fall back on when that is damaged. */
export const SNAPSHOTS_KEPT = 3;
/** Damaged files kept for a person to look at. */
const DAMAGED_KEPT = 2;
/** At any of these bounds a new snapshot is made out of the newest one and the deltas behind it. */
export const DELTA_FRAMES_MAX = 10_000;
export const DELTA_BYTES_MAX = 16 * 1024 * 1024;
export const DELTA_FILES_MAX = 32;
/** After a failure to write (disk full), the next attempt to put all of it into a new snapshot. */
const WRITE_RETRY_MS = 5_000;

export interface LocalSnapshotsOptions {
  /** The slot directory; created with mode 0700. */
  readonly directory: string;
  readonly store: PrincipalStore;
  readonly log: Log;
  /** Whose models the store has; stands in the snapshots. */
  readonly region?: string;
  /** Makes a snapshot out of files; `mergeBaseInWorker` unless said otherwise. */
  readonly merge?: (request: MergeRequest) => Promise<void>;
  readonly framesMax?: number;
  readonly bytesMax?: number;
  readonly writeRetryMs?: number;
  readonly fs?: DeltaLogFs;
}

/**
 * The disk copy of a principal store: `snapshot-<epoch>-<rev>.snap` files and the delta logs that lead on from them. A new
 * snapshot is of some position, the delta log of that position is begun in the same moment, and the file is
 * written meanwhile; the older snapshot with its logs, which end where the new log begins, carries until it is complete.
 * Where files lead to the position, the new one is merged from them and the store is not touched; else it is written from memory.
 */
export class LocalSnapshots {
  /** The position that the next start of the process would boot from. Called when it has moved. */
  onPersisted: (position: Position) => void = () => {};

  readonly #directory: string;
  readonly #store: PrincipalStore;
  readonly #log: Log;
  readonly #framesMax: number;
  readonly #bytesMax: number;
  readonly #writeRetryMs: number;
  readonly #fs: DeltaLogFs;
  readonly #denials: DenialLog;
  readonly #region: string | null;
  readonly #merge: (request: MergeRequest) => Promise<void>;
  #deltaLog: DeltaLogWriter | null = null;
  /** Frames, bytes and files since the snapshot that carries. */
  #frames = 0;
  #bytes = 0;
  #files = 0;
  /** The newest complete snapshot. */
  #base: Position | null = null;
  /** True while it and the delta logs on disk lead to the store's position without a gap. */
  #complete = false;
  #writing: Promise<void> | null = null;
  #wanted: 'merged' | 'from memory' | null = null;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;
  #isPartial = false;

  constructor(options: LocalSnapshotsOptions) {
    this.#directory = options.directory;
    this.#store = options.store;
    this.#log = options.log;
    this.#framesMax = options.framesMax ?? DELTA_FRAMES_MAX;
    this.#bytesMax = options.bytesMax ?? DELTA_BYTES_MAX;
    this.#writeRetryMs = options.writeRetryMs ?? WRITE_RETRY_MS;
    this.#fs = options.fs ?? nodeDeltaLogFs;
    this.#region = options.region ?? null;
    this.#merge = options.merge ?? mergeBaseInWorker;
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    this.#denials = new DenialLog({ directory: this.#directory, store: this.#store, log: this.#log, fs: this.#fs });
  }

  /**
   * Fills the store from the newest usable snapshot and its deltas; returns the position, or null when there is nothing
   * usable. Damaged snapshots are set aside as `.bad`. Throws `ForeignInstallationError` when `installation` is another one.
   */
  restore(installation: string | null): Position | null {
    this.#removeTemporaryFiles();
    for (const { name } of this.#snapshotFiles()) {
      const collector = this.#store.beginSnapshot();
      let header: SnapshotHeader;
      try {
        header = readSnapshotFile(join(this.#directory, name), collector);
      } catch (error) {
        this.#setAside(name, error);
        continue;
      }
      if (installation !== null && header.installation !== installation) {
        throw new ForeignInstallationError(`The snapshot in ${this.#directory}`, header.installation, installation);
      }
      const base: Position = { installation: header.installation, epoch: header.epoch, rev: header.rev };
      collector.commit(base, header.head);
      this.#isPartial = header.format < SNAPSHOT_FORMAT_WHOLE;
      this.#replay(base);
      this.#base = base;
      this.#complete = true;
      this.#denials.restore();
      return this.#store.position;
    }
    return null;
  }

  /**
   * For a slot that has nothing usable of its own (a stand-in for one whose process of an earlier run still finishes): fills
   * the store from the copy in another slot's directory that leads furthest, and has it saved here. The other directory may
   * belong to a living process, so nothing in it is changed. Returns the position, or null when there is nothing.
   */
  borrow(directories: readonly string[]): Position | null {
    let best: { readonly directory: string; readonly position: Position } | null = null;
    let last: string | null = null;
    for (const directory of directories) {
      const position = this.#readFrom(directory);
      if (position === null) continue;
      last = directory;
      if (best === null || isBefore(best.position, position)) best = { directory, position };
    }
    if (best === null) return null;
    if (last !== best.directory) this.#readFrom(best.directory);
    // Whoever of them heard a denial: it is one.
    this.#denials.restore(directories);
    this.#log.info({ ...best.position, from: best.directory }, 'Started from the copy of another slot');
    this.storeReplaced();
    return this.#store.position;
  }

  /** What was restored was written by an older version, and lacks what that did not know: a whole snapshot is wanted. */
  get isPartial(): boolean {
    return this.#isPartial;
  }

  /** What the files lead to, or null while that is not what the store holds. */
  get persisted(): Position | null {
    return this.#complete ? this.#store.position : null;
  }

  /** Refuses keys ahead of the delta that says so, and keeps that over a restart. */
  deny(denial: Denial): void {
    this.#denials.append(denial);
  }

  /** Called right behind each change of the store, without changes for a snapshot, before anything is answered from it. */
  denyAgain(changes: readonly Change[] | null): void {
    this.#denials.applied(this.#store.position!, changes);
  }

  /** Called after a delta was applied to the store. It is in the file when `onPersisted` has been called for it. */
  appendDelta(from: Position, to: Position, changes: readonly Change[]): void {
    // Not complete and no log: a snapshot is being waited for, and it will contain this delta.
    if (!this.#complete && this.#deltaLog === null) return;
    try {
      this.#deltaLog ??= this.#beginDeltaLog(from);
      const before = this.#deltaLog.bytes;
      this.#deltaLog.append(to.epoch, from.rev, to.rev, changes, this.#store.head);
      this.#bytes += this.#deltaLog.bytes - before;
    } catch (error) {
      this.#writeFailed(error, 'A change is in force but could not be written to the delta log');
      return;
    }
    this.#frames += 1;
    if (this.#complete) this.#reached(to);
    if (this.#frames >= this.#framesMax || this.#bytes >= this.#bytesMax || this.#files >= DELTA_FILES_MAX) {
      this.#renew('merged');
    }
  }

  /** Called after the store was replaced by a snapshot from the feed: nothing on disk leads there yet. */
  storeReplaced(): void {
    this.#complete = false;
    this.#closeDeltaLog();
    this.#renew('from memory');
  }

  /** Resolves when no snapshot is being written. */
  async settled(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.settled();
    this.#closeDeltaLog();
    this.#denials.close();
  }

  /** One snapshot is written at a time; what is asked for meanwhile is one more, of what the store holds then. */
  #renew(how: 'merged' | 'from memory'): void {
    if (this.#writing !== null || this.#closed) {
      if (this.#wanted !== 'from memory') this.#wanted = how;
      return;
    }
    this.#wanted = null;
    const base = how === 'merged' && this.#complete ? this.#base : null;
    const contents = base === null ? this.#store.contents() : null;
    const position = this.#store.position!;
    this.#closeDeltaLog();
    this.#frames = 0;
    this.#bytes = 0;
    this.#files = 0;
    try {
      this.#deltaLog = this.#beginDeltaLog(position);
    } catch (error) {
      this.#writeFailed(error, 'A new delta log could not be created');
      return;
    }
    const deltaLog = this.#deltaLog;
    const directory = this.#directory;
    const written =
      contents === null
        ? this.#merge({ directory, from: base!, to: position, region: this.#region })
        : writeSnapshotFile(join(directory, snapshotName(position)), contents, this.#region);
    this.#writing = written
      .then(
        () => {
          if (this.#deltaLog === deltaLog) this.#saved(position);
        },
        (error: unknown) => {
          if (contents === null) this.#mergeFailed(error);
          else this.#writeFailed(error, 'The snapshot could not be written');
        },
      )
      .finally(() => {
        this.#writing = null;
        if (this.#wanted !== null) this.#renew(this.#wanted);
      });
  }

  #saved(base: Position): void {
    this.#base = base;
    this.#complete = true;
    const position = this.#store.position;
    if (position !== null) this.#reached(position);
    this.#prune();
  }

  #reached(position: Position): void {
    this.#denials.persisted(position);
    this.onPersisted(position);
  }

  /** What is on disk may not lead to where it should: until that is known again, nothing is reported as persisted. */
  #mergeFailed(error: unknown): void {
    this.#log.warn({ error, directory: this.#directory }, 'A snapshot could not be merged; it is written from memory');
    this.#complete = false;
    this.#wanted = 'from memory';
  }

  #writeFailed(error: unknown, message: string): void {
    this.#log.error({ error, directory: this.#directory }, `${message}; trying again in ${this.#writeRetryMs} ms`);
    this.#complete = false;
    this.#closeDeltaLog();
    if (this.#retry !== null || this.#closed) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#renew('from memory');
    }, this.#writeRetryMs);
    this.#retry.unref();
  }

  #beginDeltaLog(start: Position): DeltaLogWriter {
    const path = join(this.#directory, deltaLogName(start));
    const writer = new DeltaLogWriter(path, start, this.#fs);
    this.#files += 1;
    return writer;
  }

  #closeDeltaLog(): void {
    this.#deltaLog?.close();
    this.#deltaLog = null;
  }

  /** From log to log, each beginning where the one before ends; what lies beyond a gap is of no use and is removed. */
  #replay(start: Position): void {
    let position = start;
    const names = new Set(this.#deltaLogFiles().map(({ name }) => name));
    for (;;) {
      const name = deltaLogName(position);
      if (!names.delete(name)) break;
      const reading = replayDeltaLog(join(this.#directory, name), position, (to, changes, head) =>
        this.#store.applyDelta(to, changes, head),
      );
      if (reading.cutBytes > 0) {
        this.#log.warn(
          { file: name, cutBytes: reading.cutBytes },
          'The delta log has an unfinished end, which is ignored',
        );
      }
      this.#frames += reading.frames;
      this.#bytes += reading.bytes;
      this.#files += 1;
      position = reading.position;
      if (reading.frames === 0) break;
    }
    for (const { name, epoch, rev } of this.#deltaLogFiles()) {
      if (isBefore(position, { epoch, rev })) rmSync(join(this.#directory, name), { force: true });
    }
  }

  /** Newest usable snapshot of a directory and what follows it; an unfinished end may be what its owner writes right now. */
  #readFrom(directory: string): Position | null {
    let names: string[];
    try {
      names = readdirSync(directory);
    } catch {
      return null;
    }
    for (const { name } of snapshotsIn(names)) {
      const collector = this.#store.beginSnapshot();
      let position: Position;
      let head: string | null;
      try {
        const header = readSnapshotFile(join(directory, name), collector);
        this.#isPartial = header.format < SNAPSHOT_FORMAT_WHOLE;
        position = { installation: header.installation, epoch: header.epoch, rev: header.rev };
        head = header.head ?? null;
      } catch {
        // Damaged, or its owner has just removed it; the owner reports and repairs what is its own.
        continue;
      }
      collector.commit(position, head);
      try {
        while (names.includes(deltaLogName(position))) {
          const path = join(directory, deltaLogName(position));
          const reading = replayDeltaLog(path, position, (to, changes, head) =>
            this.#store.applyDelta(to, changes, head),
          );
          position = reading.position;
          if (reading.frames === 0) break;
        }
      } catch {
        // The owner has just removed that log: what was read so far is a consistent state.
      }
      return position;
    }
    return null;
  }

  #setAside(name: string, error: unknown): void {
    if (error instanceof SnapshotFormatError) {
      this.#log.warn({ file: name, error }, 'The snapshot is of a newer version and is left alone');
      return;
    }
    this.#log.error(
      { file: name, error },
      'The snapshot is damaged; it is set aside as .bad and an older one is tried',
    );
    try {
      renameSync(join(this.#directory, name), join(this.#directory, `${name}.bad`));
    } catch (renameError) {
      this.#log.error({ file: name, error: renameError }, 'The damaged snapshot could not be renamed');
    }
  }

  #prune(): void {
    const snapshots = this.#snapshotFiles();
    const oldest = snapshots[Math.min(snapshots.length, SNAPSHOTS_KEPT) - 1];
    const stale = snapshots.slice(SNAPSHOTS_KEPT).map(({ name }) => name);
    for (const deltas of this.#deltaLogFiles()) {
      if (oldest !== undefined && isBefore(deltas, oldest)) stale.push(deltas.name);
    }
    const damaged = readdirSync(this.#directory).filter((name) => name.endsWith('.snap.bad'));
    stale.push(...damaged.sort().slice(0, -DAMAGED_KEPT));
    for (const name of stale) rmSync(join(this.#directory, name), { force: true });
  }

  #removeTemporaryFiles(): void {
    for (const name of readdirSync(this.#directory)) {
      if (name.startsWith('.snapshot-') && name.endsWith('.tmp')) rmSync(join(this.#directory, name), { force: true });
    }
  }

  /** Newest first. */
  #snapshotFiles(): NamedPoint[] {
    return snapshotsIn(readdirSync(this.#directory));
  }

  /** Oldest first. */
  #deltaLogFiles(): NamedPoint[] {
    return deltaLogsIn(readdirSync(this.#directory));
  }
}
