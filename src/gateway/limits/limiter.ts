import type { ClavigerError } from '../../domain/error-catalogue.ts';
import type { Counter, MetricHandle, MetricRegistry } from '../../observe/metrics.ts';
import type { Clock } from '../../util/clock.ts';
import { FailingModels } from './failing-models.ts';
import type { MeterBook } from './meter-book.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Refusal } from './refusal.ts';

export interface LimiterOptions {
  readonly rateLimits: RateLimits;
  readonly book: MeterBook;
  readonly clock: Clock;
  readonly registry: MetricRegistry;
  /** Null: there is no Redis. */
  readonly region: { readonly trusted: boolean; readonly failures: number } | null;
}

/** Rate limits of one gateway process, with what its calls and its metrics need of them. */
export class Limiter {
  readonly rateLimits: RateLimits;
  readonly clock: Clock;
  readonly failing = new FailingModels();
  readonly #refusals: MetricHandle<Counter>;

  constructor({ rateLimits, book, clock, registry, region }: LimiterOptions) {
    this.rateLimits = rateLimits;
    this.clock = clock;
    this.#refusals = registry.counter(
      'claviger_rate_limit_refusals',
      'Calls and deployments that a rate limit refused',
      ['descriptor', 'limit_type'],
    );
    // There from the start, so that the first refusal is seen as a rise.
    for (const quantity of ['requests', 'tokens', 'max_parallel_requests']) this.#refusals.labels('api_key', quantity);
    const subjects = registry.gauge('claviger_rate_limit_subjects', 'Subjects with counters in memory').labels();
    const evicted = registry.gauge('claviger_rate_limit_evictions', 'Subjects forgotten for want of room').labels();
    const questions = registry.gauge('claviger_rate_limit_questions', 'Questions to owners and Redis, by outcome', [
      'outcome',
    ]);
    const shared = registry
      .gauge('claviger_rate_limit_region_shared', '1 while limits hold over all instances of the region', [], {
        merge: 'max',
      })
      .labels();
    const failures = registry
      .gauge('claviger_rate_limit_redis_failures', 'Answers of Redis that failed or were late')
      .labels();
    registry.beforeCollect(() => {
      subjects.set(book.count);
      evicted.set(book.evicted);
      questions.labels('asked').set(rateLimits.counts.asked);
      questions.labels('not_in_time').set(rateLimits.counts.unanswered);
      shared.set(region?.trusted === true ? 1 : 0);
      failures.set(region?.failures ?? 0);
    });
  }

  refused({ subject, quantity }: Refusal): void {
    this.#refusals.labels(subject.descriptor, quantity).inc();
  }

  /** An attempt failed. Only failures of the provider make its model a failing one. */
  attemptFailed(modelGroup: string, { fault, retryable }: ClavigerError): void {
    if (fault === 'upstream' && retryable) this.failing.note(modelGroup, this.clock.monotonicMs());
  }
}
