import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { JsonObject } from '../../src/domain/virtual-key.ts';
import { type GatewayHarness, modelEntry, startGateway } from '../support/gateway-harness.ts';

/** What the provider answers to the next call. */
let answer: JsonObject;
let provider: Server;
let gateway: GatewayHarness;
let before = 0;

beforeAll(async () => {
  provider = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const { stream } = JSON.parse(body) as { stream?: boolean };
      if (stream !== true) {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(answer));
        return;
      }
      const { usage, ...rest } = answer;
      const events = [
        {
          ...rest,
          object: 'chat.completion.chunk',
          choices: [{ index: 0, delta: { content: 'Hi' }, finish_reason: 'stop' }],
        },
        { ...rest, object: 'chat.completion.chunk', choices: [], usage: usage ?? null },
      ];
      response.setHeader('content-type', 'text/event-stream');
      response.end(`${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\n`);
    });
  });
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  const up = { api_base: `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`, api_key: 'sk-up' };
  gateway = await startGateway({
    models: [
      modelEntry('flexible', {
        ...up,
        model: 'openai/flexible',
        input_cost_per_token_flex: 5e-7,
        output_cost_per_token_flex: 1e-6,
        cache_read_input_token_cost: 1e-7,
        search_context_cost_per_query: { search_context_size_medium: 0.01 },
      }),
      { modelName: 'unknown', litellmParams: { ...up, model: 'openai/unknown' }, modelInfo: {} },
    ],
  });
});
beforeEach(() => {
  before = gateway.usage().settled.length;
  answer = {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    model: 'flexible-2026',
    service_tier: 'default',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 },
  };
});
afterAll(async () => {
  await gateway.stop();
  await new Promise((resolve) => provider.close(resolve));
});

async function call(model = 'flexible', stream = false) {
  const sent = await gateway.call({ model, stream, messages: [{ role: 'user', content: 'Hi' }] });
  expect(sent.status).toBe(200);
  const [record] = await gateway.settledSince(before);
  return { header: sent.headers['x-litellm-response-cost'], record: record! };
}

it('a plain call costs its tokens, and its record has nothing beyond that', async () => {
  const { header, record } = await call();
  expect(record.costNano).toBe(1_000 * 1_000 + 100 * 2_000);
  expect(header).toBe('0.0012');
  for (const name of ['breakdown', 'formulaCostNano', 'providerCostNano']) expect(record).not.toHaveProperty(name);
  expect(record.usage).not.toHaveProperty('extras');
});

it.each([[false], [true]])('the service tier in the answer has its prices; streamed: %s', async (stream) => {
  answer.service_tier = 'flex';
  const { record } = await call('flexible', stream);
  expect(record.costNano).toBe(1_000 * 500 + 100 * 1_000);
  expect(record.usage.extras).toEqual({ serviceTier: 'flex' });
});

it.each([[false], [true]])('a record explains its cost to the nano-dollar; streamed: %s', async (stream) => {
  answer.usage = {
    prompt_tokens: 1_000,
    completion_tokens: 100,
    total_tokens: 1_100,
    prompt_tokens_details: { cached_tokens: 400 },
    completion_tokens_details: { reasoning_tokens: 30 },
    server_tool_use: { web_search_requests: 2 },
  };
  const { header, record } = await call('flexible', stream);
  expect(record.breakdown).toEqual({
    input: 600_000,
    cacheRead: 40_000,
    output: 140_000,
    reasoning: 60_000,
    webSearch: 20_000_000,
  });
  expect(record.costNano).toBe(20_840_000);
  if (!stream) expect(header).toBe('0.02084');
});

it.each([[false], [true]])('a cost that the provider reports wins, and both are kept; streamed: %s', async (stream) => {
  answer.usage = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100, cost: 0.000123456 };
  const { header, record } = await call('flexible', stream);
  expect(record).toMatchObject({ costNano: 123_456, providerCostNano: 123_456, formulaCostNano: 1_200_000 });
  if (!stream) expect(header).toBe('0.000123456');
});

it('without a price, a call costs 0, says no cost, and is counted and named once', async () => {
  const { header, record } = await call('unknown');
  expect(record).toMatchObject({ costNano: 0, formulaCostNano: null });
  expect(header).toBeUndefined();
  expect(gateway.metricsText()).toMatch(
    /litellm_zero_cost_requests_total\{requested_model="unknown".*"missing_pricing_key"\} 1/,
  );
});

it('without a price, what the provider reports is the cost', async () => {
  answer.usage = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100, cost: 0.5 };
  const { header, record } = await call('unknown');
  expect(record).toMatchObject({ costNano: 500_000_000, providerCostNano: 500_000_000, formulaCostNano: null });
  expect(header).toBe('0.5');
});
