import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { pick } from '../support/length.ts';
import { type Claviger, startClaviger } from '../support/processes.ts';
import type { UpstreamServer } from '../support/upstream-server.ts';
import type { SeenRequest } from '../support/upstream-server-protocol.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { type ConfiguredClaviger, PROVIDER_KEY, startConfigured, WEIGHTS } from './configured-claviger.ts';
import { collect, contentOf, MESSAGES, openAiClient, sdkCases } from './sdk-cases.ts';

describe('the openai package against the built-in provider', () => {
  let claviger: Claviger;
  let key: string;
  beforeAll(async () => {
    claviger = await startClaviger();
    await waitUntilCurrent(claviger);
    key = await claviger.generateKey();
  });
  afterAll(() => claviger?.stop());

  sdkCases(() => ({
    claviger,
    key,
    chatModel: 'fake-gpt',
    embeddingModel: 'fake-embedding',
    failWith: (status) => ({ fake: { fail: status } }),
  }));

  it('honours max_tokens and n', async () => {
    const answer = await openAiClient({ claviger, key }).chat.completions.create({
      model: 'fake-gpt',
      messages: MESSAGES,
      max_tokens: 3,
      n: 2,
      fake: { tokens: 10 },
    } as OpenAI.ChatCompletionCreateParamsNonStreaming);
    expect(answer.choices.map(({ finish_reason }) => finish_reason)).toEqual(['length', 'length']);
    expect(answer.usage?.completion_tokens).toBe(6);
  });
});

