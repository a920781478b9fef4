import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compileConfiguration,
  InvalidDeploymentError,
  RESOLVED_NAMES_MAX,
  resolveGroup,
} from './compile-configuration.ts';
import { type ConfigSource, EMPTY_CONFIG_SOURCE, type ModelEntry } from './config-source.ts';
import type { PriceSource } from './configuration.ts';
import { mayUse } from './model-access.ts';
import type { Pico } from './money.ts';
import { providerEntry, providerPrefixes } from './provider-catalogue.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

const NO_PRICES: PriceSource = { find: () => null };
const FLAT = { cacheRead: null, cacheWrite: null, inputAudio: null, outputAudio: null, reasoning: null };

function compile(source: Partial<ConfigSource>, env: Record<string, string> = {}, prices = NO_PRICES) {
  return compileConfiguration(
    { ...EMPTY_CONFIG_SOURCE, ...source },
    { prices, envValue: (name) => env[name], sha256Hex: (text) => createHash('sha256').update(text).digest('hex') },
  );
}

const entry = (modelName: string, litellmParams: JsonObject, modelInfo: JsonObject = {}): ModelEntry => ({
  modelName,
  litellmParams,
  modelInfo,
});

function one(litellmParams: JsonObject, env: Record<string, string> = {}, modelInfo: JsonObject = {}) {
  const { configuration, warnings } = compile({ models: [entry('m', litellmParams, modelInfo)] }, env);
  const deployment = configuration.groups.get('m')?.deployments[0];
  return { deployment, warnings };
}

describe('the provider of an entry', () => {
  it.each([
    ['openai/gpt-4o', 'openai', 'gpt-4o', 'https://api.openai.com/v1'],
    ['gpt-4o', 'openai', 'gpt-4o', 'https://api.openai.com/v1'],
    ['groq/llama-3.3-70b-versatile', 'groq', 'llama-3.3-70b-versatile', 'https://api.groq.com/openai/v1'],
    ['together_ai/meta-llama/Llama-3-8b', 'together_ai', 'meta-llama/Llama-3-8b', 'https://api.together.xyz/v1'],
    [
      'fireworks_ai/llama-v3',
      'fireworks_ai',
      'accounts/fireworks/models/llama-v3',
      'https://api.fireworks.ai/inference/v1',
    ],
    [
      'fireworks_ai/accounts/me/models/x',
      'fireworks_ai',
      'accounts/me/models/x',
      'https://api.fireworks.ai/inference/v1',
    ],
    ['deepseek/deepseek-chat', 'deepseek', 'deepseek-chat', 'https://api.deepseek.com'],
    ['openrouter/anthropic/claude-sonnet-4', 'openrouter', 'anthropic/claude-sonnet-4', 'https://openrouter.ai/api/v1'],
    ['fake/gpt?fail=429', 'fake', 'gpt?fail=429', 'fake:'],
  ])('%s', (model, provider, upstream, apiBase) => {
    expect(one({ model, api_key: 'k' }).deployment).toMatchObject({
      provider,
      model: upstream,
      apiBase,
      litellmModel: model,
    });
  });

  it('can be named beside the model', () => {
    const { deployment } = one({
      model: 'meta-llama/Llama-3-8b',
      custom_llm_provider: 'openai',
      api_base: 'http://gpu:8000/v1/',
    });
    expect(deployment).toMatchObject({
      provider: 'openai',
      model: 'meta-llama/Llama-3-8b',
      apiBase: 'http://gpu:8000/v1',
    });
    expect(one({ model: 'groq/x', custom_llm_provider: 'groq', api_key: 'k' }).deployment?.model).toBe('x');
  });

  it('finds address, key and organization in the entry first, then in the environment', () => {
    const env = { OPENAI_API_KEY: 'from-env', OPENAI_BASE_URL: 'https://env.test/v1', OPENAI_ORGANIZATION: 'org-env' };
    expect(one({ model: 'gpt-4o' }, env).deployment).toMatchObject({
      apiKey: 'from-env',
      apiBase: 'https://env.test/v1',
      organization: 'org-env',
    });
    const own = { model: 'gpt-4o', api_key: 'own', api_base: 'https://own.test/v1', organization: 'org-own' };
    expect(one(own, env).deployment).toMatchObject({
      apiKey: 'own',
      apiBase: 'https://own.test/v1',
      organization: 'org-own',
    });
    expect(one({ model: 'hosted_vllm/x' }, { HOSTED_VLLM_API_BASE: 'http://gpu:8000/v1' }).deployment?.apiBase).toBe(
      'http://gpu:8000/v1',
    );
  });

  it('takes environment_variables of the file before the process environment', () => {
    const models = [entry('m', { model: 'groq/x' })];
    const { configuration } = compile(
      { models, environmentVariables: { GROQ_API_KEY: 'file' } },
      { GROQ_API_KEY: 'process' },
    );
    expect(configuration.groups.get('m')?.deployments[0]?.apiKey).toBe('file');
  });

  it.each([
    [{ model: 'anthropic/claude-opus-5' }, 'provider anthropic is not served by this version.'],
    [{ model: 'claude-opus-5' }, 'provider anthropic is not served by this version.'],
    [{ model: 'meta-llama/Llama-3' }, 'meta-llama is not a known provider'],
    [{ model: 'hosted_vllm/x' }, 'provider hosted_vllm has no public address: set api_base or HOSTED_VLLM_API_BASE.'],
    [{ model: 'openai/' }, 'openai/ names no model.'],
    [{ model: 'gpt-4o', api_base: 'localhost:8000' }, 'api_base localhost:8000 is not an http or https URL.'],
    [{}, 'names no model.'],
  ])('leaves %j out and says why', (params, reason) => {
    const { deployment, warnings } = one(params);
    expect(deployment).toBeUndefined();
    expect(warnings[0]).toContain('model_list[0] (m) can not be used: ');
    expect(warnings[0]).toContain(reason);
  });

  it('refuses the whole configuration when invalid deployments are not to be ignored', () => {
    const source = {
      models: [entry('m', { model: 'nobody/x' })],
      routerSettings: { ignore_invalid_deployments: false },
    };
    expect(() => compile(source)).toThrow(InvalidDeploymentError);
  });

  it('warns of a missing key, and never shows one', () => {
    expect(one({ model: 'groq/x' }).warnings[0]).toContain('GROQ_API_KEY is not set');
    expect(one({ model: 'openai/x', api_base: 'http://own:1/v1' }).warnings).toEqual([]);
    expect(JSON.stringify(one({ model: 'nobody/x', api_key: 'very-secret' }).warnings)).not.toContain('very-secret');
  });
});

