import { readFileSync } from 'node:fs';
import type { Nano } from '../../domain/money.ts';
import type { Charge } from '../../domain/usage.ts';
import { scanFrames } from '../live/checked-frames.ts';
import { segmentFiles } from './recover-usage-log.ts';
import { SegmentDecoder } from './usage-segment.ts';

/**
 * Tells of every settlement in the log of a slot that was paid from budgets and has a number above `afterSeq`. False when the log does not reach
 * back that far: what stood there is not known.
 */
export function settledSince(
  directory: string,
  afterSeq: number,
  each: (charges: readonly Charge[], costNano: Nano) => void,
): boolean {
  const segments = segmentFiles(directory);
  for (const [index, { path, firstSeq }] of segments.entries()) {
    const next = segments[index + 1];
    // All of it is older.
    if (next !== undefined && next.firstSeq <= afterSeq + 1) continue;
    const decoder = new SegmentDecoder(firstSeq, false);
    scanFrames(readFileSync(path), (payload) =>
      decoder.accept(payload, {
        onSettled(seq, { costNano }, frame) {
          if (seq <= afterSeq || (next !== undefined && seq >= next.firstSeq)) return;
          const charges = chargesIn(frame);
          if (charges !== null) each(charges, costNano);
        },
      }),
    );
  }
  return (segments[0]?.firstSeq ?? 1) <= afterSeq + 1;
}

function chargesIn(frame: Buffer): readonly Charge[] | null {
  if (!frame.includes('"charges":')) return null;
  const { settled } = JSON.parse(frame.toString('utf8')) as { settled: { charges?: readonly Charge[] } };
  return settled.charges ?? null;
}
