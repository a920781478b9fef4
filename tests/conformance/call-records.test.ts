import { readFileSync } from 'node:fs';
import type OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LITELLM_CONTRACT_VERSION } from '../../src/gateway/versions.ts';
import type { Claviger } from '../support/processes.ts';
import { until } from '../support/until.ts';
import type { UpstreamServer } from '../support/upstream-server.ts';
import { type ConfiguredClaviger, INPUT_PRICE, OUTPUT_PRICE, startConfigured } from './configured-claviger.ts';
import { collect, failure, MESSAGES, openAiClient } from './sdk-cases.ts';

/** What the server of the tests counts unless it is told otherwise. */
const PROMPT_TOKENS = 11;
const COMPLETION_TOKENS = 7;
const CHAT_COST = 0.0000975;
/** A call is in `/spend/logs` this soon after its answer. */
const ROW_WITHIN_MS = 1_000;

let configured: ConfiguredClaviger;
let claviger: Claviger;
let upstream: UpstreamServer;
let key: string;
let client: OpenAI;

beforeAll(async () => {
  configured = await startConfigured({ include_cost_in_streaming_usage: true });
  ({ claviger, upstream } = configured);
});
beforeEach(async () => {
  await upstream.forget();
  key = await claviger.generateKey();
  client = openAiClient({ claviger, key });
});
afterAll(() => configured?.[Symbol.asyncDispose]());

describe('the call id', () => {
  const chat = (model: string, headers: Record<string, string>, more: object = {}) =>
    client.chat.completions
      .create({ model, messages: MESSAGES, ...more } as OpenAI.ChatCompletionCreateParamsNonStreaming, { headers })
      .withResponse();

  it.each(['x-litellm-call-id', 'x-request-id'])(
    'that a client sends as %s is on the answer, in the usage row, in the log and at the provider',
    async (header) => {
      const id = `order-4711/${header}`;
      const { response } = await chat('up-chat', { [header]: id });
      expect(response.headers.get('x-litellm-call-id')).toBe(id);
      const [seen] = await upstream.requests();
      expect(seen!.headers).toContainEqual(['x-litellm-call-id', id]);
      const row = await rowOf(id);
      expect(row.metadata['litellm_call_id']).toBe(id);
      // Clients may send the same id twice, so it is never the key of a row.
      expect(row.request_id).toMatch(UUID_V7);
      await claviger.waitForLog(new RegExp(`POST /v1/chat/completions 200 .*call=${id}`));
    },
  );

  it('is made when the client sends none, or nothing that can be one', async () => {
    const ids = new Set<string>();
    for (const headers of [{}, { 'x-litellm-call-id': 'with spaces in it' }, { 'x-request-id': 'x'.repeat(201) }]) {
      const { response } = await chat('up-chat', headers);
      const id = response.headers.get('x-litellm-call-id') ?? '';
      expect(id).toMatch(UUID_V7);
      ids.add(id);
      expect((await rowOf(id)).request_id).toBe(id);
      expect(
        await upstream.waitFor((seen) => seen.find(({ headers: sent }) => sent.some(([, v]) => v === id))),
      ).toBeTruthy();
    }
    expect(ids.size).toBe(3);
  });

  it('is on the answer of a stream, and on errors of ours and of the provider', async () => {
    const streamed = await client.chat.completions
      .create(
        { model: 'up-chat', messages: MESSAGES, stream: true },
        { headers: { 'x-litellm-call-id': 'streamed-1' } },
      )
      .withResponse();
    expect(streamed.response.headers.get('x-litellm-call-id')).toBe('streamed-1');
    await collect(streamed.data);
    expect((await rowOf('streamed-1')).status).toBe('success');

    const unknownModel = await failure(chat('no-such-model', { 'x-litellm-call-id': 'failed-1' }));
    expect(unknownModel.headers?.get('x-litellm-call-id')).toBe('failed-1');
    const busy = { upstream_script: { mode: 'error', status: 429 } };
    const refused = await failure(chat('up-chat', { 'x-litellm-call-id': 'failed-2' }, busy));
    expect(refused.headers?.get('x-litellm-call-id')).toBe('failed-2');
    expect(await rowOf('failed-2')).toMatchObject({
      status: 'failure',
      spend: 0,
      metadata: { litellm_call_id: 'failed-2', http_status: 429, error_code: 'upstream_rate_limit' },
    });
  });

  const elsewhere: [string, string, number][] = [
    ['GET', '/health/liveliness', 200],
    ['GET', '/health/readiness', 200],
    ['GET', '/health', 200],
    ['GET', '/metrics', 200],
    ['GET', '/v1/models', 200],
    ['GET', '/v1/models/no-such-model', 404],
    ['GET', '/v1/chat/completions', 405],
    ['POST', '/v1/chat/completions', 400],
    ['GET', '/key/list', 200],
    ['GET', '/key/info?key=sk-nobody', 404],
    ['POST', '/key/generate', 422],
    ['POST', '/key/generate', 401],
    ['GET', '/no/such/path', 404],
    ['GET', '/key/list%00', 400],
  ];
  it.each(elsewhere)(
    'is on %s %s with status %d, with the versions, revision and region',
    async (method, path, status) => {
      const answer = await fetch(`${claviger.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${status === 401 ? 'sk-nobody-0123456789' : claviger.masterKey}`,
          'content-type': 'application/json',
          'x-litellm-call-id': 'kept',
        },
        ...(method === 'POST' ? { body: '{"models": 1}' } : {}),
      });
      expect([answer.status, answer.headers.get('x-litellm-call-id')]).toEqual([status, 'kept']);
      expect(answer.headers.get('x-litellm-version')).toBe(LITELLM_CONTRACT_VERSION);
      expect(answer.headers.get('x-claviger-version')).toBe(packageVersion());
      expect(answer.headers.get('x-claviger-rev')).toMatch(/^\d+$/);
      expect(answer.headers.get('x-claviger-region')).toBe('eu-test-1');
      await answer.arrayBuffer();
    },
  );
});

