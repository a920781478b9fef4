import { describe, expect, it } from 'vitest';
import { accountOf, termsOf } from '../../tests/support/accounts.ts';
import { accountInFeed, restricts } from './account-in-feed.ts';
import { criticalFieldsOf, unknownCriticalAccountField } from './critical-fields.ts';
import { NO_LIMITS } from './limit.ts';
import { principalFromKey } from './principal-from-key.ts';
import { budgetsOfPrincipal, limitsOfPrincipal } from './principal-terms.ts';
import type { JsonObject, VirtualKey } from './virtual-key.ts';

const key = (fields: JsonObject) =>
  ({
    token: 'a'.repeat(64),
    models: [],
    aliases: {},
    metadata: {},
    model_max_budget: {},
    expires: null,
    ...fields,
  }) as unknown as VirtualKey;

describe('the terms of a key', () => {
  it('cost nothing when the amounts say it all', () => {
    const principal = principalFromKey(
      key({ max_budget: 5, rpm_limit: 3, tpm_limit: null, max_parallel_requests: null }),
    );
    expect(['limits', 'budgets', 'budgetId', 'crit'].filter((name) => name in principal)).toEqual([]);
    expect(budgetsOfPrincipal(principal)).toEqual([termsOf(5)]);
    expect(limitsOfPrincipal(principal)).toEqual({ ...NO_LIMITS, rpm: 3 });
    const free = principalFromKey(
      key({ max_budget: null, rpm_limit: null, tpm_limit: null, max_parallel_requests: null }),
    );
    expect([budgetsOfPrincipal(free), limitsOfPrincipal(free)]).toEqual([[], NO_LIMITS]);
    expect(budgetsOfPrincipal({ maxBudget: 1e10 })).toEqual([]);
  });

  it('travel when there is more, in an order that does not depend on where they come from', () => {
    const there = {
      model_max_budget: { z: { max_budget: 1 }, a: { max_budget: 2 } },
      metadata: { model_rpm_limit: { m: 4 } },
    };
    const back = { ...there, model_max_budget: { a: { max_budget: 2 }, z: { max_budget: 1 } } };
    const [one, other] = [there, back].map((fields) =>
      principalFromKey(key({ max_budget: 9, budget_id: 'b', ...fields })),
    );
    expect(one).toEqual(other);
    expect(budgetsOfPrincipal(one!).map(({ slot }) => slot)).toEqual(['', 'model:a', 'model:z']);
    expect(one).toMatchObject({
      limits: { modelRpm: { m: 4 } },
      budgetId: 'b',
      crit: ['limits', 'budgets', 'budgetId'],
    });
  });

  it('are critical where leaving them out would allow more, and not for the period of a plain budget', () => {
    const crit = (fields: Partial<Parameters<typeof criticalFieldsOf>[0]>) =>
      criticalFieldsOf({ allowedRegions: [], fence: 'normal', ...fields });
    expect(crit({ budgets: [termsOf(5, { duration: '1d' })] })).toEqual([]);
    expect(crit({ budgets: [termsOf(5, { mode: 'strict' })] })).toEqual(['budgets']);
    expect(crit({ limits: { rpmType: 'dynamic' } })).toEqual([]);
    expect(crit({ limits: { scope: 'global' } })).toEqual(['limits']);
  });
});

describe('an account in the feed', () => {
  it('is left out when it is a customer or tag that restricts nothing, and only then', () => {
    for (const kind of ['customer', 'tag'] as const) {
      const plain: JsonObject = { user_id: 'x', name: 'x', blocked: false, metadata: {}, budget_id: null };
      expect(accountInFeed(kind, plain)).toBeNull();
      expect(accountInFeed(kind, { ...plain, budget_id: 'b' })).toMatchObject({ kind, id: 'x', budgetId: 'b' });
    }
    expect(accountInFeed('team', { team_id: 'x', metadata: {} })).toMatchObject({ kind: 'team', id: 'x' });
  });

  it('restricts by any one of its fields', () => {
    expect(restricts(accountOf('team', 't', { alias: 'x', modelAliases: { a: 'b' }, organizationId: 'o' }))).toBe(
      false,
    );
    for (const fields of [
      { blocked: true },
      { models: ['m'] },
      { allowedRegions: ['eu'] },
      { budgets: [termsOf(0)] },
      { budgetId: 'b' },
      { crit: ['x'] },
      { limits: { ...NO_LIMITS, maxParallelRequests: 1 } },
      { limits: { ...NO_LIMITS, modelTpm: { m: 0 } } },
    ]) {
      expect(restricts(accountOf('team', 't', fields)), JSON.stringify(fields)).toBe(true);
    }
  });

  it('names a rule that this version does not know', () => {
    expect(unknownCriticalAccountField(accountOf('team', 't'))).toBeNull();
    expect(unknownCriticalAccountField(accountOf('team', 't', { crit: ['moonPhase'] }))).toBe('moonPhase');
  });
});