describe('the catalogue of providers', () => {
  it('leaves a password out of the address, which is shown to clients', () => {
    const { deployment, warnings } = one({
      model: 'openai/x',
      api_base: 'https://me:very@secret@own:1/v1/a@b',
      api_key: 'k',
    });
    expect(deployment?.apiBase).toBe('https://own:1/v1/a@b');
    expect(warnings).toEqual([expect.stringContaining('has a user name or password in api_base')]);
    expect(warnings[0]).not.toContain('secret');
  });

  it('has for each an address or a variable for it, and a name for its errors', () => {
    for (const prefix of providerPrefixes()) {
      const provider = providerEntry(prefix);
      expect(provider?.prefix).toBe(prefix);
      expect(provider?.displayName).toMatch(/^[A-Z]/);
      if (provider?.apiBase === null) expect(provider.apiBaseEnv.length, prefix).toBeGreaterThan(0);
      else expect(provider?.apiBase, prefix).toMatch(/^(https?:\/\/[^/].*[^/]|fake:)$/);
    }
  });

  it('names errors as LiteLLM does', () => {
    expect(
      ['openai', 'groq', 'together_ai', 'text-completion-openai'].map((prefix) => providerEntry(prefix)?.displayName),
    ).toEqual(['OpenAI', 'Groq', 'Together_ai', 'OpenAI']);
  });
});