describe('response headers of a completion', () => {
  it('name call, deployment, cost, spend, time, versions, revision and region', async () => {
    const made = await claviger.api('POST', '/key/generate', {});
    const { response } = await openAiClient({ claviger, key: made.json().key })
      .chat.completions.create({ model: 'up-chat', messages: MESSAGES })
      .withResponse();
    const headers = Object.fromEntries(response.headers);
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'x-litellm-call-id': expect.stringMatching(UUID_V7),
      'x-litellm-model-id': 'up-chat-1',
      'x-litellm-model-group': 'up-chat',
      'x-litellm-model-api-base': `${upstream.url}/v1`,
      'x-litellm-response-cost': String(CHAT_COST),
      'x-litellm-key-spend': String(CHAT_COST),
      'x-litellm-version': LITELLM_CONTRACT_VERSION,
      'x-claviger-version': packageVersion(),
      'x-claviger-region': 'eu-test-1',
      'llm_provider-x-request-id': expect.stringMatching(/^req_upstream_\d+$/),
    });
    const overheadMs = Number(headers['x-litellm-overhead-duration-ms']);
    expect(overheadMs).toBeGreaterThanOrEqual(0);
    expect(overheadMs).toBeLessThan(5_000);
    // The key is in force where the call was answered, so that process has at least its revision.
    const madeRev = Number(made.headers.get('x-claviger-rev'));
    expect(madeRev).toBeGreaterThan(0);
    expect(Number(headers['x-claviger-rev'])).toBeGreaterThanOrEqual(madeRev);
  });

  it('of a stream have neither cost nor spend; the rest is there', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'up-chat', messages: MESSAGES, stream: true })
      .withResponse();
    await collect(data);
    const headers = Object.fromEntries(response.headers);
    expect(headers['content-type']).toMatch(/^text\/event-stream/);
    expect(headers).not.toHaveProperty('x-litellm-response-cost');
    expect(headers).not.toHaveProperty('x-litellm-key-spend');
    for (const name of ['model-id', 'model-group', 'overhead-duration-ms', 'version'])
      expect(headers).toHaveProperty(`x-litellm-${name}`);
    for (const name of ['version', 'rev', 'region']) expect(headers).toHaveProperty(`x-claviger-${name}`);
  });

  it('of an answer that is too long to be held have neither; the answer is whole and its cost is in the log', async () => {
    const completionTokens = 900_000;
    const { data, response } = await client.chat.completions
      .create({
        model: 'up-chat',
        messages: MESSAGES,
        upstream_script: { completionTokens },
      } as OpenAI.ChatCompletionCreateParamsNonStreaming)
      .withResponse();
    const content = data.choices[0]?.message.content ?? '';
    expect(Buffer.byteLength(content)).toBeGreaterThan(8 * 1024 * 1024);
    expect(content.split(' ')).toHaveLength(completionTokens);
    expect(data.usage?.completion_tokens).toBe(completionTokens);
    expect(response.headers.get('x-litellm-response-cost')).toBeNull();
    expect(response.headers.get('x-litellm-key-spend')).toBeNull();
    expect(response.headers.get('x-litellm-model-id')).toBe('up-chat-1');
    const row = await rowOf(response.headers.get('x-litellm-call-id') ?? '');
    expect(row).toMatchObject({ completion_tokens: completionTokens, status: 'success' });
    expect(row.spend).toBe(9.0000275);
  });
});

