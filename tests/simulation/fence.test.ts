import { describe, expect, it } from 'vitest';
import { pick } from '../support/length.ts';
import { type Outcome, simulate } from './fence-world.ts';
import { MUTANTS, type Mutant } from './simulated-control.ts';

const SEEDS = pick(1_000, 20_000);
/** A mutant that survives so many seeds is one that the simulation does not find. */
const SEEDS_PER_MUTANT = 300;
const FIRST_SEED = Number(process.env.FENCE_SEED ?? 1);

describe('the fence', () => {
  it(`admits nothing later than the fence after the commit that it violates, in ${SEEDS} schedules`, () => {
    let admissions = 0;
    let refusals = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed += 1) {
      const outcome = simulate(seed);
      expect(outcome.violations, `seed ${seed}: run again with FENCE_SEED=${seed}`).toEqual([]);
      admissions += outcome.admissions;
      refusals += outcome.refusals;
    }
    // A fence that refuses everything keeps its promise, too.
    expect(admissions).toBeGreaterThan(SEEDS * 200);
    expect(refusals).toBeGreaterThan(SEEDS);
    console.info(`${SEEDS} schedules: ${admissions} admitted, ${refusals} refused, 0 late`);
  }, 3_600_000);

  it('comes out the same for the same seed', () => {
    expect(simulate(FIRST_SEED)).toEqual(simulate(FIRST_SEED));
    expect(simulate(FIRST_SEED)).not.toEqual(simulate(FIRST_SEED + 1));
  });
});

describe('the simulation finds out', () => {
  it.each(MUTANTS)('%s', (mutant) => {
    const found = firstViolation(mutant);
    expect(found, `${SEEDS_PER_MUTANT} seeds`).not.toBeNull();
    const { seed, outcome } = found!;
    console.info(`${mutant}: seed ${seed}, ${(Math.max(...outcome.violations) / 1000).toFixed(1)} s late`);
    expect(simulate(seed, mutant)).toEqual(outcome);
  });
});

function firstViolation(mutant: Mutant): { readonly seed: number; readonly outcome: Outcome } | null {
  for (let seed = 1; seed <= SEEDS_PER_MUTANT; seed += 1) {
    const outcome = simulate(seed, mutant);
    if (outcome.violations.length > 0) return { seed, outcome };
  }
  return null;
}
