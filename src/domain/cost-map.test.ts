import { describe, expect, it } from 'vitest';
import {
  acceptCostMap,
  BadCostMapError,
  costMapEntry,
  costMapText,
  EMPTY_COST_MAP,
  nameInCostMap,
  readCostMap,
} from './cost-map.ts';
import { costMapFields } from './cost-map-fields.ts';

const list = (models: object) => readCostMap(JSON.stringify(models));
const GPT = { litellm_provider: 'openai', mode: 'chat', input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 };

describe('readCostMap', () => {
  it('takes the models of LiteLLM’s list, ignores what it does not know, and leaves out the sample', () => {
    const { entries, problems } = list({
      sample_spec: { input_cost_per_token: 'text' },
      'gpt-x': { ...GPT, supports_vision: true, source: 'https://example.com', tpm: null, input_cost_per_image: null },
      'no-price': { mode: 'chat', max_tokens: 5 },
    });
    expect(problems).toEqual([]);
    expect(entries.get('gpt-x')?.pricing).toMatchObject({ input: 1_000_000, output: 2_000_000 });
    expect(entries.get('no-price')?.pricing).toBeNull();
    expect(entries.has('sample_spec')).toBe(false);
  });

  it.each([
    ['1e308', 'input_cost_per_token', /input_cost_per_token: 1e\+308 is not a usable price/],
    ['-1', 'output_cost_per_token', /output_cost_per_token: -1 is not/],
    ['"NaN"', 'cache_read_input_token_cost_priority', /cache_read_input_token_cost_priority: "NaN" is not/],
    ['{}', 'input_cost_per_token_above_200k_tokens', /input_cost_per_token_above_200k_tokens: \{\} is not/],
    ['[{"range":5}]', 'tiered_pricing', /tiered_pricing\[0\]\.range/],
    ['{"hours_utc":"late"}', 'off_peak_pricing', /off_peak_pricing\.hours_utc/],
    ['{"search_context_size_low":-1}', 'search_context_cost_per_query', /search_context_size_low: -1 is not/],
    ['{"fast":-6}', 'provider_specific_entry', /provider_specific_entry\.fast/],
  ])('leaves out a model with a price of %s and names model and field', (value, field, sentence) => {
    const { entries, problems } = readCostMap(
      `{"bad":{"input_cost_per_token":1e-6,"${field}":${value}},"good":{"input_cost_per_token":1e-6}}`,
    );
    expect([...entries.keys()]).toEqual(['good']);
    expect(problems).toEqual([{ model: 'bad', reason: expect.stringMatching(sentence) }]);
  });

  it.each([['not json'], ['[]'], ['{}'], ['{"a": 1}'], ['"text"']])('refuses as a whole: %s', (text) => {
    expect(() => readCostMap(text)).toThrow(BadCostMapError);
  });
});

describe('nameInCostMap', () => {
  const { entries } = list({
    'gpt-x': GPT,
    'azure/gpt-x': { ...GPT, litellm_provider: 'azure' },
    'gemini-x': { ...GPT, litellm_provider: 'vertex_ai-language-models' },
    'free-text': { litellm_provider: 'openai', mode: 'chat' },
  });

  it.each([
    ['openai', 'gpt-x', false, 'gpt-x'],
    ['azure', 'gpt-x', false, 'azure/gpt-x'],
    ['vertex_ai', 'gemini-x', false, 'gemini-x'],
    ['hosted_vllm', 'gpt-x', false, null],
    ['hosted_vllm', 'gpt-x', true, 'gpt-x'],
    ['hosted_vllm', 'azure/gpt-x', true, 'azure/gpt-x'],
    ['openai', 'free-text', false, null],
    ['openai', 'constructor', true, null],
  ])('%s, %s, given by the operator: %s → %s', (provider, model, isGiven, expected) => {
    expect(nameInCostMap(entries, { provider, model, isGiven })).toBe(expected);
  });
});

describe('acceptCostMap', () => {
  const before = list({ used: GPT, idle: GPT, gone: GPT, bad: GPT }).entries;
  const options = { isInUse: (name: string) => name !== 'idle', isConfirmed: () => false };
  const changed = (used: object) => list({ used, idle: { ...GPT, input_cost_per_token: 1 }, gone: GPT, bad: GPT });

  it.each([
    ['five times up', { ...GPT, input_cost_per_token: 5e-6 }, true],
    ['five times down', { ...GPT, output_cost_per_token: 4e-7 }, true],
    ['nearly five times', { ...GPT, input_cost_per_token: 4.9e-6 }, false],
    ['to nothing', { ...GPT, input_cost_per_token: 0 }, true],
    ['a cache that is twenty times cheaper than the input', { ...GPT, cache_read_input_token_cost: 5e-8 }, true],
    ['a price per request that was none', { ...GPT, input_cost_per_request: 1 }, true],
    ['no price any more', { mode: 'chat' }, true],
    ['other words', { ...GPT, max_tokens: 5 }, false],
  ])('holds a jump of a model in use: %s', (_name, used, isHeld) => {
    const { entries, held } = acceptCostMap(before, changed(used), options);
    expect(held.map(({ model }) => model)).toEqual(isHeld ? ['used'] : []);
    expect(entries.get('used') === before.get('used')).toBe(isHeld);
    expect(entries.get('idle')?.pricing?.input).toBe(1e12);
  });

  it('takes it when somebody has confirmed it, and at the first read', () => {
    const read = changed({ ...GPT, input_cost_per_token: 1e-3 });
    expect(acceptCostMap(before, read, { ...options, isConfirmed: (name) => name === 'used' }).held).toEqual([]);
    expect(acceptCostMap(EMPTY_COST_MAP, read, options).entries.get('used')?.pricing?.input).toBe(1e9);
  });

  it('keeps a model in use that is gone, and one whose new price is none', () => {
    const read = list({ used: GPT, bad: { ...GPT, input_cost_per_token: -1 } });
    const { entries, held } = acceptCostMap(before, read, options);
    expect(held.map(({ model }) => model)).toEqual(['gone']);
    expect(entries.get('gone')).toBe(before.get('gone'));
    expect(entries.get('bad')).toBe(before.get('bad'));
    expect(entries.has('idle')).toBe(false);
  });

  it('can be written and read again', () => {
    expect(readCostMap(costMapText(before))).toEqual({ entries: before, problems: [] });
  });
});

it('prices written in LiteLLM’s names are read as the same prices', () => {
  const { pricing } = costMapEntry({
    litellm_provider: 'openai',
    input_cost_per_token: 1e-6,
    output_cost_per_token: 2e-6,
    cache_read_input_token_cost: 1e-7,
    cache_creation_input_token_cost_above_1hr: 3e-6,
    input_cost_per_token_above_200k_tokens: 2e-6,
    input_cost_per_request: 0.005,
    search_context_cost_per_query: { search_context_size_medium: 0.01 },
  });
  expect(costMapEntry(costMapFields(pricing!, 'openai')).pricing).toEqual(pricing);
});
