import { closeSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../observe/log.ts';
import { scanFrames } from '../live/checked-frames.ts';
import {
  firstSeqOf,
  type NumberedIntent,
  SegmentDecoder,
  type SegmentFile,
  type SegmentVisitor,
} from './usage-segment.ts';

export interface RecoveredUsageLog {
  /** Oldest first. */
  readonly segments: readonly SegmentFile[];
  /** Number of the last good frame; 0 for an empty log. */
  readonly lastSeq: number;
  readonly generation: number;
  /** Intents without a settlement: the process was killed while these calls were in flight. Oldest first. */
  readonly open: readonly NumberedIntent[];
}

/** The head of a segment is its first frame and fits this easily. */
const HEAD_BYTES_MAX = 4_096;

/**
 * What the directory holds after any end of the process that wrote it. Nothing is repaired in place: a file is used up to its
 * last good frame, and the next process begins a segment of its own there.
 */
export function recoverUsageLog(directory: string, log: Log): RecoveredUsageLog {
  for (const name of readdirSync(directory)) {
    if (name.startsWith('.usage-') && name.endsWith('.tmp')) rmSync(join(directory, name), { force: true });
  }
  const segments: (SegmentFile & { readonly generation: number })[] = [];
  for (const file of segmentFiles(directory)) {
    const generation = readGeneration(file);
    const before = segments.at(-1);
    if (generation === null) {
      setAside(file, log, 'A segment of the usage log has no readable head');
    } else if (before !== undefined && generation < before.generation) {
      // The segment before it was written later and holds the same frames: the process ended between the two steps of replacing.
      rmSync(file.path, { force: true });
    } else {
      segments.push({ ...file, generation });
    }
  }
  for (;;) {
    const last = segments.at(-1);
    if (last === undefined) return { segments: [], lastSeq: 0, generation: 0, open: [] };
    const bytes = readFileSync(last.path);
    const decoder = new SegmentDecoder(last.firstSeq, true);
    const good = scanFrames(bytes, (payload) => decoder.accept(payload, NO_VISITOR));
    if (decoder.isBegun) {
      if (good < bytes.length) {
        const fields = {
          file: last.path,
          goodBytes: good,
          ignoredBytes: bytes.length - good,
          lastSeq: decoder.lastSeq,
        };
        log.warn(fields, 'The usage log has an unfinished end, which is ignored');
      }
      if (decoder.unreadableCount > 0) {
        const { unreadableCount } = decoder;
        log.error({ file: last.path, unreadableCount }, 'The usage log holds frames that can not be understood');
      }
      const open = [...decoder.open.values()].sort((a, b) => a.seq - b.seq);
      return { segments, lastSeq: decoder.lastSeq, generation: last.generation, open };
    }
    // Cut off before it said anything: the segment before it is complete.
    segments.pop();
    setAside(last, log, 'The newest segment of the usage log was not begun completely');
  }
}

/** Oldest first. */
export function segmentFiles(directory: string): SegmentFile[] {
  const files: SegmentFile[] = [];
  for (const name of readdirSync(directory)) {
    const firstSeq = firstSeqOf(name);
    if (firstSeq !== null) files.push({ path: join(directory, name), firstSeq });
  }
  return files.sort((a, b) => a.firstSeq - b.firstSeq);
}

function readGeneration(file: SegmentFile): number | null {
  const fd = openSync(file.path, 'r');
  try {
    const bytes = Buffer.alloc(HEAD_BYTES_MAX);
    const length = readSync(fd, bytes, 0, HEAD_BYTES_MAX, 0);
    const decoder = new SegmentDecoder(file.firstSeq, false);
    scanFrames(bytes.subarray(0, length), (payload) => decoder.head === null && decoder.accept(payload, NO_VISITOR));
    return decoder.head?.generation ?? null;
  } finally {
    closeSync(fd);
  }
}

const NO_VISITOR: SegmentVisitor = { onSettled() {} };

function setAside(file: SegmentFile, log: Log, message: string): void {
  log.error({ file: file.path }, `${message}; it is set aside as .bad`);
  renameSync(file.path, `${file.path}.bad`);
}
