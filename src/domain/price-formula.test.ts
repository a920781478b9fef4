import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adjustPricing } from './adjust-pricing.ts';
import { costMapEntry } from './cost-map.ts';
import { type Nano, type Pico, roundHalfEven } from './money.ts';
import { costOfCall, priceUsage } from './price-usage.ts';
import { type Pricing, TOKEN_RATES, withRates } from './pricing.ts';
import { type CostBreakdown, NO_USAGE, type TokenUsage, USAGE_COUNTS, type UsageExtras } from './usage.ts';
import type { JsonObject } from './virtual-key.ts';

const prices = (fields: JsonObject): Pricing => costMapEntry(fields).pricing!;
const nano = (dollars: number): number => roundHalfEven(dollars * 1e9);
const use = (tokens: Partial<TokenUsage>, extras?: UsageExtras): TokenUsage => ({ ...NO_USAGE, ...tokens, extras });
const cost = (
  tokens: Partial<TokenUsage>,
  fields: JsonObject,
  extras?: UsageExtras,
  atMs = Number.NaN,
  durationMs = 0,
) => priceUsage(use(tokens, extras), prices(fields), atMs, durationMs);

const TEXT = { input_cost_per_token: 1.75e-6, output_cost_per_token: 1.4e-5 };
const LONG = {
  input_cost_per_token: 2.1e-6,
  output_cost_per_token: 1.26e-5,
  output_cost_per_reasoning_token: 1.35e-5,
  input_cost_per_token_above_200k_tokens: 4.2e-6,
  output_cost_per_token_above_200k_tokens: 1.89e-5,
  cache_read_input_token_cost: 2.1e-7,
  cache_read_input_token_cost_above_200k_tokens: 4.2e-7,
  input_cost_per_image_token: 2.3e-6,
  input_cost_per_token_flex: 1.05e-6,
  output_cost_per_token_flex: 6.3e-6,
  search_context_cost_per_query: {
    search_context_size_low: 0.035,
    search_context_size_medium: 0.035,
    search_context_size_high: 0.035,
  },
  google_maps_grounding_cost_per_query: 0.025,
};
const BATCH = { serviceTier: 'batch' } as const;

describe('numbers that were checked by hand', () => {
  it.each<[string, Partial<TokenUsage>, UsageExtras | undefined, JsonObject, number]>([
    ['plain', { promptTokens: 1_840, completionTokens: 412 }, undefined, TEXT, 0.00322 + 0.005768],
    [
      'reasoning with its own rate',
      { promptTokens: 1_240, completionTokens: 4_040, reasoningTokens: 3_480 },
      undefined,
      LONG,
      0.002604 + 0.054036,
    ],
    ['a tier above 200k', { promptTokens: 204_800, completionTokens: 620 }, undefined, LONG, 0.86016 + 0.011718],
    ['a tier and cache reads', { promptTokens: 205_824, cachedTokens: 201_728 }, undefined, LONG, 0.10192896],
    ['image tokens', { promptTokens: 2_116 }, { imageInputTokens: 1_806 }, LONG, 0.0048048],
    ['flex', { promptTokens: 1_840, completionTokens: 412 }, { serviceTier: 'flex' }, LONG, 0.001932 + 0.0025956],
    ['web search', {}, { webSearches: 3 }, LONG, 0.105],
    ['maps grounding', {}, { mapsQueries: 1 }, LONG, 0.025],
    [
      'a batch without prices of its own',
      { promptTokens: 220, completionTokens: 80 },
      BATCH,
      TEXT,
      0.0001925 + 0.00056,
    ],
    [
      'a batch, 40 of 100 cached',
      { promptTokens: 100, cachedTokens: 40 },
      BATCH,
      { ...TEXT, cache_read_input_token_cost: 1.75e-7 },
      0.000056,
    ],
  ])('%s', (_name, tokens, extras, fields, dollars) => {
    expect(cost(tokens, fields, extras).costNano).toBe(nano(dollars));
  });
});