describe('the parameters of an entry', () => {
  it('become settings of the deployment, and what is no setting becomes a default of the body', () => {
    const { deployment, warnings } = one({
      model: 'gpt-4o',
      api_key: 'k',
      timeout: '30',
      stream_timeout: 0.5,
      order: 2,
      extra_headers: { 'X-Team': 'a', Host: 'evil', 'bad name': 'x', 'x-lines': 'a\r\nb: c', 'x-number': 5 },
      temperature: 0.2,
      chat_template_kwargs: { enable_thinking: false },
      extra_body: { top_k: 5 },
      tags: ['a'],
      aws_region_name: 'eu',
      input_cost_per_token_above_128k_tokens: 1,
      ssl_verify: 'False',
      ssl_certificate: '/c.pem',
      ssl_key: '/k.pem',
      stream: true,
    });
    expect(deployment).toMatchObject({
      timeoutMs: 30_000,
      streamTimeoutMs: 500,
      order: 2,
      extraHeaders: { 'X-Team': 'a', 'x-number': '5' },
      defaultBody: { temperature: 0.2, chat_template_kwargs: { enable_thinking: false }, top_k: 5 },
      sslVerify: false,
      clientCertPath: '/c.pem',
      clientKeyPath: '/k.pem',
      mode: 'chat',
    });
    expect(Object.keys(deployment?.extraHeaders ?? {})).toHaveLength(2);
    expect(Object.keys(deployment?.defaultBody ?? {})).toHaveLength(3);
    expect(warnings).toEqual([
      'model_list[0] (m) gives a default for stream, which only a request can decide; it is left out.',
    ]);
  });

  it('send no setting to the provider', () => {
    const settings = [
      'api_key',
      'api_base',
      'weight',
      'rpm',
      'tpm',
      'tags',
      'input_cost_per_token',
      'output_cost_per_image',
      'vertex_project',
      'azure_ad_token',
      'client_secret',
      'litellm_credential_name',
      'max_budget',
      'ssl_key',
      'model',
    ];
    const params = Object.fromEntries(settings.map((name) => [name, name.includes('_cost_') ? 1 : 'x']));
    expect(one({ ...params, model: 'gpt-4o', api_base: 'http://a/v1' }).deployment?.defaultBody).toEqual({});
  });

  it('expand a list of organizations into one deployment each', () => {
    const { configuration } = compile({
      models: [entry('m', { model: 'gpt-4o', api_key: 'k', organization: ['a', 'b'] })],
    });
    const deployments = configuration.groups.get('m')?.deployments ?? [];
    expect(deployments.map(({ organization }) => organization)).toEqual(['a', 'b']);
    expect(new Set(deployments.map(({ id }) => id)).size).toBe(2);
  });
});

describe('the id of a deployment', () => {
  it('is model_info.id, or a hash of the entry that does not depend on the order of its fields', () => {
    expect(one({ model: 'gpt-4o', api_key: 'k' }, {}, { id: 'my-id' }).deployment?.id).toBe('my-id');
    const first = one({ model: 'gpt-4o', api_key: 'k' }).deployment?.id;
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(one({ api_key: 'k', model: 'gpt-4o' }).deployment?.id).toBe(first);
    expect(one({ api_key: 'k2', model: 'gpt-4o' }).deployment?.id).not.toBe(first);
  });

  it('names one deployment only, also when entries are equal', () => {
    const same = entry('m', { model: 'gpt-4o', api_key: 'k' }, { id: 'x' });
    const { configuration } = compile({ models: [same, same, same] });
    expect(configuration.groups.get('m')?.deployments.map(({ id }) => id)).toEqual(['x', 'x-2', 'x-3']);
  });
});

describe('the weights of a group', () => {
  const weights = (...list: JsonObject[]) => {
    const { configuration } = compile({
      models: list.map((params) => entry('m', { model: 'gpt-4o', api_key: 'k', ...params })),
    });
    return configuration.groups.get('m')?.deployments.map(({ weight }) => weight);
  };

  it('are weight, else rpm, else tpm, else equal, for the group as a whole', () => {
    expect(weights({}, {})).toEqual([1, 1]);
    expect(weights({ rpm: 900 }, { rpm: 10 })).toEqual([900, 10]);
    expect(weights({ tpm: 5 }, {})).toEqual([5, 0]);
    expect(weights({ weight: 2, rpm: 1 }, { rpm: 10 })).toEqual([2, 0]);
  });

  it('put entries without an order behind those with one', () => {
    const { configuration } = compile({
      models: [entry('m', { model: 'a', api_key: 'k' }), entry('m', { model: 'b', api_key: 'k', order: 9 })],
    });
    const [without, having] = configuration.groups.get('m')?.deployments ?? [];
    expect(without?.order).toBeGreaterThan(having?.order ?? Number.POSITIVE_INFINITY);
  });
});

