import { describe, expect, it } from 'vitest';
import { at } from '../../../tests/support/principals.ts';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { MirrorKeeper } from './mirror-keeper.ts';
import type { SnapshotMirror } from './snapshot-mirror.ts';

function rig(isWritable = true) {
  const place = { failure: null as Error | null, attempts: 0, nowMs: 0 };
  const publish = async () => {
    place.attempts++;
    if (place.failure !== null) throw place.failure;
    return true;
  };
  const keeper = new MirrorKeeper({
    mirror: { isWritable, publish } as unknown as SnapshotMirror,
    slotDir: '/nowhere',
    position: () => at(1),
    witnessAtMs: () => null,
    clock: { monotonicMs: () => place.nowMs },
    log: silentLog,
    intervalMs: 5,
  });
  return { keeper, place };
}

describe('what is said of a snapshot mirror', () => {
  it('is since when it holds what is on disk here, and why it does not', async () => {
    const { keeper, place } = rig();
    expect(keeper.state).toEqual({ writtenAgeMs: null, failure: null });
    keeper.run();
    await expect.poll(() => keeper.state!.writtenAgeMs).toBe(0);
    place.failure = new Error('no space left on the mirror');
    await expect.poll(() => keeper.state!.failure).toBe('no space left on the mirror');
    place.nowMs = 7_000;
    expect(keeper.state).toEqual({ writtenAgeMs: 7_000, failure: 'no space left on the mirror' });
    place.failure = null;
    await expect.poll(() => keeper.state).toEqual({ writtenAgeMs: 0, failure: null });
    await keeper.close();
  });

  it('is nothing where it is only read', () => {
    expect(rig(false).keeper.state).toBeNull();
  });
});
