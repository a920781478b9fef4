import { describe, expect, it } from 'vitest';
import { type Echo, Freshness, type Point } from './freshness.ts';

const at = (rev: number, epoch = 1): Point => ({ epoch, rev });

function echo(sentAtMs: number, rev: number, ages: { db?: number; witness?: number; epoch?: number } = {}): Echo {
  const { db = 0, witness = 0, epoch = 1 } = ages;
  return { sentAtMs, fresh: false, reply: { epoch, rev, dbAgeMs: db, witnessRev: rev, witnessAgeMs: witness } };
}

describe('the witness', () => {
  it('is as old as the ping and what the database was behind it, and not as the answer', () => {
    const freshness = new Freshness(at(7));
    freshness.answered(echo(1_000, 7, { witness: 250 }));
    // The answer took a second; nothing is gained by that.
    expect(freshness.stalenessMs('strict', 2_000)).toBe(1_250);
    expect(freshness.stalenessMs('normal', 2_000)).toBe(1_250);
  });

  it('is none before the first answer', () => {
    expect(new Freshness(at(7)).stalenessMs('normal', 0)).toBe(Number.POSITIVE_INFINITY);
    expect(new Freshness(at(7)).witness).toBeNull();
  });

  it('counts from when its revision is applied, and never before', () => {
    const freshness = new Freshness(at(7));
    freshness.answered(echo(1_000, 9));
    expect(freshness.stalenessMs('normal', 1_000)).toBe(Number.POSITIVE_INFINITY);
    freshness.applied(at(8));
    expect(freshness.stalenessMs('normal', 1_000)).toBe(Number.POSITIVE_INFINITY);
    freshness.applied(at(9));
    expect(freshness.stalenessMs('normal', 1_500)).toBe(500);
  });

  it('comes for a process that is always a little behind, too', () => {
    const freshness = new Freshness(at(0));
    for (let step = 1; step <= 100; step++) {
      freshness.answered(echo(step * 1_000, step * 10));
      freshness.applied(at(step * 10 - 5));
    }
    expect(freshness.stalenessMs('normal', 100_000)).toBeLessThanOrEqual(2_000);
  });

  it('never goes back: an answer that was overtaken, or of a control process with an older database, changes nothing', () => {
    const freshness = new Freshness(at(7));
    freshness.answered(echo(5_000, 7, { witness: 100 }));
    freshness.answered(echo(1_000, 7));
    freshness.answered(echo(6_000, 7, { witness: 60_000 }));
    expect(freshness.stalenessMs('strict', 6_000)).toBe(1_100);
  });

  it('is not taken from another history', () => {
    const freshness = new Freshness(at(7, 2));
    freshness.answered(echo(1_000, 5, { epoch: 1 }));
    expect(freshness.witness).toBeNull();
    freshness.answered(echo(2_000, 100, { epoch: 2 }));
    // The epoch before the revision: one more reached in number only.
    freshness.applied(at(200, 3));
    expect(freshness.witness).toBeNull();
    freshness.answered(echo(3_000, 1, { epoch: 4 }));
    freshness.applied(at(1, 4));
    expect(freshness.stalenessMs('normal', 3_000)).toBe(0);
  });

  it('has nothing to do with pings from above', () => {
    const freshness = new Freshness(at(7));
    freshness.confirmed(1_000);
    expect(freshness.readAtMs).toBe(1_000);
    expect(freshness.witness).toBeNull();
  });
});

describe('when wall and monotonic clock disagree', () => {
  it('strict keys wait for an answer to what was asked after that; normal ones go on with what is known', () => {
    const freshness = new Freshness(at(7));
    freshness.answered(echo(1_000, 7));
    freshness.disagreed(2_000);
    expect(freshness.stalenessMs('strict', 2_000)).toBe(Number.POSITIVE_INFINITY);
    expect(freshness.stalenessMs('normal', 2_000)).toBe(1_000);
    expect(freshness.witness).toMatchObject({ certain: false, atMs: 1_000 });
    // Asked before, answered after: the time in between may be longer than it seems.
    freshness.answered(echo(1_900, 7));
    expect(freshness.stalenessMs('strict', 2_100)).toBe(Number.POSITIVE_INFINITY);
    freshness.answered(echo(2_000, 7, { witness: 500 }));
    expect(freshness.stalenessMs('strict', 2_100)).toBe(600);
    expect(freshness.witness).toMatchObject({ certain: true });
  });

  it('a guess ends with the first certain answer, also for normal keys and also when that is older', () => {
    const freshness = new Freshness(at(7), { ...at(7), atMs: 900, certain: false });
    expect(freshness.stalenessMs('normal', 1_000)).toBe(100);
    freshness.answered(echo(1_000, 7, { witness: 5_000 }));
    expect(freshness.stalenessMs('normal', 1_000)).toBe(5_000);
    freshness.disagreed(1_100);
    expect(freshness.stalenessMs('normal', 1_100)).toBe(5_100);
  });

  it('answers that wait for their revision are no longer certain either', () => {
    const freshness = new Freshness(at(7));
    freshness.answered(echo(1_000, 8));
    freshness.disagreed(2_000);
    freshness.applied(at(8));
    expect(freshness.stalenessMs('strict', 2_000)).toBe(Number.POSITIVE_INFINITY);
    expect(freshness.stalenessMs('normal', 2_000)).toBe(1_000);
  });
});

describe('a restart', () => {
  it('goes on from the witness of the process before', () => {
    const freshness = new Freshness(at(7), { ...at(5), atMs: -30_000, certain: true });
    expect(freshness.stalenessMs('strict', 100)).toBe(30_100);
    expect(freshness.readAtMs).toBeNull();
  });

  it('with one that is not certain admits no strict key', () => {
    const freshness = new Freshness(at(7), { ...at(5), atMs: -10, certain: false });
    expect(freshness.stalenessMs('strict', 0)).toBe(Number.POSITIVE_INFINITY);
    expect(freshness.stalenessMs('normal', 0)).toBe(10);
  });
});

describe('the date of what was read', () => {
  it('is that of the ping when the database was asked for it, else of the read before it', () => {
    const freshness = new Freshness(at(7));
    freshness.answered(echo(1_000, 7, { db: 200 }));
    expect(freshness.readAtMs).toBe(800);
    freshness.answered({ ...echo(2_000, 7, { db: 3 }), fresh: true });
    expect(freshness.readAtMs).toBe(2_000);
  });

  it('is proved by answers only: a ping from above may have been held up, and what was committed meanwhile is behind it', () => {
    const freshness = new Freshness(at(7));
    freshness.confirmed(5_000);
    expect([freshness.readAtMs, freshness.provedReadAtMs]).toEqual([5_000, null]);
    freshness.answered(echo(1_000, 7, { db: 200 }));
    expect([freshness.readAtMs, freshness.provedReadAtMs]).toEqual([5_000, 800]);
    freshness.answered({ ...echo(6_000, 7), fresh: true });
    expect([freshness.readAtMs, freshness.provedReadAtMs]).toEqual([6_000, 6_000]);
  });
});