describe('prices', () => {
  it('are those of the entry or of model_info, as a whole, else those of the price list', () => {
    const list: PriceSource = {
      find: (provider, model, base) => ({
        input: (provider.length + model.length) as Pico,
        output: (base?.length ?? 0) as Pico,
        ...FLAT,
      }),
    };
    const pricing = (params: JsonObject, info: JsonObject = {}) =>
      compile(
        { models: [entry('m', { model: 'gpt-4o', api_key: 'k', ...params }, info)] },
        {},
        list,
      ).configuration.groups.get('m')?.deployments[0]?.pricing;
    expect(pricing({})).toEqual({ input: 12, output: 0, ...FLAT });
    expect(pricing({}, { base_model: 'gpt-4' })).toEqual({ input: 12, output: 5, ...FLAT });
    expect(pricing({ input_cost_per_token: 2.5e-6 })).toEqual({ input: 2_500_000, output: 0, ...FLAT });
    expect(
      pricing({ input_cost_per_token: '1e-6', cache_read_input_token_cost: 1e-7 }, { output_cost_per_token: 3e-6 }),
    ).toEqual({ ...FLAT, input: 1_000_000, output: 3_000_000, cacheRead: 100_000 });
    expect(pricing({ input_cost_per_token: 0, output_cost_per_token: 0 })).toEqual({ input: 0, output: 0, ...FLAT });
  });

  it.each<[JsonValue]>([[-1], [1e308], [Number.NaN], ['much'], [true]])(
    'that are none (%j) keep the entry out',
    (price) => {
      const { deployment, warnings } = one({ model: 'gpt-4o', api_key: 'k', input_cost_per_token: price });
      expect(deployment).toBeUndefined();
      expect(warnings[0]).toMatch(
        /^model_list\[0\] \(m\) can not be used: input_cost_per_token: .* is not a usable price/,
      );
    },
  );

  const priced = (params: JsonObject, info: JsonObject = {}, source: Partial<ConfigSource> = {}, region?: string) =>
    compileConfiguration(
      { ...EMPTY_CONFIG_SOURCE, models: [entry('m', { model: 'gpt-4o', api_key: 'k', ...params }, info)], ...source },
      {
        prices: {
          find: (_provider, model) =>
            model === 'gpt-4o' || model === 'known' ? { input: 100 as Pico, output: 200 as Pico, ...FLAT } : null,
        },
        envValue: () => undefined,
        sha256Hex: (text) => createHash('sha256').update(text).digest('hex'),
        ...(region === undefined ? {} : { region }),
      },
    ).configuration;
  const pricingIn = (configuration: ReturnType<typeof priced>) =>
    configuration.groups.get('m')?.deployments[0]?.pricing;

  it('that refine the price list replace only their like', () => {
    expect(pricingIn(priced({ cache_read_input_token_cost: 5e-11 }))).toEqual({
      input: 100,
      output: 200,
      ...FLAT,
      cacheRead: 50,
    });
  });

  it('of a region count there and nowhere else', () => {
    const info = { region_prices: { eu: { input_cost_per_token: 3e-10 }, us: { output_cost_per_token: 4e-10 } } };
    expect(pricingIn(priced({}, info, {}, 'eu'))).toMatchObject({ input: 300, output: 200 });
    expect(pricingIn(priced({}, info, {}, 'us'))).toMatchObject({ input: 100, output: 400 });
    expect(pricingIn(priced({}, info, {}, 'asia'))).toMatchObject({ input: 100, output: 200 });
    expect(pricingIn(priced({}, info))).toMatchObject({ input: 100, output: 200 });
  });

  it.each<[JsonValue, RegExp]>([
    [{ eu: { input_cost_per_token: -1 } }, /region_prices\.eu\.input_cost_per_token: -1/],
    [{ eu: 5 }, /region_prices\.eu is not a map/],
    ['eu', /region_prices is not a map/],
  ])('of regions that are none keep the entry out everywhere: %j', (region_prices, sentence) => {
    const models = [entry('m', { model: 'gpt-4o', api_key: 'k' }, { region_prices })];
    expect(compile({ models }).warnings[0]).toMatch(sentence);
  });

  it('have discount and margin of the settings', () => {
    const configuration = priced({}, {}, { litellmSettings: { cost_discount_config: { openai: 0.1 } } });
    expect(pricingIn(configuration)?.more?.adjustment.discountMillionths).toBe(100_000);
  });

  it('of a name in an answer are found for a deployment without a price', () => {
    const configuration = priced({ model: 'openai/my-alias' });
    const deployment = configuration.groups.get('m')!.deployments[0]!;
    expect(deployment.pricing).toBeNull();
    expect(configuration.priceOfAnswer(deployment, 'known')).toMatchObject({ input: 100 });
    expect(configuration.priceOfAnswer(deployment, 'unknown')).toBeNull();
    expect(configuration.priceOfAnswer(deployment, '')).toBeNull();
  });

  it.each<[JsonValue | undefined, number]>([
    [undefined, 1_000_000_000],
    [0.25, 250_000_000],
    ['2', 2_000_000_000],
    [0, 0],
    [-1, 1_000_000_000],
    [1e308, 1_000_000_000],
  ])('unpriced_reservation_usd %j reserves %s nano-dollars', (usd, nano) => {
    const settings = usd === undefined ? {} : { unpriced_reservation_usd: usd };
    expect(priced({}, {}, { generalSettings: settings }).general.unpricedReservationNano).toBe(nano);
  });
});

