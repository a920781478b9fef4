import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NO_LIMITS } from '../../src/domain/limit.ts';
import { keyDigest } from '../../src/gateway/auth/key-digest.ts';
import { startCall } from '../support/fake-client.ts';
import { type GatewayHarness, MASTER_KEY, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { until } from '../support/until.ts';

let gateway: GatewayHarness;

const key = (name: string): string => `sk-limited-${name}-0123456789`;
const chat = (model = 'plain') => ({ model, messages: [{ role: 'user', content: 'hello' }], max_tokens: 5 });
const call = (name: string, body: object = chat()) => gateway.call(body, { key: key(name) });

beforeAll(async () => {
  gateway = await startGateway({
    models: [
      modelEntry('plain', { model: 'fake/plain' }),
      modelEntry('slow', { model: 'fake/slow?latency_ms=400' }),
      modelEntry('broken', { model: 'fake/broken?fail=500' }),
      modelEntry('narrow', { model: 'fake/narrow', rpm: 1 }, { id: 'narrow-1' }),
      modelEntry('narrow', { model: 'fake/narrow', rpm: 2 }, { id: 'narrow-2' }),
      modelEntry('by-default', { model: 'fake/by-default', default_api_key_rpm_limit: 1 }),
    ],
    keys: {
      [key('requests')]: { rpmLimit: 2, tpmLimit: 100_000 },
      [key('tokens')]: { tpmLimit: 60 },
      [key('parallel')]: { maxParallelRequests: 1 },
      [key('model')]: { limits: { modelRpm: { plain: 1 } } },
      [key('team')]: { teamId: 'team-1', rpmLimit: 100 },
      [key('team-2')]: { teamId: 'team-1', rpmLimit: 100 },
      [key('free')]: {},
      [key('free-2')]: {},
      [key('dynamic')]: { rpmLimit: 1, limits: { rpmType: 'dynamic' } },
    },
    accounts: [
      {
        kind: 'team',
        id: 'team-1',
        alias: null,
        blocked: false,
        models: [],
        modelAliases: {},
        allowedRegions: [],
        organizationId: null,
        limits: { ...NO_LIMITS, rpm: 2 },
        budgets: [],
        budgetId: null,
      },
    ],
  });
});
afterAll(() => gateway?.stop());

describe('a call beyond a limit', () => {
  it('is 429 in the words, type and headers that clients of LiteLLM know, and says what is left before', async () => {
    const first = await call('requests');
    expect(first.status).toBe(200);
    expect(first.headers).toMatchObject({
      'x-litellm-key-rpm-limit': '2',
      'x-litellm-key-tpm-limit': '100000',
      'x-ratelimit-api_key-limit-requests': '2',
      'x-ratelimit-api_key-remaining-requests': '1',
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
      'x-ratelimit-limit-tokens': '100000',
    });
    expect((await call('requests')).status).toBe(200);
    const refused = await call('requests');
    expect(refused.status).toBe(429);
    const { message, type, param, code } = refused.json()['error'] as Record<string, unknown>;
    expect({ type, param, code }).toEqual({ type: 'throttling_error', param: 'None', code: '429' });
    expect(message).toMatch(
      new RegExp(
        `^Rate limit exceeded for api_key: ${keyDigest(key('requests'))}\\. Limit type: requests\\. Current limit: 2, Remaining: 0\\. Limit resets at: \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d UTC$`,
      ),
    );
    expect(refused.headers['rate_limit_type']).toBe('requests');
    expect(refused.headers['reset_at']).toMatch(/ UTC$/);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(50);
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(61);
    expect(refused.headers['x-litellm-key-rpm-limit']).toBe('2');
    expect(gateway.metricsText()).toContain(
      'claviger_rate_limit_refusals_total{descriptor="api_key",limit_type="requests"} 1',
    );
  });

  it('counts tokens as reserved and then as used', async () => {
    expect((await call('tokens')).status).toBe(200);
    for (let tries = 0; tries < 20; tries++) {
      const answer = await call('tokens');
      if (answer.status === 200) continue;
      expect(answer.status).toBe(429);
      expect(answer.headers['rate_limit_type']).toBe('tokens');
      return;
    }
    throw new Error('a limit of 60 tokens was never reached');
  });

  it('holds for one model when the limit does', async () => {
    expect((await call('model')).status).toBe(200);
    const refused = await call('model');
    expect(refused.text).toContain('Rate limit exceeded for model_per_key: ');
    expect((await call('model', chat('slow'))).status).toBe(200);
  });

  it('of a team is shared by its keys', async () => {
    expect((await call('team')).status).toBe(200);
    expect((await call('team-2')).status).toBe(200);
    expect((await call('team')).text).toContain('Rate limit exceeded for team: team-1.');
    expect((await call('team-2')).status).toBe(429);
  });

  it('is no business of the master key', async () => {
    for (let tries = 0; tries < 4; tries++) expect((await gateway.call(chat(), { key: MASTER_KEY })).status).toBe(200);
  });
});

describe('parallel slots', () => {
  it('are free again after each way that a call can end: answered, refused by the provider, left by its client', async () => {
    for (const body of [chat(), chat('broken'), { ...chat(), stream: true }, chat('gone'), { model: 'plain' }]) {
      await call('parallel', body);
      expect((await call('parallel')).status, JSON.stringify(body)).toBe(200);
    }
    for (const stream of [true, false]) {
      const calling = startCall({ url: gateway.url, key: key('parallel'), body: { ...chat('slow'), stream } });
      calling.head.catch(() => {});
      await until('it is taken', async () => ((await call('parallel')).status === 429 ? true : null));
      calling.leave();
      expect(await calling.end).toBe('left');
      await until('it is free', async () => ((await call('parallel')).status === 200 ? true : null), 3_000);
    }
  });
});

describe('limits of deployments', () => {
  it('take a deployment out until none is left: then it is the 429 of the router', async () => {
    const used = new Map<string, number>();
    for (let calls = 0; calls < 3; calls++) {
      const answer = await call('free', chat('narrow'));
      expect(answer.status).toBe(200);
      const id = String(answer.headers['x-litellm-model-id']);
      used.set(id, (used.get(id) ?? 0) + 1);
    }
    expect([used.get('narrow-1'), used.get('narrow-2')]).toEqual([1, 2]);
    const refused = await call('free', chat('narrow'));
    expect(refused.status).toBe(429);
    expect(refused.text).toMatch(/No deployments available for selected model, try again in \d+ seconds/);
    expect(refused.headers['retry-after']).toBeDefined();
    // It is the deployments that have no room, whoever calls.
    expect((await call('free-2', chat('narrow'))).status).toBe(429);
  });

  it('give each key of their model a limit of its own', async () => {
    expect((await call('free', chat('by-default'))).status).toBe(200);
    expect((await call('free', chat('by-default'))).status).toBe(429);
    expect((await call('free-2', chat('by-default'))).status).toBe(200);
  });
});

describe('a limit of type dynamic', () => {
  it('is in force when a deployment of the model has failed, and not before', async () => {
    for (let calls = 0; calls < 3; calls++) expect((await call('dynamic')).status).toBe(200);
    expect((await call('free', chat('broken'))).status).toBe(500);
    expect((await call('dynamic')).status).toBe(200);
    expect((await call('dynamic', chat('broken'))).status).toBe(429);
  });
});
