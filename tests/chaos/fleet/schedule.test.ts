import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeFault, JOINED, roundsIn, scheduleOf } from './schedule.ts';

const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('a schedule', () => {
  it('is the same for the same seed, and another one for another', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        expect(scheduleOf(seed, 3)).toEqual(scheduleOf(seed, 3));
      }),
    );
    expect(scheduleOf(1, 3)).not.toEqual(scheduleOf(2, 3));
    // A longer run begins as a shorter one does.
    expect(scheduleOf(7, 5).slice(0, 2)).toEqual(scheduleOf(7, 2));
  });

  it('has ended every fault when its storm is over', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        for (const { faults, stormMs } of scheduleOf(seed, 3))
          for (const { atMs, lastsMs } of faults) expect(atMs + lastsMs).toBeLessThanOrEqual(stormMs + 1);
      }),
    );
  });

  it('brings every kind of fault within four rounds', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const kinds = scheduleOf(seed, 4)
          .flatMap(({ faults }) => faults)
          .map(({ fault }) =>
            fault.kind === 'database'
              ? fault.kind
              : `${fault.kind} ${fault.kind === 'link' ? fault.weather : fault.role}`,
          );
        expect(new Set(kinds).size).toBe(13);
      }),
    );
  });

  it('has no control process of a joined worker, and never two faults at once at one place', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        for (const { faults } of scheduleOf(seed, 3)) {
          const until = new Map<string, number>();
          for (const { atMs, fault, lastsMs } of faults) {
            if (fault.kind !== 'database' && fault.kind !== 'link')
              expect(`${fault.role} ${fault.member}`).not.toBe(`control ${JOINED}`);
            const place =
              fault.kind === 'database' ? 'database' : fault.kind === 'link' ? `link ${fault.link}` : fault.member;
            expect(until.get(place) ?? 0).toBeLessThanOrEqual(atMs + 1);
            until.set(place, atMs + lastsMs);
          }
        }
      }),
    );
  });

  it('fits into the time that is given, and has one round at least', () => {
    expect([roundsIn(0), roundsIn(60_000), roundsIn(180_000), roundsIn(10 ** 9)]).toEqual([1, 1, 4, 100]);
  });

  it('says of each fault what, where and for how long', () => {
    expect(
      describeFault({ atMs: 1_500, lastsMs: 2_000, fault: { kind: 'link', link: 'eu-0', weather: 'half-open' } }),
    ).toBe('+1.5 s half-open on the way of eu-0 for 2.0 s');
  });
});
