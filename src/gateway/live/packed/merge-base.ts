import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Position } from '../../../domain/change.ts';
import { replayDeltaLog } from '../delta-log.ts';
import { readSnapshotFile, writeSnapshotFile } from '../snapshot-file.ts';
import { deltaLogName, snapshotName } from '../snapshot-names.ts';
import type { PackedContents } from './packed-contents.ts';
import { PackedPrincipalStore, packedContentsOf } from './packed-principal-store.ts';

/** When more than this part of the pools is gaps, the new base is written without them. */
const GAPS_MAX = 0.25;

export interface MergeRequest {
  /** The slot directory. */
  readonly directory: string;
  /** A snapshot there, from which delta logs lead to `to`. */
  readonly from: Position;
  readonly to: Position;
  readonly region: string | null;
}

/**
 * Makes a new snapshot out of an older one and the deltas behind it, from file to file. Needs as much memory as the store itself, and
 * nothing of the store. Throws when the files do not lead to `to`.
 */
export async function mergeBase({ directory, from, to, region }: MergeRequest): Promise<void> {
  const store = new PackedPrincipalStore();
  const collector = store.beginSnapshot();
  const { head } = readSnapshotFile(join(directory, snapshotName(from)), collector);
  collector.commit(from, head ?? null);
  for (let position = from; position.rev < to.rev; ) {
    const path = join(directory, deltaLogName(position));
    if (!existsSync(path)) break;
    const reading = replayDeltaLog(path, position, (next, changes, nextHead) =>
      store.applyDelta(next, changes, nextHead),
    );
    if (reading.frames === 0) break;
    position = reading.position;
  }
  if (store.position?.rev !== to.rev) {
    throw new Error(`the files lead from revision ${from.rev} to ${store.position?.rev}, not to ${to.rev}`);
  }
  const contents = store.contents() as PackedContents;
  const { coldBytes, freeBytes, textBytes } = store.sizes;
  const hasGaps = freeBytes > (coldBytes + textBytes) * GAPS_MAX;
  await writeSnapshotFile(join(directory, snapshotName(to)), hasGaps ? packedContentsOf(contents) : contents, region);
}
