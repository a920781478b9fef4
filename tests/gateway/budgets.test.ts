import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Account } from '../../src/domain/account.ts';
import type { BudgetTerms } from '../../src/domain/budget-terms.ts';
import { NO_LIMITS } from '../../src/domain/limit.ts';
import { keyDigest } from '../../src/gateway/auth/key-digest.ts';
import { type GatewayHarness, KEY, startGateway } from '../support/gateway-harness.ts';
import { GrantingTransport } from '../support/granting-transport.ts';

const PAYING = 'sk-harness-paying-0123456789';
const MEMBER = 'sk-harness-member-0123456789';
const POOR = 'sk-harness-poor-0123456789';
const PAYING_LEDGER = `key:${keyDigest(PAYING)}`;

const TERMS: BudgetTerms = {
  slot: '',
  maxBudget: 1,
  duration: null,
  models: null,
  mode: 'expected',
  strictInjectMaxTokens: false,
  offlineReserveMs: 0,
  offlineOverdraftUsd: 0,
};

const TEAM: Account = {
  kind: 'team',
  id: 'red',
  alias: null,
  blocked: false,
  models: [],
  modelAliases: {},
  allowedRegions: [],
  organizationId: null,
  limits: NO_LIMITS,
  budgets: [TERMS],
  budgetId: null,
};

const PRICED = { input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 };

let leases: GrantingTransport;
let gateway: GatewayHarness;

beforeEach(async () => {
  leases = new GrantingTransport();
  gateway = await startGateway({
    leases,
    models: [
      { modelName: 'priced', litellmParams: { model: 'fake/gpt', ...PRICED }, modelInfo: {} },
      {
        modelName: 'free',
        litellmParams: { model: 'fake/gpt', input_cost_per_token: 0, output_cost_per_token: 0 },
        modelInfo: {},
      },
    ],
    keys: {
      [PAYING]: { maxBudget: 1 },
      [MEMBER]: { teamId: 'red', maxBudget: 1 },
      [POOR]: { maxBudget: 0 },
    },
    accounts: [TEAM],
  });
});
afterEach(() => gateway.stop());

const ask = (key: string, model = 'priced') =>
  gateway.call({ model, max_tokens: 20, messages: [{ role: 'user', content: 'hello' }] }, { key });

describe('a call with a budget', () => {
  test('is paid from a lease, and its record says from which', async () => {
    const answer = await ask(MEMBER);
    expect(answer.status).toBe(200);
    await gateway.quiet();
    const [record] = gateway.usage().settled;
    expect(record!.charges).toEqual([
      [`key:${keyDigest(MEMBER)}`, 0],
      ['team:red', 0],
    ]);
    expect(record!.costNano).toBeGreaterThan(0);
    expect(record!.estimateNano).toBeGreaterThan(0);
  });

  test('waits for the control plane once, and the next one does not', async () => {
    expect((await ask(PAYING)).status).toBe(200);
    expect(gateway.metricsText()).toContain('claviger_budget_waits_total 1');
    leases.away = true;
    // What is held may be spent while nobody answers.
    const statuses = [];
    for (let count = 0; count < 3; count++) statuses.push((await ask(PAYING)).status);
    expect(statuses).toContain(503);
  });

  test('that is spent is 429 in the words of the contract, with the time of another try', async () => {
    leases.maxNano.set(PAYING_LEDGER, 1_000_000_000n);
    leases.settledNano.set(PAYING_LEDGER, 1_000_000_000n);
    const answer = await ask(PAYING);
    expect(answer.status).toBe(429);
    expect(answer.json()).toMatchObject({
      error: {
        type: 'budget_exceeded',
        message: expect.stringMatching(
          /^Budget has been exceeded! Key=harness \(sk-\S+\) Current cost: 1, Max budget: 1/,
        ),
      },
    });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    // The next ones are refused from memory.
    const asks = leases.asks.length;
    expect((await ask(PAYING)).status).toBe(429);
    expect(leases.asks.length).toBe(asks);
    expect(gateway.usage().settled).toEqual([]);
  });

  test('whose rest is held by others is 429 and may be tried again in a second', async () => {
    leases.maxNano.set(PAYING_LEDGER, 1_000_000_000n);
    leases.escrowNano.set(PAYING_LEDGER, 1_000_000_000n);
    const answer = await ask(PAYING);
    expect(answer.status).toBe(429);
    expect(answer.headers['retry-after']).toBe('1');
  });

  test('whose rest is too small for the call is 429, and says what the call may cost', async () => {
    leases.maxNano.set(PAYING_LEDGER, 1_000_000_000n);
    leases.settledNano.set(PAYING_LEDGER, 999_999_000n);
    const answer = await ask(PAYING);
    expect(answer.status).toBe(429);
    expect(answer.text).toMatch(/This call may cost 0\.0000\d+, which is more than what is left/);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(1);
  });

  test('that nobody can answer for is 503, never 429 and never free', async () => {
    leases.away = true;
    for (let count = 0; count < 3; count++) {
      const answer = await ask(PAYING);
      expect(answer.status).toBe(503);
      expect(answer.headers['retry-after']).toBe('1');
      expect(answer.json()).toMatchObject({ error: { message: expect.stringContaining('budget of Key=') } });
    }
    // Keys without a budget do not notice.
    expect((await ask(KEY)).status).toBe(200);
  });

  test('of zero is refused without asking anybody', async () => {
    expect((await ask(POOR)).status).toBe(429);
    expect(leases.asks.every(({ wishes }) => wishes.length === 0)).toBe(true);
  });

  test('of the team is met by its keys', async () => {
    leases.maxNano.set('team:red', 0n);
    const answer = await ask(MEMBER);
    expect(answer.status).toBe(429);
    expect(answer.text).toContain('Team=red');
    // The key got its money back: nothing was reserved in one budget and missing in the other.
    expect(gateway.usage().settled).toEqual([]);
  });
});

test('a model that says that it is free is not charged, spent or not', async () => {
  leases.away = true;
  expect((await ask(PAYING, 'free')).status).toBe(200);
  await gateway.quiet();
  expect(gateway.usage().settled[0]!.charges).toBeUndefined();
});

test('a key without a budget asks nobody', async () => {
  expect((await ask(KEY)).status).toBe(200);
  expect(leases.asks.every(({ wishes }) => wishes.length === 0)).toBe(true);
});
