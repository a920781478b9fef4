import { describe, expect, it } from 'vitest';
import { createGenaiPriceSource } from './genai-prices.ts';

describe('createGenaiPriceSource', () => {
  const prices = createGenaiPriceSource(() => Date.UTC(2026, 10, 22));

  it('gives pico-dollars per token', () => {
    expect(prices.find('openai', 'gpt-4o', null)).toMatchObject({
      input: 2_500_000,
      output: 10_000_000,
      cacheRead: 1_250_000,
    });
    expect(prices.find('openai', 'text-embedding-3-small', null)).toMatchObject({ input: 20_000, output: 0 });
    expect(prices.find('groq', 'llama-3.3-70b-versatile', null)).toMatchObject({ input: 590_000, output: 790_000 });
  });

  it('asks for the base model first, which may name its provider', () => {
    const plain = prices.find('openai', 'gpt-4o', null);
    expect(prices.find('openai', 'my-own-name', 'gpt-4o')).toEqual(plain);
    expect(prices.find('hosted_vllm', 'my-own-name', 'openai/gpt-4o')).toEqual(plain);
    expect(prices.find('openai', 'gpt-4o', 'no-such-model')).toEqual(plain);
  });

  it('knows nothing of own servers and of unknown names', () => {
    expect(prices.find('hosted_vllm', 'gpt-4o', null)).toBeNull();
    expect(prices.find('openai', 'no-such-model', null)).toBeNull();
    expect(prices.find('constructor', 'gpt-4o', null)).toBeNull();
  });

  it('has for every mapped provider integers that are not negative', () => {
    const known = [
      ['deepseek', 'deepseek-chat'],
      ['xai', 'grok-3'],
      ['mistral', 'mistral-large-latest'],
      ['openrouter', 'anthropic/claude-sonnet-4'],
      ['cerebras', 'llama3.1-8b'],
    ] as const;
    for (const [provider, model] of known) {
      const pricing = prices.find(provider, model, null);
      expect(pricing, `${provider}/${model}`).not.toBeNull();
      for (const rate of Object.values(pricing ?? {}))
        if (typeof rate === 'number') expect(Number.isSafeInteger(rate) && rate >= 0).toBe(true);
    }
  });
});
