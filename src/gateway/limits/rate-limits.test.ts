import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LimitedSubject } from './limited-subject.ts';
import { MeterBook } from './meter-book.ts';
import { Permit } from './permit.ts';
import { RateLimits } from './rate-limits.ts';
import { reservedTokens } from './token-estimate.ts';

const WINDOW_SECONDS = 5;
const NO_TOKENS = { tokens: 1, bounded: true };

function subject(fields: Partial<LimitedSubject>): LimitedSubject {
  return {
    descriptor: 'api_key',
    id: 'a',
    rpm: null,
    tpm: null,
    maxParallelRequests: null,
    type: 'best_effort_throughput',
    scope: 'region',
    ...fields,
  };
}

function alone(subjectsMax?: number, regions = 1) {
  const time = { ms: 1_000_000 };
  const book = new MeterBook(WINDOW_SECONDS, subjectsMax);
  const limits = new RateLimits({
    book,
    monotonicMs: () => time.ms,
    instance: null,
    region: null,
    regions: () => regions,
    setTimer: () => () => {},
  });
  const admit = (subjects: readonly LimitedSubject[], estimate = NO_TOKENS, failing = false) =>
    limits.admit(subjects, estimate, failing, () => {
      throw new Error('a process that is alone never waits');
    });
  return { time, book, limits, admit };
}