describe('each unit', () => {
  it.each<[string, JsonObject, Partial<TokenUsage>, UsageExtras, number]>([
    [
      'cache writes for an hour',
      { ...TEXT, cache_creation_input_token_cost: 2e-6, cache_creation_input_token_cost_above_1hr: 3e-6 },
      { promptTokens: 100, cacheWriteTokens: 60 },
      { cacheWrite1hTokens: 20 },
      40 * 1.75e-6 + 40 * 2e-6 + 20 * 3e-6,
    ],
    [
      'cache writes for an hour without a rate',
      { ...TEXT, cache_creation_input_token_cost: 2e-6 },
      { promptTokens: 60, cacheWriteTokens: 60 },
      { cacheWrite1hTokens: 20 },
      60 * 2e-6,
    ],
    [
      'audio in',
      { ...TEXT, input_cost_per_audio_token: 4e-5 },
      { promptTokens: 10, audioInputTokens: 4 },
      { imageInputTokens: 1 },
      6 * 1.75e-6 + 4 * 4e-5,
    ],
    [
      'audio out',
      { ...TEXT, output_cost_per_audio_token: 8e-5 },
      { completionTokens: 10, audioOutputTokens: 4 },
      { imageInputTokens: 0 },
      6 * 1.4e-5 + 4 * 8e-5,
    ],
    [
      'image tokens out',
      { ...TEXT, output_cost_per_image_token: 3e-5 },
      { completionTokens: 1_300 },
      { imageOutputTokens: 1_290 },
      10 * 1.4e-5 + 1_290 * 3e-5,
    ],
    ['image tokens without a rate', TEXT, { promptTokens: 10 }, { imageInputTokens: 7 }, 10 * 1.75e-6],
    [
      'video tokens',
      { ...TEXT, input_cost_per_video_token: 1e-6, output_cost_per_video_token: 2e-6 },
      { promptTokens: 5, completionTokens: 6 },
      { videoInputTokens: 5, videoOutputTokens: 6 },
      5e-6 + 12e-6,
    ],
    ['citations', { ...TEXT, citation_cost_per_token: 2e-6 }, {}, { citationTokens: 50 }, 1e-4],
    [
      'images',
      { input_cost_per_image: 0.001, output_cost_per_image: 0.04 },
      {},
      { inputImages: 2, outputImages: 3 },
      0.122,
    ],
    [
      'pixels',
      { input_cost_per_pixel: 1e-9, output_cost_per_pixel: 2e-8 },
      {},
      { inputPixels: 1_000, outputPixels: 1_048_576 },
      1e-6 + 0.02097152,
    ],
    ['seconds of audio', { input_cost_per_second: 0.0001 }, {}, { inputMs: 12_340 }, 0.001234],
    ['seconds of speech', { output_cost_per_second: 0.0002 }, {}, { outputMs: 1_500 }, 0.0003],
    ['seconds of video', { output_cost_per_video_per_second: 0.1 }, {}, { outputVideoMs: 8_000 }, 0.8],
    ['characters', { input_cost_per_character: 1.5e-5 }, {}, { inputCharacters: 400 }, 0.006],
    ['characters out', { output_cost_per_character: 5e-7 }, {}, { outputCharacters: 400 }, 0.0002],
    ['queries', { input_cost_per_query: 0.002 }, {}, { queries: 3 }, 0.006],
    ['a call is one query', { input_cost_per_query: 0.002 }, {}, {}, 0.002],
    ['pages', { ocr_cost_per_page: 0.001 }, {}, { pages: 12 }, 0.012],
    ['a request', { input_cost_per_request: 0.005, ...TEXT }, { promptTokens: 1_000 }, {}, 0.005 + 0.00175],
    [
      'a small search context',
      {
        ...TEXT,
        search_context_cost_per_query: {
          search_context_size_low: 0.025,
          search_context_size_medium: 0.0275,
          search_context_size_high: 0.03,
        },
      },
      {},
      { webSearches: 2, searchContextSize: 'low' },
      0.05,
    ],
    [
      'a middling one by default',
      {
        ...TEXT,
        search_context_cost_per_query: { search_context_size_low: 0.025, search_context_size_medium: 0.0275 },
      },
      {},
      { webSearches: 2 },
      0.055,
    ],
    [
      'a large one',
      { ...TEXT, search_context_cost_per_query: { search_context_size_low: 0.025, search_context_size_high: 0.03 } },
      {},
      { webSearches: 2, searchContextSize: 'high' },
      0.06,
    ],
    [
      'searches billed per prompt',
      {
        ...TEXT,
        web_search_billing_unit: 'per_prompt',
        search_context_cost_per_query: { search_context_size_medium: 0.035 },
      },
      {},
      { webSearches: 5 },
      0.035,
    ],
    ['file searches', { ...TEXT, file_search_cost_per_1k_calls: 2.5 }, {}, { fileSearches: 3 }, 0.0075],
    ['code interpreter', { ...TEXT, code_interpreter_cost_per_session: 0.03 }, {}, { codeSessions: 2 }, 0.06],
    [
      'computer use',
      { ...TEXT, computer_use_input_cost_per_1k_tokens: 0.003, computer_use_output_cost_per_1k_tokens: 0.012 },
      {},
      { computerInputTokens: 500, computerOutputTokens: 250 },
      0.0015 + 0.003,
    ],
  ])('%s', (_name, fields, tokens, extras, dollars) => {
    expect(cost(tokens, fields, extras).costNano).toBe(nano(dollars));
  });

  it('time, for a model that is rented, is the time of the call and counted once', () => {
    const rented = { input_cost_per_second: 0.01, output_cost_per_second: 0.02 };
    expect(cost({ promptTokens: 9 }, rented, undefined, Number.NaN, 1_500).costNano).toBe(nano(0.03));
  });
});

