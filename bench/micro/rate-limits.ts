/**
 * What a check of rate limits costs: admit and settle, with 1, 3 and 6 subjects, in the only gateway process of an instance.
 *
 *   node --import tsx bench/micro/rate-limits.ts
 */
import type { LimitedSubject } from '../../src/gateway/limits/limited-subject.ts';
import { MeterBook } from '../../src/gateway/limits/meter-book.ts';
import { Permit } from '../../src/gateway/limits/permit.ts';
import { RateLimits } from '../../src/gateway/limits/rate-limits.ts';

const ROUNDS = 5;
const CALLS = 300_000;
const KEYS = 1_000;
const NAMES = ['api_key', 'team', 'user', 'organization', 'model_per_key', 'model_per_team'] as const;

const book = new MeterBook(60);
const limits = new RateLimits({
  book,
  monotonicMs: () => performance.now(),
  instance: null,
  region: null,
  regions: () => 1,
  setTimer: () => () => {},
});
const estimate = { tokens: 100, bounded: true };

for (const count of [1, 3, 6]) {
  const callers = Array.from({ length: KEYS }, (_, key) =>
    NAMES.slice(0, count).map(
      (descriptor): LimitedSubject => ({
        descriptor,
        id: `${descriptor}-${key}`,
        rpm: 1e9,
        tpm: 1e12,
        maxParallelRequests: 1_000,
        type: 'best_effort_throughput',
        scope: 'region',
      }),
    ),
  );
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    for (let call = 0; call < CALLS; call++) {
      const permit = limits.admit(callers[call % KEYS]!, estimate, false, () => {});
      if (!(permit instanceof Permit)) throw new Error('refused');
      limits.settle(permit, 80);
    }
    best = Math.min(best, ((performance.now() - began) * 1_000) / CALLS);
  }
  console.log(`${count} subjects with all three limits: ${best.toFixed(2)} µs for admit and settle`);
}
