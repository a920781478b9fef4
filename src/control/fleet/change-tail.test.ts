import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../tests/support/silent-log.ts';
import type { Position } from '../../domain/change.ts';
import type { Database } from '../../storage/db.ts';
import { DatabaseUnavailable } from '../../storage/db.ts';
import { ChangeTail, type Stretch } from './change-tail.ts';

const START: Position = { installation: 'i', epoch: 1, rev: 10 };

/** A database that is away: what these tests are about arrives by `publish`. */
function away(): Pick<Database, 'ask'> {
  return { ask: () => Promise.reject(new DatabaseUnavailable('away')) };
}

function startTail(clock = { nowMs: () => 0, monotonicMs: () => 0 }) {
  const seen: Stretch[] = [];
  const tail = new ChangeTail({ db: away(), clock, log: silentLog, onHistoryReplaced: () => undefined });
  tail.onStretch((stretch) => seen.push(stretch));
  tail.start(START, clock.monotonicMs());
  return { tail, seen };
}

const stretch = (from: number, to: number, epoch = 1): Stretch => ({
  epoch,
  from,
  to,
  changes: Array.from({ length: to - from }, (_, n) => ({
    rev: from + n + 1,
    kind: 'setting',
    id: 's',
    value: from + n + 1,
  })),
  head: to.toString(16).padStart(64, '0'),
});

describe('local changes', () => {
  it('are handed on at once when they follow what is known', async () => {
    const { tail, seen } = startTail();
    tail.publish(stretch(10, 11));
    tail.publish(stretch(11, 14));
    expect(seen.map(({ from, to }) => [from, to])).toEqual([
      [10, 11],
      [11, 14],
    ]);
    expect(tail.position).toEqual({ ...START, rev: 14 });
    await tail.stop();
  });

  it('wait for an earlier one, and are handed on in order, each once', async () => {
    const { tail, seen } = startTail();
    tail.publish(stretch(12, 13));
    tail.publish(stretch(11, 12));
    expect(seen).toEqual([]);
    tail.publish(stretch(10, 11));
    tail.publish(stretch(10, 11));
    tail.publish(stretch(12, 13));
    expect(seen.map(({ from, to }) => [from, to])).toEqual([
      [10, 11],
      [11, 12],
      [12, 13],
    ]);
    await tail.stop();
  });

  it('of another epoch or before the start are not handed on', async () => {
    const { tail, seen } = startTail();
    tail.publish(stretch(10, 11, 2));
    tail.publish(stretch(9, 10));
    expect(seen).toEqual([]);
    await tail.stop();
  });
});

describe('the age of what is known', () => {
  it('grows while the database is away, also when local time stands behind nothing', async () => {
    let nowMs = 1_000;
    const { tail } = startTail({ nowMs: () => 0, monotonicMs: () => nowMs });
    expect(tail.dbAgeMs()).toBe(0);
    nowMs = 61_000;
    await tail.poll();
    expect(tail.dbAgeMs()).toBe(60_000);
    await tail.stop();
  });

  it('is very large before anything is known', () => {
    const clock = { nowMs: () => 0, monotonicMs: () => 5 };
    const tail = new ChangeTail({ db: away(), clock, log: silentLog, onHistoryReplaced: () => undefined });
    expect(tail.dbAgeMs()).toBe(Number.MAX_SAFE_INTEGER);
    expect(tail.position).toBeNull();
  });
});
