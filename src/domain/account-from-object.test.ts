import { describe, expect, it } from 'vitest';
import { memberId } from './account.ts';
import {
  accountFromObject,
  budgetTermsOf,
  budgetTermsOfKey,
  chargesModel,
  limitsOf,
  temporaryIncreaseOf,
} from './account-from-object.ts';
import { NO_LIMITS } from './limit.ts';
import type { JsonObject, VirtualKey } from './virtual-key.ts';

const OPTIONS = { mode: 'expected', strictInjectMaxTokens: false, offlineReserveMs: 0, offlineOverdraftUsd: 0 };

describe('budgets of an object', () => {
  it('are the plain one, one per window and one per model', () => {
    const object: JsonObject = {
      max_budget: 10,
      budget_duration: '30d',
      budget_limits: [
        { budget_duration: '1h', max_budget: 1 },
        { budget_duration: '1d', max_budget: 5 },
      ],
      model_max_budget: {
        'openai/gpt-4o': { budget_limit: 2, time_period: '7d' },
        mini: { max_budget: 3, budget_duration: '1d', models: ['a', 'b'] },
        plain: 4,
      },
    };
    expect(budgetTermsOf(object)).toEqual([
      { slot: '', maxBudget: 10, duration: '30d', models: null, ...OPTIONS },
      { slot: 'window:1h', maxBudget: 1, duration: '1h', models: null, ...OPTIONS },
      { slot: 'window:1d', maxBudget: 5, duration: '1d', models: null, ...OPTIONS },
      { slot: 'model:openai/gpt-4o', maxBudget: 2, duration: '7d', models: ['openai/gpt-4o'], ...OPTIONS },
      { slot: 'model:mini', maxBudget: 3, duration: '1d', models: ['a', 'b'], ...OPTIONS },
      { slot: 'model:plain', maxBudget: 4, duration: null, models: ['plain'], ...OPTIONS },
    ]);
  });

  it('are none without a maximum, and none above nine billion dollars', () => {
    expect(budgetTermsOf({})).toEqual([]);
    expect(budgetTermsOf({ max_budget: null, soft_budget: 5, budget_duration: '1d' })).toEqual([]);
    expect(budgetTermsOf({ max_budget: 9_000_000_001 })).toEqual([]);
    expect(budgetTermsOf({ max_budget: 9_000_000_000 })).toHaveLength(1);
  });

  it('are a budget of nothing when it is zero, or below what can be', () => {
    expect(budgetTermsOf({ max_budget: 0 })).toMatchObject([{ maxBudget: 0 }]);
    expect(budgetTermsOf({ max_budget: -1 })).toMatchObject([{ maxBudget: 0 }]);
  });

  it.each(['none', 'null', '', '-1'])('are never given anew with the period "%s"', (budget_duration) => {
    expect(budgetTermsOf({ max_budget: 1, budget_duration })).toMatchObject([{ duration: null }]);
  });

  it('take mode, reserve and overdraft from metadata', () => {
    const metadata = {
      budget_mode: 'strict',
      strict_inject_max_tokens: true,
      offline_reserve: '10m',
      offline_overdraft_usd: 0.5,
    };
    expect(budgetTermsOf({ max_budget: 1, metadata })).toMatchObject([
      { mode: 'strict', strictInjectMaxTokens: true, offlineReserveMs: 600_000, offlineOverdraftUsd: 0.5 },
    ]);
    expect(budgetTermsOf({ max_budget: 1, metadata: { budget_mode: 'else', offline_reserve: 'x' } })).toMatchObject([
      OPTIONS,
    ]);
  });

  it('have one ledger per slot, whatever a row from elsewhere holds', () => {
    const window = { budget_duration: '1h', max_budget: 1 };
    expect(budgetTermsOf({ budget_limits: [window, { ...window, max_budget: 2 }] })).toMatchObject([{ maxBudget: 1 }]);
  });
});

describe('a budget for models', () => {
  it('is charged whatever provider is named on either side', () => {
    expect(chargesModel(null, 'x')).toBe(true);
    expect(chargesModel(['gpt-4o'], 'openai/gpt-4o')).toBe(true);
    expect(chargesModel(['openai/gpt-4o'], 'gpt-4o')).toBe(true);
    expect(chargesModel(['openai/gpt-4o'], 'azure/gpt-4o')).toBe(true);
    expect(chargesModel(['gpt-4o'], 'gpt-4o-mini')).toBe(false);
  });
});