describe('the cost of a call', () => {
  it('is exact in the header and in the log, found by our id, by that of the client and by that of the provider', async () => {
    expect(PROMPT_TOKENS * INPUT_PRICE + COMPLETION_TOKENS * OUTPUT_PRICE).toBeCloseTo(CHAT_COST, 12);
    const { data, response } = await client.chat.completions
      .create({ model: 'up-chat', messages: MESSAGES }, { headers: { 'x-litellm-call-id': 'cost-by-the-clients-id' } })
      .withResponse();
    expect(response.headers.get('x-litellm-response-cost')).toBe(String(CHAT_COST));
    const byClient = await rowOf('cost-by-the-clients-id');
    const byProvider = await rowOf(data.id);
    const byUs = await rowOf(byClient.request_id);
    expect(byUs).toMatchObject({
      request_id: expect.stringMatching(UUID_V7),
      spend: CHAT_COST,
      prompt_tokens: PROMPT_TOKENS,
      completion_tokens: COMPLETION_TOKENS,
      total_tokens: PROMPT_TOKENS + COMPLETION_TOKENS,
      model_group: 'up-chat',
      model_id: 'up-chat-1',
      custom_llm_provider: 'openai',
      api_base: `${upstream.url}/v1`,
      status: 'success',
      metadata: { provider_request_id: data.id, region: 'eu-test-1', stream: false, usage_estimated: false },
    });
    expect(byClient).toEqual(byUs);
    expect(byProvider).toEqual(byUs);
  });

  it('is rounded to the nano-dollar once', async () => {
    const { response } = await client.chat.completions.create({ model: 'cheap', messages: MESSAGES }).withResponse();
    expect(response.headers.get('x-litellm-response-cost')).toBe('2e-9');
    expect((await rowOf(response.headers.get('x-litellm-call-id') ?? '')).spend).toBe(2e-9);
  });

  it('comes from the price list when the file has no price', async () => {
    const { response } = await client.chat.completions.create({ model: 'listed', messages: MESSAGES }).withResponse();
    const cost = Number(response.headers.get('x-litellm-response-cost'));
    expect(cost).toBeGreaterThan(0);
    expect((await rowOf(response.headers.get('x-litellm-call-id') ?? '')).spend).toBe(cost);
  });

  it('of embeddings is that of their input', async () => {
    const { response } = await client.embeddings.create({ model: 'up-embedding', input: 'x' }).withResponse();
    expect(response.headers.get('x-litellm-response-cost')).toBe('0.0000275');
    const row = await rowOf(response.headers.get('x-litellm-call-id') ?? '');
    expect(row).toMatchObject({ spend: 0.0000275, completion_tokens: 0, call_type: 'aembedding' });
  });

  it('of a stream is in its usage chunk and in the log', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'up-chat', messages: MESSAGES, stream: true, stream_options: { include_usage: true } })
      .withResponse();
    const chunks = await collect(data);
    expect(chunks.at(-1)?.usage).toMatchObject({
      prompt_tokens: PROMPT_TOKENS,
      completion_tokens: COMPLETION_TOKENS,
      cost: CHAT_COST,
    });
    const row = await rowOf(chunks[0]?.id ?? '');
    expect(row.spend).toBe(CHAT_COST);
    expect(row.request_id).toBe(response.headers.get('x-litellm-call-id'));
    expect(row.metadata['stream']).toBe(true);
  });

  it('of a stream is in the log also when the client asked for no usage and saw none', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'up-chat', messages: MESSAGES, stream: true })
      .withResponse();
    expect((await collect(data)).every(({ usage }) => usage == null)).toBe(true);
    const row = await rowOf(response.headers.get('x-litellm-call-id') ?? '');
    expect(row).toMatchObject({ spend: CHAT_COST, completion_tokens: COMPLETION_TOKENS });
    expect(row.metadata['usage_estimated']).toBe(false);
  });

  it('adds up to the spend of the key: on each answer, and in the database', async () => {
    const seen: (string | null)[] = [];
    for (const stream of [false, true, false]) {
      const { data, response } = await client.chat.completions
        .create({ model: 'up-chat', messages: MESSAGES, stream })
        .withResponse();
      if (Symbol.asyncIterator in data) await collect(data as AsyncIterable<unknown>);
      seen.push(response.headers.get('x-litellm-key-spend'));
    }
    expect(seen).toEqual([String(CHAT_COST), null, '0.0002925']);
    await until('the spend of the key is that of its three calls', async () => {
      const info = (await claviger.api('GET', `/key/info?key=${key}`)).json().info;
      return info.spend === 0.0002925 ? true : null;
    });
    const rows = (await claviger.api('GET', `/spend/logs?api_key=${key}`)).json() as Row[];
    expect(rows.map(({ spend }) => spend)).toEqual([CHAT_COST, CHAT_COST, CHAT_COST]);
  });

  it('of a call with the master key is on the answer; the master key has no spend of its own', async () => {
    const { response } = await openAiClient({ claviger, key: claviger.masterKey })
      .chat.completions.create({ model: 'up-chat', messages: MESSAGES })
      .withResponse();
    expect(response.headers.get('x-litellm-response-cost')).toBe(String(CHAT_COST));
    expect(response.headers.get('x-litellm-key-spend')).toBeNull();
    const row = await rowOf(response.headers.get('x-litellm-call-id') ?? '');
    expect(row.api_key).toBe('litellm_proxy_master_key');
  });

  it('is there within a second, also while others come in', async () => {
    const ids = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const id = `burst-${index}`;
        await client.chat.completions.create(
          { model: 'up-chat', messages: MESSAGES },
          { headers: { 'x-litellm-call-id': id } },
        );
        return id;
      }),
    );
    const rows = await Promise.all(ids.map((id) => rowOf(id)));
    expect(new Set(rows.map(({ request_id }) => request_id)).size).toBe(ids.length);
    expect(rows.every(({ spend }) => spend === CHAT_COST)).toBe(true);
  });
});

interface Row {
  readonly request_id: string;
  readonly spend: number;
  readonly status: string;
  readonly api_key: string;
  readonly completion_tokens: number;
  readonly metadata: Readonly<Record<string, unknown>>;
}

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The only row of a call. Fails when it is not there after the time that is promised. */
async function rowOf(id: string): Promise<Row> {
  return until(`/spend/logs has the call ${id}`, () => findRow(id), ROW_WITHIN_MS);
}

async function findRow(id: string): Promise<Row | null> {
  const answer = await claviger.api('GET', `/spend/logs?request_id=${encodeURIComponent(id)}`);
  expect(answer.status).toBe(200);
  const rows: Row[] = answer.json();
  expect(rows.length).toBeLessThanOrEqual(1);
  return rows[0] ?? null;
}

function packageVersion(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}
