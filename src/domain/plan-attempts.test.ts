import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planAttempts } from './plan-attempts.ts';

interface Candidate {
  readonly name: string;
  readonly order: number;
  readonly weight: number;
}
const candidate = (name: string, weight = 1, order = 0): Candidate => ({ name, weight, order });
const names = (plan: readonly Candidate[]): string => plan.map(({ name }) => name).join('');

/** A small deterministic generator, so that frequencies are the same in each run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('planAttempts', () => {
  it('draws by weight', () => {
    const random = seeded(1);
    const counts = { a: 0, b: 0 };
    for (let run = 0; run < 20_000; run++) {
      const [first] = planAttempts([candidate('a', 3), candidate('b', 1)], 1, random);
      counts[first?.name as 'a' | 'b']++;
    }
    expect(counts.a / 20_000).toBeCloseTo(0.75, 1);
  });

  it('takes the boundaries of the weights exactly', () => {
    const two = [candidate('a', 3), candidate('b', 1)];
    expect(names(planAttempts(two, 0, () => 0))).toBe('a');
    expect(names(planAttempts(two, 0, () => 0.7499))).toBe('a');
    expect(names(planAttempts(two, 0, () => 0.75))).toBe('b');
    expect(names(planAttempts(two, 0, () => 0.999999999999))).toBe('b');
  });

  it('goes to a higher order only after all of the lower one', () => {
    const all = [candidate('x', 100, 2), candidate('a', 1, 1), candidate('b', 1, 1)];
    for (let run = 0; run < 50; run++) expect(names(planAttempts(all, 2, seeded(run)))).toMatch(/^(ab|ba)x$/);
  });

  it('draws a weight of 0 last, and evenly when there is nothing else', () => {
    const some = [candidate('z', 0), candidate('a', 1)];
    for (let run = 0; run < 20; run++) expect(names(planAttempts(some, 1, seeded(run)))).toBe('az');
    expect(names(planAttempts([candidate('y', 0), candidate('z', 0)], 0, () => 0.6))).toBe('z');
  });

  it('plans as many attempts as retries allow, each deployment once', () => {
    const arbitrary = fc.record({
      name: fc.string(),
      weight: fc.integer({ min: 0, max: 5 }),
      order: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(arbitrary, { minLength: 1, maxLength: 8 }), fc.nat(10), fc.nat(), (all, retries, seed) => {
        const plan = planAttempts(all, retries, seeded(seed));
        expect(plan).toHaveLength(Math.min(all.length, retries + 1));
        expect(new Set(plan).size).toBe(plan.length);
        expect(plan.every((one) => all.includes(one))).toBe(true);
        const orders = plan.map(({ order }) => order);
        expect(orders).toEqual([...orders].sort((left, right) => left - right));
      }),
    );
  });

  it('plans nothing of nothing', () => {
    expect(planAttempts([], 3, () => 0)).toEqual([]);
  });
});