describe('resolveGroup', () => {
  const env = { OPENAI_API_KEY: 'o', GROQ_API_KEY: 'g' };
  const resolve = (models: ModelEntry[], name: string, prices = NO_PRICES) => {
    const { configuration } = compile({ models }, env, prices);
    const found = resolveGroup(configuration, name);
    const deployments = found?.group.deployments ?? [];
    return found === null
      ? null
      : {
          name: found.name,
          group: found.group.name,
          to: deployments.map((one) => `${one.provider}:${found.upstreamName(one)}`),
        };
  };

  it.each([
    ['openai/*', 'openai/*', 'openai/gpt-4o', 'openai:gpt-4o'],
    ['*', '*', 'groq/llama-3', 'groq:llama-3'],
    ['*', '*', 'gpt-4o', 'openai:gpt-4o'],
    ['*', 'openai/*', 'gpt-4o', 'openai:gpt-4o'],
    ['fast-*', 'groq/*', 'fast-llama', 'groq:llama'],
    ['openai/*', 'openai/gpt-4o', 'openai/whatever', 'openai:gpt-4o'],
    ['gpt-*', 'gpt-*', 'gpt-4o', 'openai:gpt-4o'],
    ['together_ai/*', 'openai/*', 'together_ai/meta/llama', 'openai:meta/llama'],
  ])('%s with %s: %s goes to %s', (modelName, model, name, to) => {
    expect(resolve([entry(modelName, { model })], name)).toEqual({ name, group: modelName, to: [to] });
  });

  it('prefers a plain name, then the most specific pattern', () => {
    const models = [
      entry('*', { model: 'openai/any' }),
      entry('gpt-*', { model: 'openai/gpts' }),
      entry('gpt-4*', { model: 'openai/fours' }),
      entry('gpt-4o', { model: 'openai/plain' }),
    ];
    expect(resolve(models, 'gpt-4o')?.to).toEqual(['openai:plain']);
    expect(resolve(models, 'gpt-4.1')?.to).toEqual(['openai:fours']);
    expect(resolve(models, 'gpt-3')?.to).toEqual(['openai:gpts']);
    expect(resolve(models, 'o3')?.to).toEqual(['openai:any']);
  });

  it('knows no model that no provider can serve, no star, no built-in model through a wildcard', () => {
    const all = [entry('*', { model: '*' })];
    for (const name of [
      '',
      '*',
      'openai/*',
      'anthropic/claude',
      'nobody/x',
      'hosted_vllm/x',
      'openai/',
      'fake/gpt',
      'x'.repeat(600),
    ]) {
      expect(resolve(all, name), name).toBeNull();
    }
    expect(resolve([entry('gpt-4o', { model: 'gpt-4o' })], 'gpt-4')).toBeNull();
    expect(resolve([entry('practice-*', { model: 'fake/*' })], 'practice-gpt')?.to).toEqual(['fake:gpt']);
  });

  it('finds the price of the concrete model, and keeps id and weight of the entry', () => {
    const list: PriceSource = {
      find: (_provider, model) => (model === 'gpt-4o' ? { input: 7 as Pico, output: 8 as Pico, ...FLAT } : null),
    };
    const models = [entry('openai/*', { model: 'openai/*', weight: 3 }, { id: 'w', access_groups: ['beta'] })];
    const { configuration } = compile({ models }, env, list);
    expect(configuration.wildcards[0]?.deployments[0]?.pricing).toBeNull();
    const found = resolveGroup(configuration, 'openai/gpt-4o');
    expect(found?.group.deployments[0]).toMatchObject({
      id: 'w',
      weight: 3,
      pricing: { input: 7 },
      litellmModel: 'openai/gpt-4o',
    });
    expect(found?.accessGroups).toEqual(['beta']);
  });

  it('gives the same object for the same name, and keeps a bounded number of them', () => {
    const { configuration } = compile({ models: [entry('*', { model: 'openai/*' })] }, env);
    const first = resolveGroup(configuration, 'a');
    expect(resolveGroup(configuration, 'a')).toBe(first);
    for (let index = 0; index < RESOLVED_NAMES_MAX; index++) resolveGroup(configuration, `n${index}`);
    expect(resolveGroup(configuration, 'a')).not.toBe(first);
  });

  it('implies the provider only for a group that is called like the model', () => {
    const models = [entry('gpt-4o', { model: 'openai/gpt-4o' }), entry('chat', { model: 'openai/gpt-4o' })];
    const { configuration } = compile({ models }, env);
    const target = (name: string) => resolveGroup(configuration, name) ?? { name, accessGroups: [] };
    expect(mayUse(['openai/*'], target('gpt-4o'))).toBe(true);
    expect(mayUse(['openai/*'], target('chat'))).toBe(false);
  });

  it('sends exactly the part that the star stands for', () => {
    const { configuration } = compile({ models: [entry('p/*', { model: 'openai/*' })] }, env);
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 40 }), (rest) => {
        const found = resolveGroup(configuration, `p/${rest}`);
        if (rest.includes('*')) expect(found).toBeNull();
        else expect(found?.group.deployments[0]?.model).toBe(rest);
      }),
    );
  });
});

