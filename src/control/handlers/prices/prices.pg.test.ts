import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../../../tests/support/silent-log.ts';
import { startControlPlane, type TestControlPlane } from '../../../../tests/support/test-control-plane.ts';
import { usageRecord } from '../../../../tests/support/usage-records.ts';
import { costMapEntry } from '../../../domain/cost-map.ts';
import type { Nano } from '../../../domain/money.ts';
import { NO_USAGE } from '../../../domain/usage.ts';
import { readPosition } from '../../../storage/repositories/installation.ts';
import { ingestUsage } from '../../money/ingest.ts';
import { PriceListTurns } from '../../prices/price-list-turns.ts';

const LISTED = costMapEntry({ litellm_provider: 'openai', input_cost_per_token: 1e-6, output_cost_per_token: 4e-6 });
let control: TestControlPlane;
let own: string;

beforeAll(async () => {
  control = await startControlPlane({
    prices: { find: (provider, model) => (`${provider}/${model}` === 'openai/gpt-listed' ? LISTED.pricing : null) },
    costMap: () => new Map([['openai/gpt-listed', LISTED]]),
    config: {
      models: [
        {
          modelName: 'mine',
          litellmParams: { model: 'openai/own', api_key: 'k', input_cost_per_token: 2e-6, output_cost_per_token: 6e-6 },
          modelInfo: { region_prices: { eu: { input_cost_per_token: 3e-6 } } },
        },
        { modelName: 'unpriced', litellmParams: { model: 'openai/nothing', api_key: 'k' }, modelInfo: {} },
      ],
      litellmSettings: { cost_margin_config: { openai: 0.1 } },
    },
  });
  own = (await control.call('POST', '/key/generate', { body: { models: ['gpt-listed'] } })).json.key;
});
afterAll(() => control.stop());

const calculate = (body: object, key?: string) =>
  control.call('POST', '/spend/calculate', { body, ...(key === undefined ? {} : { key }) });
const estimate = (body: object) => control.call('POST', '/cost/estimate', { body });

describe('POST /spend/calculate', () => {
  const usage = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 };

  it.each([
    ['a model of the fleet', { model: 'mine', completion_response: { usage } }, 0.0026 * 1.1],
    ['a model of the price list', { model: 'openai/gpt-listed', completion_response: { usage } }, 0.0014],
    ['the model that the answer names', { completion_response: { model: 'gpt-listed', usage } }, 0.0014],
    [
      'what the provider reported',
      { model: 'nobody-knows', completion_response: { usage: { ...usage, cost: 0.5 } } },
      0.5,
    ],
    ['messages', { model: 'openai/gpt-listed', messages: [{ role: 'user', content: 'x'.repeat(318) }] }, 0.0001],
  ])('prices %s', async (_name, body, cost) => {
    const { json, status } = await calculate(body);
    expect([status, json]).toEqual([200, { cost: expect.closeTo(cost, 9) }]);
  });

  it.each([
    [{ completion_response: { usage } }, /model is missing/],
    [{ model: 'mine' }, /give messages/],
    [{ model: 'mine', completion_response: {} }, /no usage/],
    [{ model: 'unpriced', completion_response: { usage } }, /no price is known for unpriced/],
  ])('refuses %j', async (body, sentence) => {
    const { json, status } = await calculate(body);
    expect(status).toBe(400);
    expect(json.error.message).toMatch(sentence);
  });

  it('shows a key no price of a model that it may not use', async () => {
    expect((await calculate({ model: 'gpt-listed', completion_response: { usage } }, own)).json).toEqual({
      cost: 0.0014,
    });
    expect((await calculate({ model: 'mine', completion_response: { usage } }, own)).status).toBe(400);
  });
});

describe('POST /cost/estimate', () => {
  it('multiplies exactly, with the margin apart', async () => {
    const body = {
      model: 'mine',
      input_tokens: 1_000,
      output_tokens: 100,
      num_requests_per_day: 3,
      num_requests_per_month: 90,
    };
    expect((await estimate(body)).json).toMatchObject({
      provider: 'openai',
      input_cost_per_token: 2e-6,
      cost_per_request: 0.00286,
      input_cost_per_request: 0.002,
      output_cost_per_request: 0.0006,
      margin_cost_per_request: 0.00026,
      daily_cost: 0.00858,
      monthly_cost: 0.2574,
      monthly_margin_cost: 0.0234,
    });
  });

  it('has the prices of a region when one is named', async () => {
    const { json } = await estimate({ model: 'mine', input_tokens: 1_000, region: 'eu' });
    expect(json).toMatchObject({ input_cost_per_request: 0.003, daily_cost: null });
  });

  it('refuses counts that are none', async () => {
    expect((await estimate({ model: 'mine', input_tokens: -1 })).status).toBe(422);
    expect((await estimate({ model: 'mine', input_tokens: 1e300 })).status).toBe(422);
    expect((await estimate({ model: 'nobody-knows' })).status).toBe(400);
  });
});

