import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { at, keyChange, keyDeleted, principalOf, stateOf } from '../../../../tests/support/principals.ts';
import { DeltaLogWriter } from '../delta-log.ts';
import { readSnapshotFile, writeSnapshotFile } from '../snapshot-file.ts';
import { deltaLogName, snapshotName } from '../snapshot-names.ts';
import { mergeBase } from './merge-base.ts';
import { PackedPrincipalStore } from './packed-principal-store.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'merge-base-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('mergeBase', () => {
  it('leaves out the gaps when they are many, and nothing else', async () => {
    const store = new PackedPrincipalStore();
    const collector = store.beginSnapshot();
    const keys = Array.from({ length: 3_000 }, (_, index) => principalOf(index, { keyAlias: `${index} `.repeat(50) }));
    collector.addKeys(keys.map((principal) => ({ principal, spendNano: '98765432109876543210' })));
    collector.commit(at(1), 'a'.repeat(64));
    await writeSnapshotFile(join(directory, snapshotName(at(1))), store.contents());

    const changes = Array.from({ length: 2_900 }, (_, index) => keyDeleted(2, index));
    changes.push(keyChange(2, 2_990, { keyAlias: 'short' }));
    store.applyDelta(at(2), changes, 'b'.repeat(64));
    const log = new DeltaLogWriter(join(directory, deltaLogName(at(1))), at(1));
    log.append(1, 1, 2, changes, 'b'.repeat(64));
    log.close();
    // What the store would have written itself has the gaps.
    const withGaps = join(directory, 'with-gaps');
    await writeSnapshotFile(withGaps, store.contents());

    await mergeBase({ directory, from: at(1), to: at(2), region: 'eu' });
    const path = join(directory, snapshotName(at(2)));
    expect(statSync(path).size).toBeLessThan(statSync(withGaps).size / 2);
    const next = new PackedPrincipalStore();
    const loading = next.beginSnapshot();
    expect(readSnapshotFile(path, loading)).toMatchObject({ format: 4, rev: 2, region: 'eu', head: 'b'.repeat(64) });
    loading.commit(at(2), 'b'.repeat(64));
    expect(stateOf(next)).toEqual(stateOf(store));
  });
});