describe('settings', () => {
  it('have LiteLLM\u2019s defaults', () => {
    const { configuration, warnings } = compile({});
    expect(configuration.router).toEqual({ numRetries: 2, timeoutMs: 600_000, streamTimeoutMs: 600_000 });
    expect(configuration.general).toMatchObject({
      keyHeaderName: null,
      requireAuthForMetrics: true,
      publicReadinessDetails: false,
      includeCallIdInErrorBody: false,
      includeCostInStreamingUsage: false,
      alwaysIncludeStreamUsage: false,
      requestBytesMax: null,
      useXForwardedFor: false,
      tokenRateLimitType: 'total',
      unpricedReservationNano: 1_000_000_000,
      confirmedPriceChanges: new Set(),
    });
    expect(warnings).toEqual([]);
  });

  it('are read from their sections, router_settings first', () => {
    const { configuration } = compile({
      routerSettings: { timeout: 30, num_retries: 0 },
      litellmSettings: {
        request_timeout: 5,
        num_retries: 9,
        require_auth_for_metrics_endpoint: false,
        include_cost_in_streaming_usage: 'True',
      },
      generalSettings: {
        litellm_key_header_name: 'X-My-Key',
        max_request_size_mb: 2,
        always_include_stream_usage: true,
        include_call_id_in_error_body: true,
      },
    });
    expect(configuration.router).toEqual({ numRetries: 0, timeoutMs: 30_000, streamTimeoutMs: 30_000 });
    expect(configuration.general).toMatchObject({
      keyHeaderName: 'x-my-key',
      requireAuthForMetrics: false,
      includeCostInStreamingUsage: true,
      alwaysIncludeStreamUsage: true,
      includeCallIdInErrorBody: true,
      requestBytesMax: 2_097_152,
    });
  });

  it('have aliases, hidden ones too, with a warning when one leads nowhere', () => {
    const { configuration, warnings } = compile({
      models: [entry('gpt-4o', { model: 'gpt-4o', api_key: 'k' }), entry('groq/*', { model: 'groq/*', api_key: 'k' })],
      routerSettings: {
        model_group_alias: { best: 'gpt-4o', quiet: { model: 'groq/llama', hidden: true }, lost: 'nowhere', odd: 5 },
      },
    });
    expect([...configuration.groupAliases]).toEqual([
      ['best', 'gpt-4o'],
      ['quiet', 'groq/llama'],
      ['lost', 'nowhere'],
    ]);
    expect([...configuration.hiddenAliases]).toEqual(['quiet']);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('model_group_alias.lost leads to nowhere');
  });

  it('make a hash that changes with any of them and with nothing else', () => {
    const base = compile({ generalSettings: { a: 1, b: { c: 2, d: 3 } } }).configuration.hash;
    expect(compile({ generalSettings: { b: { d: 3, c: 2 }, a: 1 } }).configuration.hash).toBe(base);
    expect(compile({ generalSettings: { a: 1, b: { c: 2, d: 4 } } }).configuration.hash).not.toBe(base);
    expect(base).toMatch(/^[0-9a-f]{64}$/);
  });
});