describe('tiers', () => {
  it.each<[number, string, number]>([
    [200_000, 'gemini', 200_000 * 2.1e-6],
    [200_001, 'gemini', 200_001 * 4.2e-6],
    [199_999, 'xai', 199_999 * 2.1e-6],
    [200_000, 'xai', 200_000 * 4.2e-6],
  ])('%s tokens at %s', (promptTokens, provider, dollars) => {
    expect(cost({ promptTokens }, { ...LONG, litellm_provider: provider }).costNano).toBe(nano(dollars));
  });

  it('the longest that is passed counts, and what it does not name stays', () => {
    const fields = {
      ...TEXT,
      input_cost_per_token_above_128k_tokens: 3e-6,
      input_cost_per_token_above_272k_tokens: 5e-6,
    };
    expect(cost({ promptTokens: 150_000, completionTokens: 10 }, fields).costNano).toBe(nano(0.45 + 10 * 1.4e-5));
    expect(cost({ promptTokens: 300_000 }, fields).costNano).toBe(nano(1.5));
  });

  it('may be written as a list', () => {
    const fields = {
      tiered_pricing: [
        { range: [0, 32_000], input_cost_per_token: 1e-6, output_cost_per_token: 4e-6 },
        { range: [32_000, 128_000], input_cost_per_token: 2e-6, output_cost_per_token: 8e-6 },
      ],
    };
    expect(cost({ promptTokens: 32_000, completionTokens: 1 }, fields).costNano).toBe(nano(0.032 + 4e-6));
    expect(cost({ promptTokens: 32_001, completionTokens: 1 }, fields).costNano).toBe(nano(0.064002 + 8e-6));
  });

  it('of service have rates of their own where they say so, also for long prompts', () => {
    const fields = {
      ...LONG,
      input_cost_per_token_priority: 3e-6,
      input_cost_per_token_above_200k_tokens_priority: 6e-6,
      cache_read_input_token_cost_priority: 3e-7,
    };
    const priority = { serviceTier: 'priority' };
    expect(cost({ promptTokens: 1_000, completionTokens: 10 }, fields, priority).costNano).toBe(
      nano(0.003 + 10 * 1.26e-5),
    );
    expect(cost({ promptTokens: 250_000 }, fields, priority).costNano).toBe(nano(1.5));
    expect(cost({ promptTokens: 1_000, cachedTokens: 1_000 }, fields, priority).costNano).toBe(nano(0.0003));
    expect(cost({ promptTokens: 250_000 }, fields, { serviceTier: 'flex' }).costNano).toBe(nano(250_000 * 4.2e-6));
    expect(cost({ promptTokens: 1_000 }, fields, { serviceTier: 'constructor' }).costNano).toBe(nano(0.0021));
  });

  it('of batches with prices of their own have no cheaper cache', () => {
    const fields = {
      ...TEXT,
      cache_read_input_token_cost: 1e-9,
      input_cost_per_token_batches: 5e-7,
      output_cost_per_token_batches: 6e-6,
    };
    const price = cost({ promptTokens: 100, cachedTokens: 40, completionTokens: 10 }, fields, BATCH);
    expect(price.costNano).toBe(nano(100 * 5e-7 + 10 * 6e-6));
  });

  it('of batches do not halve tools', () => {
    expect(cost({}, LONG, { ...BATCH, webSearches: 1 }).costNano).toBe(nano(0.035));
  });

  it('of the day count within their hours, which may go over midnight', () => {
    const fields = { ...TEXT, off_peak_pricing: { hours_utc: '16:30-00:30', input_cost_per_token: 1e-7 } };
    const at = (time: string) =>
      cost({ promptTokens: 10 }, fields, undefined, Date.parse(`2026-01-01T${time}Z`)).costNano;
    expect([at('16:29'), at('16:30'), at('23:59'), at('00:29'), at('00:30'), at('12:00')]).toEqual([
      17_500, 1_000, 1_000, 1_000, 17_500, 17_500,
    ]);
  });

  it('of the day may be for some days: the day on which the hours begin', () => {
    const fields = {
      ...TEXT,
      off_peak_pricing: { hours_utc: '22:00-02:00', weekdays: ['fri'], input_cost_per_token: 0 },
    };
    const at = (time: string) => cost({ promptTokens: 10 }, fields, undefined, Date.parse(time)).costNano;
    expect([at('2026-01-02T23:00Z'), at('2026-01-03T01:00Z'), at('2026-01-03T23:00Z')]).toEqual([0, 0, 17_500]);
  });
});

