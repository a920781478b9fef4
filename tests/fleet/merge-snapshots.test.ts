import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { LocalSnapshots } from '../../src/gateway/live/local-snapshots.ts';
import type { mergeBaseInWorker as MergeBaseInWorker } from '../../src/gateway/live/packed/merge-base-in-worker.ts';
import { PackedPrincipalStore } from '../../src/gateway/live/packed/packed-principal-store.ts';
import { at, keyChange, principalOf, recordingLog, stateOf } from '../support/principals.ts';

// Types are known from the source; what runs is what users run.
const BUILT = new URL('../../dist/gateway/live/packed/merge-base-in-worker.js', import.meta.url).href;

it('the built program finds the thread that merges snapshots', async () => {
  const { mergeBaseInWorker } = (await import(BUILT)) as { mergeBaseInWorker: typeof MergeBaseInWorker };
  const directory = mkdtempSync(join(tmpdir(), 'merge-'));
  try {
    const { log, text } = recordingLog();
    const store = new PackedPrincipalStore();
    const snapshots = new LocalSnapshots({ directory, store, log, framesMax: 1, merge: mergeBaseInWorker });
    const collector = store.beginSnapshot();
    collector.addKeys([{ principal: principalOf('a'), spendNano: '5' }]);
    collector.commit(at(1));
    snapshots.storeReplaced();
    await snapshots.settled();
    store.applyDelta(at(2), [keyChange(2, 'b')]);
    snapshots.appendDelta(at(1), at(2), [keyChange(2, 'b')]);
    await snapshots.close();
    expect(text()).toBe('');
    expect(readdirSync(directory).filter((name) => name.endsWith('.snap'))).toHaveLength(2);
    const next = new PackedPrincipalStore();
    new LocalSnapshots({ directory, store: next, log }).restore(null);
    expect(stateOf(next)).toEqual(stateOf(store));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