describe('a temporary increase', () => {
  const metadata = { temp_budget_increase: 5, temp_budget_expiry: '2030-01-01T00:00:00Z' };
  const key = { max_budget: 10, metadata, budget_limits: [{ budget_duration: '1h', max_budget: 1 }] } as never;
  const endMs = Date.parse('2030-01-01T00:00:00Z');

  it('is part of the plain budget until its end, and of no window', () => {
    const maxima = (nowMs?: number) => budgetTermsOfKey(key, nowMs).map(({ maxBudget }) => maxBudget);
    expect(maxima(endMs - 1)).toEqual([15, 1]);
    expect(maxima(endMs)).toEqual([10, 1]);
    expect(maxima()).toEqual([10, 1]);
  });

  it('is none without an amount or a date', () => {
    const of = (given: JsonObject) => temporaryIncreaseOf({ metadata: given } as Pick<VirtualKey, 'metadata'>);
    expect(of(metadata)).toEqual({ dollars: 5, untilMs: endMs });
    expect(of({ temp_budget_increase: 5 })).toBeNull();
    expect(of({ temp_budget_increase: 5, temp_budget_expiry: 'soon' })).toBeNull();
  });
});

describe('limits of an object', () => {
  it('come from its columns, from metadata, and per model from model_max_budget where metadata says nothing', () => {
    const limits = limitsOf({
      rpm_limit: 10,
      tpm_limit: 20,
      max_parallel_requests: 3,
      model_max_budget: { a: { rpm_limit: 1, tpm_limit: 2 }, b: { rpm_limit: 3 } },
      metadata: {
        model_rpm_limit: { a: 7 },
        rpm_limit_type: 'guaranteed_throughput',
        tpm_limit_type: 'dynamic',
        limit_scope: 'global',
      },
    });
    expect(limits).toEqual({
      rpm: 10,
      tpm: 20,
      maxParallelRequests: 3,
      modelRpm: { a: 7, b: 3 },
      modelTpm: { a: 2 },
      rpmType: 'guaranteed_throughput',
      tpmType: 'dynamic',
      scope: 'global',
    });
  });

  it('are none where nothing is said, and nothing passes below zero', () => {
    expect(limitsOf({})).toEqual(NO_LIMITS);
    expect(limitsOf({ rpm_limit: -5, metadata: 'x', model_max_budget: [] })).toEqual({ ...NO_LIMITS, rpm: 0 });
  });
});

describe('an account', () => {
  it('is named as its kind is named', () => {
    const id = (kind: Parameters<typeof accountFromObject>[0], object: JsonObject) =>
      accountFromObject(kind, object).id;
    expect(id('user', { user_id: 'u' })).toBe('u');
    expect(id('team', { team_id: 't' })).toBe('t');
    expect(id('team_member', { team_id: 't/1', user_id: 'u' })).toBe(memberId('t/1', 'u'));
    expect(id('organization', { organization_id: 'o' })).toBe('o');
    expect(id('customer', { user_id: 'c' })).toBe('c');
    expect(id('tag', { name: 'n' })).toBe('n');
    expect(id('budget', { budget_id: 'b' })).toBe('b');
  });

  it('carries block, models, aliases, regions, organization and budget object', () => {
    const account = accountFromObject('team', {
      team_id: 't',
      team_alias: 'blue',
      blocked: true,
      models: ['m'],
      model_aliases: { a: 'm', odd: 1 },
      allowed_regions: ['eu'],
      organization_id: 'o',
      budget_id: 'b',
    });
    expect(account).toMatchObject({
      kind: 'team',
      alias: 'blue',
      blocked: true,
      models: ['m'],
      modelAliases: { a: 'm' },
      allowedRegions: ['eu'],
      organizationId: 'o',
      budgetId: 'b',
    });
  });

  it('of a tag restricts no models, and of a budget object the ones it allows', () => {
    expect(accountFromObject('tag', { name: 'n', models: ['m'] }).models).toEqual([]);
    expect(accountFromObject('budget', { budget_id: 'b', allowed_models: ['m'] })).toMatchObject({
      models: ['m'],
      budgetId: null,
    });
  });
});