describe('what is done to the sum', () => {
  const fields = {
    ...TEXT,
    provider_specific_entry: { fast: 6, us: 1.1 },
    regional_processing_uplift_multiplier_eu: 1.1,
    regional_endpoint_uplift_multiplier: 1.05,
  };
  const tokens = use({ promptTokens: 1_000, completionTokens: 100 });
  const base = 0.00175 + 0.0014;
  const place = { provider: 'openai', apiBase: 'https://api.openai.com/v1', location: null as string | null };
  const none = { discounts: {}, margins: {} };

  it('factors that the answer names', () => {
    expect(cost(tokens, fields, { factors: ['fast', 'us', 'unknown', 'constructor'] }).costNano).toBe(nano(base * 6.6));
  });

  it.each<[string, Partial<typeof place>, number]>([
    ['no uplift', {}, 1],
    ['an endpoint of a region', { apiBase: 'https://eu.api.openai.com/v1' }, 1.1],
    ['a location', { location: 'europe-west1' }, 1.05],
    ['the global location', { location: 'global' }, 1],
  ])('%s', (_name, where, factor) => {
    const pricing = adjustPricing(prices(fields), { ...place, ...where }, none);
    expect(priceUsage(tokens, pricing).costNano).toBe(nano(base * factor));
  });

  it.each<[string, JsonObject, JsonObject, number, CostBreakdown]>([
    ['a discount', { openai: 0.05 }, {}, base * 0.95, { discount: -157_500 }],
    ['a margin', {}, { openai: 0.1 }, base * 1.1, { margin: 315_000 }],
    ['the margin of all', {}, { global: 0.1 }, base * 1.1, { margin: 315_000 }],
    [
      'a margin behind the discount',
      { openai: 0.5 },
      { openai: { percentage: 0.1, fixed_amount: 0.001 } },
      base * 0.55 + 0.001,
      { discount: -1_575_000, margin: 1_157_500 },
    ],
    ['the discount of another provider', { anthropic: 0.5 }, { anthropic: 1 }, base, {}],
  ])('%s', (_name, discounts, margins, dollars, parts) => {
    const price = priceUsage(tokens, adjustPricing(prices(fields), place, { discounts, margins }));
    expect(price.costNano).toBe(nano(dollars));
    if (Object.keys(parts).length > 0)
      expect(price.breakdown).toEqual({ input: 1_750_000, output: 1_400_000, ...parts });
  });

  it.each([
    [{ openai: 1.1 }, {}],
    [{ openai: -0.1 }, {}],
    [{ openai: 'much' }, {}],
    [{}, { openai: -0.1 }],
    [{}, { openai: { fixed_amount: -1 } }],
    [{}, { openai: { fixed_amount: 1e308 } }],
  ])('refuses terms that are none: %j %j', (discounts, margins) => {
    expect(() => adjustPricing(prices(fields), place, { discounts, margins } as never)).toThrow(/openai/);
  });
});

