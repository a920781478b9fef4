import { describe, expect, it } from 'vitest';
import { parseUsage, TOKENS_MAX, usageIn } from './parse-usage.ts';
import { NO_USAGE } from './usage.ts';

describe('parseUsage', () => {
  it('reads OpenAI\u2019s object with its details', () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 50,
      total_tokens: 150,
      prompt_tokens_details: { cached_tokens: 40, cache_write_tokens: 5, audio_tokens: 3 },
      completion_tokens_details: { reasoning_tokens: 20, audio_tokens: 2, accepted_prediction_tokens: 0 },
    };
    expect(parseUsage(usage)).toEqual({
      promptTokens: 100,
      completionTokens: 50,
      totalTokens: 150,
      cachedTokens: 40,
      cacheWriteTokens: 5,
      reasoningTokens: 20,
      audioInputTokens: 3,
      audioOutputTokens: 2,
    });
  });

  it.each([
    [
      'DeepSeek',
      {
        prompt_tokens: 10,
        completion_tokens: 1,
        total_tokens: 11,
        prompt_cache_hit_tokens: 6,
        prompt_cache_miss_tokens: 4,
      },
      6,
    ],
    ['Mistral', { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11, num_cached_tokens: 7 }, 7],
    ['Moonshot', { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11, cached_tokens: 8 }, 8],
    ['LiteLLM itself', { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11, cache_read_input_tokens: 9 }, 9],
  ])('finds the cached tokens of %s', (_name, usage, cached) => {
    expect(parseUsage(usage)?.cachedTokens).toBe(cached);
  });

  it('adds xAI\u2019s reasoning to the completion when the total says that it is not in there', () => {
    const details = { completion_tokens_details: { reasoning_tokens: 300 } };
    expect(
      parseUsage({ prompt_tokens: 10, completion_tokens: 20, total_tokens: 330, ...details })?.completionTokens,
    ).toBe(320);
    expect(
      parseUsage({ prompt_tokens: 10, completion_tokens: 320, total_tokens: 330, ...details })?.completionTokens,
    ).toBe(320);
  });

  it('reads an embedding\u2019s usage, and counts under the other names', () => {
    expect(parseUsage({ prompt_tokens: 8, total_tokens: 8 })).toEqual({ ...NO_USAGE, promptTokens: 8, totalTokens: 8 });
    expect(parseUsage({ total_tokens: 8 })).toEqual({ ...NO_USAGE, promptTokens: 8, totalTokens: 8 });
    expect(parseUsage({ input_tokens: 8, output_tokens: 2 })).toMatchObject({
      promptTokens: 8,
      completionTokens: 2,
      totalTokens: 10,
    });
  });

  it('is null without counts, and never has a negative or absurd one', () => {
    expect(parseUsage({})).toBeNull();
    expect(parseUsage({ prompt_tokens: 'many', completion_tokens: null, total_tokens: -1 })).toBeNull();
    expect(parseUsage({ prompt_tokens: 1e300, completion_tokens: 1 })).toMatchObject({
      promptTokens: TOKENS_MAX,
      totalTokens: TOKENS_MAX,
    });
    expect(parseUsage({ prompt_tokens: 3, prompt_tokens_details: null, completion_tokens_details: [] })).toMatchObject({
      promptTokens: 3,
    });
  });
});

describe('usageIn', () => {
  it('finds it at the top, in x_groq and in a choice', () => {
    const usage = { prompt_tokens: 1 };
    expect(usageIn({ usage })).toBe(usage);
    expect(usageIn({ usage: null, x_groq: { id: 'req', usage } })).toBe(usage);
    expect(usageIn({ choices: [{ usage }] })).toBe(usage);
    expect(usageIn({ choices: [] })).toBeNull();
    expect(usageIn({ usage: 'none' })).toBeNull();
  });
});