describe('the price list', () => {
  it('is shown in the form in which it is read', async () => {
    const { json } = await control.call('GET', '/model/cost_map', { key: own });
    expect(json).toEqual({ 'openai/gpt-listed': LISTED.fields });
  });

  it('is read again when an admin asks, and nobody else can', async () => {
    const { json, status } = await control.call('POST', '/reload/model_cost_map');
    expect([status, json.status, json.gateways]).toEqual([200, 'success', []]);
    expect((await control.call('POST', '/reload/model_cost_map', { key: own })).status).toBe(401);
  });

  it('has a schedule, of which each turn is taken once', async () => {
    const status = async () => (await control.call('GET', '/schedule/model_cost_map_reload/status')).json;
    expect(await status()).toEqual({ scheduled: false, interval_hours: null, last_run: null, next_run: null });
    const set = await control.call('POST', '/schedule/model_cost_map_reload?hours=6');
    expect(set.json).toMatchObject({ scheduled: true, interval_hours: 6 });
    expect(await status()).toEqual(set.json);

    const registry = { entries: () => [] as never };
    const readFleet = async () => ({ workers: [] }) as never;
    const turns = [1, 2].map(
      () => new PriceListTurns({ db: control.db, registry: registry as never, readFleet, log: silentLog }),
    );
    expect(await turns[0]!.check()).toBe(false);
    await control.db.write((tx) =>
      sql`update claviger.price_list_schedule set last_at = now() - interval '7 hours'`.execute(tx),
    );
    const taken = await Promise.all(turns.map((turn) => turn.check()));
    expect(taken.filter(Boolean)).toHaveLength(1);
    expect(await turns[0]!.check()).toBe(false);

    expect((await control.call('POST', '/schedule/model_cost_map_reload?hours=0')).json).toMatchObject({
      scheduled: false,
    });
    expect((await control.call('POST', '/schedule/model_cost_map_reload?hours=-1')).status).toBe(422);
  });
});

describe('what a row says of its cost', () => {
  const record = (fields: object, usage: object = {}) =>
    usageRecord({ usage: { ...NO_USAGE, promptTokens: 10, ...usage }, ...fields } as never);

  it('is what the worker sent, to the nano-dollar', async () => {
    const { installation } = await control.db.read(readPosition);
    const records = [
      record(
        { requestId: 'row-1', costNano: 7 as Nano, providerCostNano: null, breakdown: { input: 3, cacheRead: 4 } },
        { extras: { webSearches: 2, serviceTier: 'flex', unheardOf: 5 } },
      ),
      record(
        { requestId: 'row-2', costNano: 9 as Nano, providerCostNano: 9, formulaCostNano: 12 },
        { extras: { reportedNano: 9 } },
      ),
      record({ requestId: 'row-3', costNano: 0 as Nano, formulaCostNano: null }),
      // As a worker of an older version sends it, and one whose parts do not add up.
      usageRecord({ requestId: 'row-4', costNano: 5 as Nano }),
      record({ requestId: 'row-5', costNano: 5 as Nano, breakdown: { input: 4 } }),
    ];
    const batch = { installation, gatewayId: 'i/0', region: 'eu', incarnation: 'x', from: 0, to: 5, records };
    expect(await ingestUsage(batch, { db: control.db, log: silentLog })).toMatchObject({ ok: true });
    const shown = async (id: string) => (await control.call('GET', `/spend/logs?request_id=${id}`)).json[0];
    const metadata = async (id: string) => {
      const { cost_breakdown, formula_cost, provider_cost, usage_extras } = (await shown(id)).metadata;
      return { cost_breakdown, formula_cost, provider_cost, usage_extras };
    };
    expect((await shown('row-1')).spend).toBe(7e-9);
    expect(await metadata('row-1')).toEqual({
      cost_breakdown: { input: 3e-9, cacheRead: 4e-9 },
      formula_cost: 7e-9,
      provider_cost: null,
      usage_extras: { webSearches: 2, serviceTier: 'flex' },
    });
    expect(await metadata('row-2')).toEqual({
      cost_breakdown: null,
      formula_cost: 1.2e-8,
      provider_cost: 9e-9,
      usage_extras: { reportedNano: 9 },
    });
    expect(await metadata('row-3')).toMatchObject({ formula_cost: null, usage_extras: null });
    expect(await metadata('row-4')).toMatchObject({ formula_cost: 5e-9, cost_breakdown: null });
    expect(await metadata('row-5')).toMatchObject({ cost_breakdown: null });
    expect((await shown('row-5')).spend).toBe(5e-9);
  });
});