describe('the openai package against a provider in another process', () => {
  let configured: ConfiguredClaviger;
  let claviger: Claviger;
  let upstream: UpstreamServer;
  let key: string;
  let client: OpenAI;
  beforeAll(async () => {
    configured = await startConfigured();
    ({ claviger, upstream } = configured);
    key = await claviger.generateKey();
    client = openAiClient({ claviger, key });
  });
  beforeEach(() => upstream.forget());
  afterAll(() => configured?.[Symbol.asyncDispose]());

  sdkCases(() => ({
    claviger,
    key,
    chatModel: 'up-chat',
    embeddingModel: 'up-embedding',
    failWith: (status) => ({ upstream_script: { mode: 'error', status } }),
  }));

  const chat = (model: string, more: object = {}) =>
    client.chat.completions.create({
      model,
      messages: MESSAGES,
      ...more,
    } as OpenAI.ChatCompletionCreateParamsNonStreaming);

  it.each([
    ['up-chat', '/v1/chat/completions', 'up-chat', `Bearer ${PROVIDER_KEY}`],
    ['renamed', '/v1/chat/completions', 'up-renamed', `Bearer ${PROVIDER_KEY}`],
    ['groq-overridden', '/v1/groq/chat/completions', 'llama-3.3-70b', 'Bearer gsk_overridden'],
    [
      'groq-of-the-environment',
      '/groq-of-the-environment/chat/completions',
      'llama-3.3-70b',
      'Bearer gsk_of-the-environment',
    ],
    ['vllm', '/vllm/v1/chat/completions', 'Qwen/Qwen3-8B', null],
    ['openai/anything-at-all', '/v1/chat/completions', 'anything-at-all', `Bearer ${PROVIDER_KEY}`],
  ])('%s goes to %s as %s with its own credential', async (model, path, sentModel, authorization) => {
    expect((await chat(model)).choices).toHaveLength(1);
    const [seen, ...others] = await upstream.requests();
    expect(others).toEqual([]);
    expect(seen).toMatchObject({ method: 'POST', path });
    expect(bodyOf(seen!)['model']).toBe(sentModel);
    expect(headerOf(seen!, 'authorization')).toBe(authorization);
    // The key of the caller stays here, wherever a client may have put it.
    expect(JSON.stringify(seen!.headers)).not.toContain(key);
  });

  it('asks for the usage of a stream, whether the client does or not', async () => {
    await collect(await client.chat.completions.create({ model: 'up-chat', messages: MESSAGES, stream: true }));
    const [seen] = await upstream.requests();
    expect(bodyOf(seen!)).toMatchObject({ stream: true, stream_options: { include_usage: true } });
  });

  it('puts no cost into the usage of a stream unless the configuration asks for it', async () => {
    const options = { stream: true, stream_options: { include_usage: true } } as const;
    const stream = await client.chat.completions.create({ model: 'up-chat', messages: MESSAGES, ...options });
    const usage = (await collect(stream)).at(-1)?.usage;
    expect(usage).toHaveProperty('total_tokens');
    expect(usage).not.toHaveProperty('cost');
  });

  it('spreads calls over the deployments of a model by their weight', async () => {
    const calls = pick(120, 1_200);
    const lanes = Array.from({ length: 8 }, async (_, lane) => {
      for (let call = lane; call < calls; call += 8) await chat('weighted');
    });
    await Promise.all(lanes);
    const models = (await upstream.requests()).map((seen) => bodyOf(seen)['model']);
    expect(models).toHaveLength(calls);
    const heavy = models.filter((model) => model === 'heavy').length;
    const share = WEIGHTS.heavy / (WEIGHTS.heavy + WEIGHTS.light);
    // Seven standard deviations: chance alone fails this once in 10^11 runs.
    const slack = 7 * Math.sqrt(calls * share * (1 - share));
    expect(Math.abs(heavy - calls * share)).toBeLessThan(slack);
    expect(new Set(models)).toEqual(new Set(['heavy', 'light']));
  });

  describe('request bodies', () => {
    const tools = `[ {"type":"function", "function" : {"parameters":{"type":"object","properties":{"größe":{"type":"number",
      "minimum":1.0e0,"multipleOf":0.10, "description":"\\u00e4 \\/ \\ud83d\\ude00 \\"model\\": \\"x\\""}}, "required":[]}, "name":"f"}} ]`;

    it('reach the provider byte for byte when nothing has to change', async () => {
      const body = `{"messages" : [{"role":"user","content":"\\u0068i"}],\n "tools": ${tools}, "seed":1e3,"model":"up-chat"}`;
      expect((await post(body)).status).toBe(200);
      const [seen] = await upstream.requests();
      expect(textOf(seen!)).toBe(body);
    });

    it('keep every byte of every member but the model when it has another name', async () => {
      const body = (model: string): string =>
        `{"model":"${model}","messages":[{"role":"user","content":"\\u0068i"}],"tools": ${tools},"seed":1e3}`;
      expect((await post(body('renamed'))).status).toBe(200);
      const [seen] = await upstream.requests();
      expect(textOf(seen!)).toBe(body('up-renamed'));
    });

    it('carry the tools of the package, and its answer goes back whole', async () => {
      const sent: OpenAI.ChatCompletionTool[] = [
        { type: 'function', function: { name: 'f', strict: true, parameters: { type: 'object', properties: {} } } },
      ];
      const answer = await chat('up-chat', { tools: sent, tool_choice: 'auto', upstream_script: { mode: 'echo' } });
      const [seen] = await upstream.requests();
      expect(bodyOf(seen!)).toMatchObject({ tools: sent, tool_choice: 'auto' });
      expect(answer).toHaveProperty('echo.body_base64', seen!.bodyBase64);
    });

    async function post(body: string) {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
      return fetch(`${claviger.url}/v1/chat/completions`, { method: 'POST', headers, body });
    }
  });

  it('an error event in a stream is an APIError of the package after the content before it', async () => {
    const stream = await client.chat.completions.create({
      model: 'up-chat',
      messages: MESSAGES,
      stream: true,
      upstream_script: { mode: 'error-event', chunks: 5 },
    } as OpenAI.ChatCompletionCreateParamsStreaming);
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    const read = async () => {
      for await (const chunk of stream) chunks.push(chunk);
    };
    await expect(read()).rejects.toBeInstanceOf(OpenAI.APIError);
    expect(contentOf(chunks)).not.toBe('');
  });

  it('a stream arrives as it is made, not at its end', async () => {
    const stream = await client.chat.completions.create({
      model: 'up-chat',
      messages: MESSAGES,
      stream: true,
      upstream_script: { mode: 'no-end', chunks: 3, chunkMs: 0, firstChunkMs: 0 },
    } as OpenAI.ChatCompletionCreateParamsStreaming);
    // The provider never ends this one: its "[DONE]" is the end for the client.
    expect(contentOf(await collect(stream)).length).toBeGreaterThan(0);

    const slow = await client.chat.completions.create({
      model: 'up-chat',
      messages: MESSAGES,
      stream: true,
      upstream_script: { chunks: 2, chunkMs: 60_000 },
    } as OpenAI.ChatCompletionCreateParamsStreaming);
    for await (const chunk of slow) {
      expect(chunk.choices[0]?.delta.content).toMatch(/./);
      break;
    }
    await upstream.waitFor((seen) => seen.find(({ end }) => end === 'peer-closed'));
  });
});

function textOf({ bodyBase64 }: SeenRequest): string {
  return Buffer.from(bodyBase64, 'base64').toString('utf8');
}

function bodyOf(seen: SeenRequest): Record<string, unknown> {
  return JSON.parse(textOf(seen));
}

function headerOf({ headers }: SeenRequest, name: string): string | null {
  return headers.find(([known]) => known.toLowerCase() === name)?.[1] ?? null;
}
