import { describe, expect, it } from 'vitest';
import type { VirtualKey } from '../../domain/virtual-key.ts';
import { widenedFields } from './widened-fields.ts';

const KEY = {
  models: [],
  allowed_routes: [],
  allowed_regions: [],
  expires: null,
  fence: 'normal',
  max_budget: null,
  budget_duration: null,
  max_parallel_requests: null,
  rpm_limit: null,
  tpm_limit: null,
  model_max_budget: {},
  budget_limits: null,
  metadata: {},
} as unknown as VirtualKey;

const key = (fields: object): VirtualKey => ({ ...KEY, ...fields });
const widened = (now: object, next: object): string[] =>
  widenedFields(key(now), key(next)).map((clause) => clause.split(' ')[0]!);

/** A narrower value and a wider one of the same field. */
const PAIRS: readonly [field: string, narrow: object, wide: object][] = [
  ['models', { models: ['a'] }, { models: ['a', 'b'] }],
  ['models', { models: ['a'] }, { models: [] }],
  ['models', { models: ['openai/gpt-4o'] }, { models: ['openai/*'] }],
  ['models', { models: ['a'] }, { models: ['all-proxy-models'] }],
  ['allowed_routes', { allowed_routes: ['/v1/models'] }, { allowed_routes: ['llm_api_routes'] }],
  ['allowed_routes', { allowed_routes: ['llm_api_routes'] }, { allowed_routes: [] }],
  ['allowed_regions', { allowed_regions: ['eu'] }, { allowed_regions: ['eu', 'us'] }],
  ['allowed_regions', { allowed_regions: ['eu'] }, { allowed_regions: [] }],
  ['expires', { expires: '2030-01-01T00:00:00Z' }, { expires: '2031-01-01T00:00:00Z' }],
  ['expires', { expires: '2030-01-01T00:00:00Z' }, { expires: null }],
  ['fence', { fence: 'strict' }, { fence: 'normal' }],
  ['max_budget', { max_budget: 0 }, { max_budget: 1 }],
  ['max_budget', { max_budget: 0 }, { max_budget: null }],
  ['rpm_limit', { rpm_limit: 5 }, { rpm_limit: 6 }],
  ['tpm_limit', { tpm_limit: 5 }, { tpm_limit: null }],
  ['max_parallel_requests', { max_parallel_requests: 1 }, { max_parallel_requests: 2 }],
  ['budget_duration', { max_budget: 1, budget_duration: '30d' }, { max_budget: 1, budget_duration: '1d' }],
  ['budget_duration', { max_budget: 1, budget_duration: null }, { max_budget: 1, budget_duration: '1mo' }],
  [
    'model_max_budget.a',
    { model_max_budget: { a: { budget_limit: 1, time_period: '1d' } } },
    { model_max_budget: { a: { budget_limit: 2, time_period: '1d' } } },
  ],
  ['model_max_budget.a', { model_max_budget: { a: 1 } }, { model_max_budget: {} }],
  [
    'budget_limits.1d',
    { budget_limits: [{ budget_duration: '1d', max_budget: 1 }] },
    { budget_limits: [{ budget_duration: '1d', max_budget: 2 }] },
  ],
  ['budget_limits.1d', { budget_limits: [{ budget_duration: '1d', max_budget: 1 }] }, { budget_limits: null }],
  ['metadata.model_rpm_limit.a', { metadata: { model_rpm_limit: { a: 1 } } }, { metadata: {} }],
  [
    'metadata.model_tpm_limit.a',
    { metadata: { model_tpm_limit: { a: 1 } } },
    { metadata: { model_tpm_limit: { a: 2 } } },
  ],
];

describe('the fields in which a key may do more', () => {
  it.each(PAIRS)('are named when %s grows, and not when it shrinks or stays', (field, narrow, wide) => {
    expect(widened(narrow, wide)).toEqual([field]);
    expect(widened(wide, narrow)).toEqual([]);
    expect(widened(wide, wide)).toEqual([]);
    expect(widened(narrow, narrow)).toEqual([]);
  });

  it('do not hold what was allowed already, however it was written', () => {
    expect(widened({ models: ['openai/*'] }, { models: ['openai/gpt-4o'] })).toEqual([]);
    expect(widened({ allowed_routes: ['/v1/*'] }, { allowed_routes: ['/v1/models'] })).toEqual([]);
    expect(widened({ models: ['*'] }, { models: [] })).toEqual([]);
    expect(widened({ budget_duration: null }, { budget_duration: '1d' })).toEqual([]);
  });

  it('are all named when there are several, in words', () => {
    const clauses = widenedFields(
      key({ models: ['a'], rpm_limit: 5, fence: 'strict' }),
      key({ models: ['b', 'c'], rpm_limit: null }),
    );
    expect(clauses).toEqual([
      'models would allow more (b, c in place of a)',
      'fence would be weaker (normal in place of strict)',
      'rpm_limit would be lifted (it is 5)',
    ]);
  });
});
