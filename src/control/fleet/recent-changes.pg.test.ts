import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { writeModel } from '../../../tests/support/stored-models.ts';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { ENTITIES_PER_FRAME_MAX } from '../../feed/protocol.ts';
import type { Database } from '../../storage/db.ts';
import { headAt, readChanges } from '../../storage/repositories/change-log.ts';
import { readPositionAndHead } from '../../storage/repositories/installation.ts';
import { systemClock } from '../../util/clock.ts';
import { changesFromLog } from './change-from-log.ts';
import { ChangeTail } from './change-tail.ts';
import { RECENT_REVISIONS_MAX, RecentChanges } from './recent-changes.ts';

let control: TestControlPlane;
const tails: ChangeTail[] = [];
let rev = 0;

beforeAll(async () => {
  control = await startControlPlane();
  // More revisions than are kept.
  while (rev < RECENT_REVISIONS_MAX + 50) await write();
}, 120_000);
afterEach(async () => {
  for (const tail of tails.splice(0)) await tail.stop();
});
afterAll(() => control.stop());

async function write(): Promise<void> {
  rev = (await writeModel(control.db, `m-${rev % 7}`, { rev })).stretch!.to;
}

async function begin() {
  let reads = 0;
  const counted: Database = {
    ...control.db,
    read: (run) => {
      reads += 1;
      return control.db.read(run);
    },
  };
  const tail = new ChangeTail({
    db: control.db,
    clock: systemClock,
    log: silentLog,
    onHistoryReplaced: () => undefined,
  });
  tails.push(tail);
  const { position, head } = await control.db.read(readPositionAndHead);
  tail.start(position, 0, head);
  const recent = new RecentChanges(counted, tail);
  return { recent, tail, reads: () => reads, epoch: position.epoch };
}

const head = (at: number) => control.db.read((tx) => headAt(tx, { epoch: 1, rev: at }));

describe('the newest revisions', () => {
  it('are the same as in the change log, wherever somebody stands, and cost one read', async () => {
    const { recent, tail, reads, epoch } = await begin();
    await Promise.all(Array.from({ length: 20 }, () => recent.since({ epoch, rev: rev - 3 }, null)));
    const filledAt = rev;
    for (let n = 0; n < 20; n += 1) await write();
    await tail.poll();
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: rev - RECENT_REVISIONS_MAX, max: filledAt }), async (from) => {
        const stretches = await recent.since({ epoch, rev: from }, await head(from));
        const logged = await control.db.read((tx) => readChanges(tx, { epoch, after: from, limit: 10_000 }));
        expect(stretches?.flatMap(({ changes }) => changes)).toEqual(changesFromLog(logged));
        let at = from;
        for (const stretch of stretches!) {
          expect(stretch.from).toBe(at);
          expect(stretch.changes.length).toBeLessThanOrEqual(ENTITIES_PER_FRAME_MAX);
          expect(stretch.head).toBe(await head(stretch.to));
          at = stretch.to;
        }
        expect(at).toBe(rev);
      }),
      { numRuns: 30 },
    );
    expect(await recent.since({ epoch, rev }, await head(rev))).toEqual([]);
    // In the middle of what one poll has found the head is not known.
    expect(await recent.since({ epoch, rev: filledAt + 10 }, await head(filledAt + 10))).toBeNull();
    expect(reads()).toBe(1);
  });

  it('say nothing to who stands elsewhere: another head, another epoch, ahead, or too far behind', async () => {
    const { recent, epoch } = await begin();
    const other = 'f'.repeat(64);
    expect(await recent.since({ epoch, rev: rev - 5 }, other)).toBeNull();
    expect(await recent.since({ epoch, rev }, other)).toBeNull();
    expect(await recent.since({ epoch: epoch + 1, rev }, null)).toBeNull();
    expect(await recent.since({ epoch, rev: rev + 1 }, null)).toBeNull();
    expect(await recent.since({ epoch, rev: rev - RECENT_REVISIONS_MAX - 2 }, null)).toBeNull();
    expect(
      await recent.since({ epoch, rev: rev - RECENT_REVISIONS_MAX }, await head(rev - RECENT_REVISIONS_MAX)),
    ).not.toBeNull();
  });
});
