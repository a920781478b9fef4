import { createRequire } from 'node:module';
import type * as GenaiPrices from '@pydantic/genai-prices';
import type { PriceSource } from '../../domain/configuration.ts';
import type { Pricing } from '../../domain/deployment.ts';
import { type Pico, roundHalfEven } from '../../domain/money.ts';

/**
 * The price list of `@pydantic/genai-prices`, bundled with that package; nothing is fetched. It is loaded at the first
 * question, because it takes tens of megabytes and an instance whose models have prices of their own never asks.
 *
 * Where a price depends on the length of the prompt, the base price counts for every call; where it depends on the time
 * of day, the price of the rest of the day does. `litellm_params.input_cost_per_token` and its sisters override both.
 */
export function createGenaiPriceSource(nowMs: () => number = Date.now): PriceSource {
  let list: typeof GenaiPrices | null = null;
  return {
    find(provider, model, baseModel) {
      const candidates = [...(baseModel === null ? [] : [splitPrefix(baseModel, provider)]), { provider, model }];
      for (const candidate of candidates) {
        const providerId = Object.hasOwn(PROVIDER_IDS, candidate.provider)
          ? PROVIDER_IDS[candidate.provider]
          : undefined;
        if (providerId === undefined) continue;
        list ??= createRequire(import.meta.url)('@pydantic/genai-prices') as typeof GenaiPrices;
        const found = list.calcPrice({ input_tokens: 0, output_tokens: 0 }, candidate.model, { providerId });
        if (found !== null) return pricingOf(currentPrices(found.model.prices, nowMs()));
      }
      return null;
    },
  };
}

/** LiteLLM's prefix to the list's id. A server of one's own has no price but the one in its entry. */
const PROVIDER_IDS: Readonly<Record<string, string>> = {
  openai: 'openai',
  'text-completion-openai': 'openai',
  azure: 'azure',
  anthropic: 'anthropic',
  gemini: 'google',
  vertex_ai: 'google',
  bedrock: 'aws',
  cohere: 'cohere',
  groq: 'groq',
  together_ai: 'together',
  fireworks_ai: 'fireworks',
  deepseek: 'deepseek',
  xai: 'x-ai',
  openrouter: 'openrouter',
  perplexity: 'perplexity',
  mistral: 'mistral',
  codestral: 'mistral',
  cerebras: 'cerebras',
  novita: 'novita',
  moonshot: 'moonshotai',
  zai: 'zai',
  voyage: 'voyageai',
};

/** `base_model` may name another provider: `azure/gpt-4o`. */
function splitPrefix(baseModel: string, provider: string): { readonly provider: string; readonly model: string } {
  const slash = baseModel.indexOf('/');
  const prefix = slash === -1 ? '' : baseModel.slice(0, slash);
  return Object.hasOwn(PROVIDER_IDS, prefix)
    ? { provider: prefix, model: baseModel.slice(slash + 1) }
    : { provider, model: baseModel };
}

/** Of prices with a start date, the last that has begun. */
function currentPrices(prices: GenaiPrices.ModelInfo['prices'], nowMs: number): GenaiPrices.ModelPrice {
  if (!Array.isArray(prices)) return prices;
  let current: GenaiPrices.ModelPrice = {};
  for (const { constraint, prices: conditional } of prices) {
    if (constraint?.type === 'time_of_date') continue;
    if (constraint === undefined || Date.parse(constraint.start_date) <= nowMs) current = conditional;
  }
  return current;
}

function pricingOf(prices: GenaiPrices.ModelPrice): Pricing | null {
  const rate = (name: string): Pico | null => {
    const value = prices[name];
    const perMillion = typeof value === 'object' ? value.base : value;
    // Dollars per million tokens are a million pico-dollars per token each.
    return perMillion === undefined ? null : (roundHalfEven(perMillion * 1e6) as Pico);
  };
  const input = rate('input_mtok');
  const output = rate('output_mtok');
  if (input === null && output === null) return null;
  return {
    input: input ?? (0 as Pico),
    output: output ?? (0 as Pico),
    cacheRead: rate('cache_read_mtok'),
    cacheWrite: rate('cache_write_mtok'),
    inputAudio: rate('input_audio_mtok'),
    outputAudio: rate('output_audio_mtok'),
    reasoning: rate('output_reasoning_mtok'),
  };
}
