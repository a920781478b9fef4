/**
 * Deltas on top of a snapshot, as checked frames in one file per starting point (`delta-<epoch>-<rev>.log`). The first frame
 * says where the file starts. Deltas are written and not fsynced one by one: a killed process loses nothing, and after a
 * power loss the feed sends again what the file lost, because a gateway process says at hello what it has.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { Change, Position } from '../../domain/change.ts';
import { parseDownFrame } from '../../feed/codec.ts';
import type { DownFrame } from '../../feed/protocol.ts';
import { FrameBuffer, scanFrames } from './checked-frames.ts';

export const DELTA_LOG_FORMAT = 1;

/** What this module needs of `node:fs`; a parameter, so that tests can fill the disk. */
export interface DeltaLogFs {
  openSync(path: string, flags: string, mode: number): number;
  writeSync(fd: number, bytes: Buffer, offset: number, length: number, position: number): number;
  ftruncateSync(fd: number, length: number): void;
  closeSync(fd: number): void;
}

export const nodeDeltaLogFs: DeltaLogFs = { openSync, writeSync, ftruncateSync, closeSync };

interface DeltaLogHead extends Position {
  readonly format: number;
}

/** The file that deltas are appended to. */
export class DeltaLogWriter {
  readonly #fs: DeltaLogFs;
  readonly #fd: number;
  readonly #frames = new FrameBuffer();
  #bytes = 0;

  /** Creates the file, or empties one that holds nothing usable. Throws what the file system throws. */
  constructor(path: string, start: Position, fs: DeltaLogFs = nodeDeltaLogFs) {
    this.#fs = fs;
    this.#fd = fs.openSync(path, 'w', 0o600);
    const head: DeltaLogHead = { format: DELTA_LOG_FORMAT, ...start };
    try {
      this.#write(JSON.stringify(head));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** When it throws, the file is as it was before, or it must not be appended to any more. */
  append(epoch: number, from: number, to: number, changes: readonly Change[], head: string | null = null): void {
    this.#write(JSON.stringify({ t: 'delta', epoch, from, to, changes, ...(head === null ? {} : { head }) }));
  }

  close(): void {
    this.#fs.closeSync(this.#fd);
  }

  #write(payload: string): void {
    this.#frames.clear();
    this.#frames.append(payload);
    const bytes = this.#frames.view();
    try {
      for (let done = 0; done < bytes.length; ) {
        done += this.#fs.writeSync(this.#fd, bytes, done, bytes.length - done, this.#bytes + done);
      }
    } catch (error) {
      this.#fs.ftruncateSync(this.#fd, this.#bytes);
      throw error;
    }
    this.#bytes += bytes.length;
  }
}

export interface DeltaLogReading {
  /** Where the good part of the file ends. */
  readonly position: Position;
  readonly frames: number;
  readonly bytes: number;
  /** Bytes behind the last good frame. */
  readonly cutBytes: number;
}

/**
 * Replays the file from `start`: each delta that continues the one before goes to `apply`; the first frame that is damaged or
 * does not continue ends it. A file that does not start at `start` gives nothing.
 */
export function replayDeltaLog(
  path: string,
  start: Position,
  apply: (to: Position, changes: readonly Change[], head: string | null) => void,
): DeltaLogReading {
  const bytes = readFileSync(path);
  let position = start;
  let frames = 0;
  let started = false;
  const good = scanFrames(bytes, (payload) => {
    const text = payload.toString('utf8');
    if (!started) {
      started = isHeadOf(text, start);
      return started;
    }
    const frame = parseDelta(text);
    if (frame === null || frame.epoch !== position.epoch || frame.from !== position.rev) return false;
    position = { ...position, rev: frame.to };
    apply(position, frame.changes, frame.head ?? null);
    frames += 1;
    return true;
  });
  return { position, frames, bytes: good, cutBytes: bytes.length - good };
}

function isHeadOf(text: string, start: Position): boolean {
  const head = JSON.parse(text) as DeltaLogHead;
  return (
    head.format === DELTA_LOG_FORMAT &&
    head.installation === start.installation &&
    head.epoch === start.epoch &&
    head.rev === start.rev
  );
}

/** Null for what this version can not read: a frame of a newer version ends the replay like damage does. */
function parseDelta(text: string): Extract<DownFrame, { t: 'delta' }> | null {
  try {
    const frame = parseDownFrame(text);
    return frame?.t === 'delta' && frame.to >= frame.from ? frame : null;
  } catch {
    return null;
  }
}