describe('limits of a process', () => {
  it('are what a list of all admitted calls allows: random calls, corrections, changed limits, pauses', () => {
    const step = fc.record({
      pauseMs: fc.oneof(fc.integer({ min: 0, max: 900 }), fc.integer({ min: 900, max: 20_000 })),
      who: fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
      rpm: fc.option(fc.integer({ min: 0, max: 6 })),
      tpm: fc.option(fc.integer({ min: 1, max: 400 })),
      tokens: fc.integer({ min: 1, max: 300 }),
      used: fc.option(fc.integer({ min: 0, max: 500 })),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { time, limits, admit } = alone();
        /** Every count there ever was, by subject. */
        const requests = new Map<string, number[]>();
        const tokens = new Map<string, { second: number; amount: number }[]>();
        const listOf = <T>(map: Map<string, T[]>, id: string): T[] => {
          const list = map.get(id) ?? [];
          map.set(id, list);
          return list;
        };
        for (const { pauseMs, who, rpm, tpm, tokens: wanted, used } of steps) {
          time.ms += pauseMs;
          const second = Math.floor(time.ms / 1_000);
          const estimate = { tokens: wanted, bounded: true };
          const requestsOf = (id: string): number =>
            listOf(requests, id).filter((at) => at >= second - WINDOW_SECONDS).length;
          const tokensOf = (id: string): number =>
            listOf(tokens, id).reduce(
              (sum, { second: at, amount }) => (at >= second - WINDOW_SECONDS ? sum + amount : sum),
              0,
            );
          const fits = who.every(
            (id) =>
              (rpm === null || requestsOf(id) + 1 <= rpm) &&
              (tpm === null || tokensOf(id) + reservedTokens(estimate, tpm) <= tpm),
          );
          const decision = admit(
            who.map((id) => subject({ id, rpm, tpm })),
            estimate,
          );
          expect(decision instanceof Permit).toBe(fits);
          if (!(decision instanceof Permit)) continue;
          for (const id of who) {
            if (rpm !== null) listOf(requests, id).push(second);
            if (tpm !== null) listOf(tokens, id).push({ second, amount: reservedTokens(estimate, tpm) });
          }
          if (used === null) continue;
          limits.settle(decision, used);
          limits.settle(decision, 1_000_000);
          if (tpm !== null)
            for (const id of who) listOf(tokens, id).push({ second, amount: used - reservedTokens(estimate, tpm) });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('let a single caller have all of it, and not one more in any window', () => {
    const { time, admit } = alone();
    const admittedAtMs: number[] = [];
    const limited = [subject({ rpm: 7 })];
    for (; time.ms < 1_060_000; time.ms += 130) if (admit(limited) instanceof Permit) admittedAtMs.push(time.ms);
    expect(admittedAtMs.filter((at) => at < 1_000_000 + WINDOW_SECONDS * 1_000)).toHaveLength(7);
    for (const from of admittedAtMs) {
      const inWindow = admittedAtMs.filter((at) => at >= from && at < from + WINDOW_SECONDS * 1_000);
      expect(inWindow.length).toBeLessThanOrEqual(7);
    }
  });

  it('take all that a call needs, or nothing', () => {
    const { admit } = alone();
    const key = subject({ rpm: 5 });
    const team = subject({ descriptor: 'team', id: 't', rpm: 1 });
    expect(admit([key, team])).toBeInstanceOf(Permit);
    expect(admit([key, team])).toMatchObject({ subject: team, quantity: 'requests', limit: 1, remaining: 0 });
    for (let call = 0; call < 4; call++) expect(admit([key])).toBeInstanceOf(Permit);
    expect(admit([key])).toMatchObject({ subject: key });
  });

  it('are in force at once when they are raised, lowered or removed', () => {
    const { admit } = alone();
    for (let call = 0; call < 3; call++) expect(admit([subject({ rpm: 3 })])).toBeInstanceOf(Permit);
    expect(admit([subject({ rpm: 3 })])).not.toBeInstanceOf(Permit);
    expect(admit([subject({ rpm: 4 })])).toBeInstanceOf(Permit);
    expect(admit([subject({ rpm: 2 })])).toMatchObject({ limit: 2, remaining: 0 });
    expect(admit([subject({})])).toBeInstanceOf(Permit);
  });

  it('free a parallel slot exactly once, however often the end is told', () => {
    const { limits, admit } = alone();
    const limited = [subject({ maxParallelRequests: 2 })];
    const first = admit(limited) as Permit;
    const second = admit(limited) as Permit;
    expect(admit(limited)).toMatchObject({ quantity: 'max_parallel_requests', resetSeconds: 1 });
    limits.settle(first, 0);
    limits.settle(first, 0);
    expect(admit(limited)).toBeInstanceOf(Permit);
    expect(admit(limited)).not.toBeInstanceOf(Permit);
    limits.settle(second, 0);
    expect(admit(limited)).toBeInstanceOf(Permit);
  });

  it('of type dynamic are counted always and in force only while deployments fail', () => {
    const { admit } = alone();
    const limited = [subject({ rpm: 2, type: 'dynamic' })];
    for (let call = 0; call < 5; call++) expect(admit(limited)).toBeInstanceOf(Permit);
    expect(admit(limited, NO_TOKENS, true)).toMatchObject({ quantity: 'requests', remaining: 0 });
  });

  it('with scope global are divided among the regions', () => {
    const { admit } = alone(undefined, 3);
    const limited = [subject({ rpm: 10, scope: 'global' })];
    for (let call = 0; call < 3; call++) expect(admit(limited)).toBeInstanceOf(Permit);
    expect(admit(limited)).not.toBeInstanceOf(Permit);
  });

  it('let a call that is larger than a token limit pass when nothing else does, and count all of it', () => {
    const { limits, admit, time } = alone();
    const limited = [subject({ tpm: 100 })];
    const permit = admit(limited, { tokens: 900, bounded: true });
    expect(permit).toBeInstanceOf(Permit);
    limits.settle(permit as Permit, 900);
    expect(admit(limited)).toMatchObject({ quantity: 'tokens', remaining: 0, resetSeconds: WINDOW_SECONDS + 1 });
    time.ms += (WINDOW_SECONDS + 1) * 1_000;
    expect(admit(limited)).toBeInstanceOf(Permit);
  });

  it('are forgotten when nobody uses them, and are bounded when everybody does', () => {
    const { admit, book, limits, time } = alone(50);
    const inFlight = admit([subject({ id: 'busy', maxParallelRequests: 1 })]) as Permit;
    for (let id = 0; id < 500; id++) admit([subject({ id: `${id}`, rpm: 1 })]);
    expect(book.count).toBeLessThanOrEqual(51);
    expect(book.evicted).toBeGreaterThan(400);
    expect(admit([subject({ id: 'busy', maxParallelRequests: 1 })])).not.toBeInstanceOf(Permit);
    time.ms += 60_000;
    for (let tick = 0; tick < 3; tick++) limits.tick();
    expect(book.count).toBe(1);
    limits.settle(inFlight, 0);
    for (let tick = 0; tick < 3; tick++) limits.tick();
    expect(book.count).toBe(0);
  });
});