describe('a cost that the provider reports', () => {
  const reported = use({ promptTokens: 1_000 }, { reportedNano: 123 as Nano });

  it('wins over our prices, and both are kept', () => {
    expect(costOfCall(reported, prices(TEXT), 0, 0)).toEqual({
      costNano: 123,
      breakdown: null,
      formulaNano: 1_750_000,
      providerNano: 123,
    });
    expect(costOfCall(reported, null, 0, 0)).toMatchObject({ costNano: 123, formulaNano: null });
  });

  it('has discount and margin like any other', () => {
    const place = { provider: 'x', apiBase: 'https://x', location: null };
    const pricing = adjustPricing(prices(TEXT), place, { discounts: { x: 0.5 }, margins: {} });
    const usage = use({}, { reportedNano: 1_001 as Nano });
    // 500.5 is a tie, and goes to the even neighbour.
    expect(costOfCall(usage, pricing, 0, 0)).toMatchObject({ costNano: 500, providerNano: 1_001 });
    expect(Object.values(costOfCall(usage, pricing, 0, 0).breakdown!).reduce((sum, part) => sum + part, 0)).toBe(500);
  });

  it('is missing: no price, no cost', () => {
    expect(costOfCall(use({ promptTokens: 9 }), null, 0, 0)).toEqual({
      costNano: 0,
      breakdown: null,
      formulaNano: null,
    });
  });
});

