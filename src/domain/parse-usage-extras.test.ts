import { describe, expect, it } from 'vitest';
import { parseUsage } from './parse-usage.ts';
import { serviceTierOf } from './parse-usage-extras.ts';
import type { JsonObject } from './virtual-key.ts';

const COUNTS = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 };
const extras = (usage: JsonObject, tier: string | null = null) => parseUsage({ ...COUNTS, ...usage }, tier)?.extras;

describe('usage beyond plain tokens', () => {
  it.each<[string, JsonObject, object]>([
    ['image tokens', { prompt_tokens_details: { image_tokens: 7 } }, { imageInputTokens: 7 }],
    ['image tokens out', { output_tokens_details: { image_tokens: 7 } }, { imageOutputTokens: 7 }],
    ['video tokens', { prompt_tokens_details: { video_tokens: 7 } }, { videoInputTokens: 7 }],
    ['cache writes for an hour', { cache_creation: { ephemeral_1h_input_tokens: 7 } }, { cacheWrite1hTokens: 7 }],
    [
      'the same, as LiteLLM writes it',
      { prompt_tokens_details: { cache_creation_token_details: { ephemeral_1h_input_tokens: 7 } } },
      { cacheWrite1hTokens: 7 },
    ],
    ['searches (Anthropic)', { server_tool_use: { web_search_requests: 2 } }, { webSearches: 2 }],
    ['searches (Gemini)', { prompt_tokens_details: { web_search_requests: 3 } }, { webSearches: 3 }],
    [
      'searches (Perplexity)',
      { num_search_queries: 4, search_context_size: 'low', citation_tokens: 9 },
      { webSearches: 4, searchContextSize: 'low', citationTokens: 9 },
    ],
    ['seconds', { seconds: 1.5 }, { inputMs: 1_500 }],
    ['pages', { pages_processed: 3 }, { pages: 3 }],
    ['search units', { search_units: 1 }, { queries: 1 }],
    ['speed and place', { speed: 'fast', inference_geo: 'us' }, { factors: ['fast', 'us'] }],
    ['a cost', { cost: 0.00014 }, { reportedNano: 140_000 }],
    ['a cost of nothing', { cost: 0 }, { reportedNano: 0 }],
    ['a cost with a total', { cost: { total_cost: 0.5, currency: 'USD' } }, { reportedNano: 500_000_000 }],
    [
      'a fee beside the bill of another provider',
      { cost: 0.001, is_byok: true, cost_details: { upstream_inference_cost: 0.02 } },
      { reportedNano: 21_000_000 },
    ],
    ['a tier inside', { service_tier: 'priority' }, { serviceTier: 'priority' }],
    ['a traffic type', { traffic_type: 'ON_DEMAND_FLEX' }, { serviceTier: 'flex' }],
  ])('%s', (_name, usage, expected) => {
    expect(extras(usage)).toEqual(expected);
  });

  it.each<[JsonObject]>([
    [{}],
    [{ service_tier: 'standard', speed: 'standard', inference_geo: 'global' }],
    [{ traffic_type: 'ON_DEMAND' }],
    [{ prompt_tokens_details: { cached_tokens: 5, audio_tokens: 0, image_tokens: 0 } }],
    [{ cost: null, server_tool_use: null, cache_creation: { ephemeral_1h_input_tokens: 0 } }],
    [{ cost: -1 }],
    [{ cost: 1e300 }],
    [{ cost: 'much' }],
    [{ seconds: 'x', pages_processed: -1, speed: 5 }],
    [{ toString: 1, constructor: 2 }],
  ])('nothing in %j', (usage) => {
    expect(extras(usage)).toBeUndefined();
  });

  it('the tier beside the usage counts first', () => {
    expect(extras({ service_tier: 'priority' }, 'flex')).toEqual({ serviceTier: 'flex' });
    expect(extras({}, 'default')).toBeUndefined();
    expect(serviceTierOf('x'.repeat(500))).toBeNull();
  });

  it('is not carried from one answer to the next', () => {
    expect(extras({ seconds: 1 })).toEqual({ inputMs: 1_000 });
    expect(extras({})).toBeUndefined();
    expect(extras({ pages_processed: 1 })).toEqual({ pages: 1 });
  });

  it('believes no count without a bound', () => {
    expect(extras({ input_pixels: 1e300 })).toEqual({ inputPixels: 1_000_000_000_000 });
  });
});