describe('the breakdown', () => {
  it('gives what is left over to the parts that lost most', () => {
    // 0.4 + 0.4 + 0.7 nano: two in all.
    const pricing = withRates(prices({ input_cost_per_token: 4e-13, output_cost_per_token: 7e-13 }), {});
    const exact = { ...pricing, input: 400 as Pico, cacheRead: 400 as Pico, output: 700 as Pico, more: undefined };
    const price = priceUsage(use({ promptTokens: 2, cachedTokens: 1, completionTokens: 1 }), exact);
    expect(price).toEqual({ costNano: 2, breakdown: { input: 1, cacheRead: 0, output: 1 } });
  });

  it('adds up, agrees with exact arithmetic, and is the same on the cheap way and on the full one', () => {
    const rate = fc.oneof(fc.nat(2_000_000_000), fc.nat(3_000)).map((pico) => pico as Pico);
    const count = fc.oneof(fc.nat(3_000_000), fc.nat(50));
    const tokens = fc.record({
      promptTokens: count,
      completionTokens: count,
      cachedTokens: count,
      cacheWriteTokens: count,
      reasoningTokens: count,
      audioInputTokens: count,
      audioOutputTokens: count,
    });
    const pricing = fc.record({
      input: rate,
      output: rate,
      cacheRead: fc.option(rate),
      cacheWrite: fc.option(rate),
      inputAudio: fc.option(rate),
      outputAudio: fc.option(rate),
      reasoning: fc.option(rate),
    });
    fc.assert(
      fc.property(tokens, pricing, (given, rates) => {
        const usage = use(given);
        const plain = priceUsage(usage, rates);
        const full = priceUsage({ ...usage, extras: {} }, rates);
        expect(full.costNano).toBe(plain.costNano);
        if (plain.breakdown !== null) expect(sumOf(plain.breakdown)).toBe(plain.costNano);
        if (full.breakdown !== null) expect(sumOf(full.breakdown)).toBe(full.costNano);
      }),
      { numRuns: 500 },
    );
  });

  it('adds up whatever a call has and whatever is done to the sum', () => {
    const rate = fc.nat(3_000_000_000).map((pico) => pico as Pico);
    const extras = fc.record(Object.fromEntries(USAGE_COUNTS.map((name) => [name, fc.nat(100_000)])));
    const rates = fc.record({
      ...Object.fromEntries([...TOKEN_RATES].map((name) => [name, rate])),
      ...Object.fromEntries(
        [
          'request',
          'query',
          'page',
          'inputImage',
          'outputPixel',
          'inputSecond',
          'outputVideoSecond',
          'webSearchMedium',
          'fileSearchPer1k',
          'cacheWrite1h',
        ].map((name) => [name, rate]),
      ),
    });
    const share = fc.integer({ min: 0, max: 1_000_000 });
    fc.assert(
      fc.property(
        extras,
        rates,
        share,
        share,
        rate,
        fc.nat(2_000_000),
        fc.boolean(),
        (counts, layer, discount, margin, fixed, uplift, isBatch) => {
          const usage = use(
            { promptTokens: 123_457, cachedTokens: 1_001, completionTokens: 777, reasoningTokens: 13 },
            { ...counts, ...(isBatch ? BATCH : {}) } as UsageExtras,
          );
          const base = withRates(prices(TEXT), layer);
          const pricing = {
            ...base,
            more: {
              ...base.more!,
              adjustment: {
                upliftMillionths: uplift,
                discountMillionths: discount,
                marginMillionths: margin,
                marginFixed: fixed,
              },
            },
          };
          const { breakdown, costNano } = priceUsage(usage, pricing);
          expect(Number.isSafeInteger(costNano) && costNano >= 0).toBe(true);
          if (breakdown !== null) expect(sumOf(breakdown)).toBe(costNano);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('has no drift: a thousand calls cost a thousand times one', () => {
    const one = cost(
      { promptTokens: 1_000, completionTokens: 1_000 },
      { input_cost_per_token: 1e-7, output_cost_per_token: 3e-7 },
    ).costNano;
    let sum = 0n;
    for (let n = 0; n < 1_000; n++) sum += BigInt(one);
    expect(sum).toBe(400_000_000n);
  });

  it('stays a safe integer whatever a call claims', () => {
    const price = cost({ promptTokens: 2_147_483_647 }, { input_cost_per_token: 9_000, input_cost_per_request: 1 });
    expect(price).toEqual({ costNano: Number.MAX_SAFE_INTEGER, breakdown: null });
  });
});

function sumOf(breakdown: CostBreakdown): number {
  return Object.values(breakdown).reduce((sum, part) => sum + part, 0);
}
