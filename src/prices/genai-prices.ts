import { createRequire } from 'node:module';
import type * as GenaiPrices from '@pydantic/genai-prices';
import type { PriceSource } from '../domain/configuration.ts';
import { type Pico, roundHalfEven } from '../domain/money.ts';
import {
  type ContextTier,
  type DailyWindow,
  morePricing,
  NO_MORE,
  type Pricing,
  type RateLayer,
  type RateName,
  type TimedRates,
  TOKEN_RATES,
} from '../domain/pricing.ts';

/**
 * The price list of `@pydantic/genai-prices`, bundled with that package; nothing is fetched. It is loaded at the first
 * question, because it takes tens of megabytes and an instance whose models have prices of their own never asks.
 */
export function createGenaiPriceSource(nowMs: () => number = Date.now): BundledPrices {
  let list: typeof GenaiPrices | null = null;
  const load = (): typeof GenaiPrices => {
    list ??= createRequire(import.meta.url)('@pydantic/genai-prices') as typeof GenaiPrices;
    return list;
  };
  return {
    find(provider, model, baseModel) {
      const candidates = [...(baseModel === null ? [] : [splitPrefix(baseModel, provider)]), { provider, model }];
      for (const candidate of candidates) {
        const providerId = Object.hasOwn(PROVIDER_IDS, candidate.provider)
          ? PROVIDER_IDS[candidate.provider]
          : undefined;
        if (providerId === undefined) continue;
        const found = load().calcPrice({ input_tokens: 0, output_tokens: 0 }, candidate.model, { providerId });
        if (found !== null) return pricingOf(found.model.prices, nowMs());
      }
      return null;
    },
    *all() {
      for (const [provider, providerId] of Object.entries(PROVIDER_IDS)) {
        for (const { id, prices } of load().findProvider({ providerId })?.models ?? []) {
          const pricing = pricingOf(prices, nowMs());
          if (pricing !== null) yield { provider, model: id, pricing };
        }
      }
    },
  };
}

export interface BundledPrices extends PriceSource {
  /** Everything in the list, under the prefixes that models are written with here. */
  all(): Iterable<{ readonly provider: string; readonly model: string; readonly pricing: Pricing }>;
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
export function splitPrefix(
  baseModel: string,
  provider: string,
): { readonly provider: string; readonly model: string } {
  const slash = baseModel.indexOf('/');
  const prefix = slash === -1 ? '' : baseModel.slice(0, slash);
  return Object.hasOwn(PROVIDER_IDS, prefix)
    ? { provider: prefix, model: baseModel.slice(slash + 1) }
    : { provider, model: baseModel };
}

/** The list's names; what they are per, in units, is a million for `mtok` and a thousand for `kcount`. */
const RATES: Readonly<Record<string, RateName>> = {
  input_mtok: 'input',
  output_mtok: 'output',
  cache_read_mtok: 'cacheRead',
  cache_write_mtok: 'cacheWrite',
  cache_write_1h_mtok: 'cacheWrite1h',
  input_audio_mtok: 'inputAudio',
  output_audio_mtok: 'outputAudio',
  output_reasoning_mtok: 'reasoning',
  input_image_mtok: 'inputImageToken',
  output_image_mtok: 'outputImageToken',
  input_video_mtok: 'inputVideoToken',
  output_video_mtok: 'outputVideoToken',
  output_citation_mtok: 'citation',
  requests_kcount: 'request',
  web_searches_kcount: 'webSearchMedium',
  rerank_searches_kcount: 'query',
  storage_searches_kcount: 'fileSearchPer1k',
};

/** Dollars per million are a million pico-dollars each; dollars per thousand a thousand million. */
function picoOf(name: string, dollars: number): Pico {
  if (name === 'storage_searches_kcount') return roundHalfEven(dollars * 1e12) as Pico;
  return roundHalfEven(dollars * (name.endsWith('_mtok') ? 1e6 : 1e9)) as Pico;
}

/** Of prices with a start date the last that has begun counts; prices of a time of day replace it within that time. */
function pricingOf(prices: GenaiPrices.ModelInfo['prices'], nowMs: number): Pricing | null {
  if (!Array.isArray(prices)) return pricingFrom(prices, []);
  let current: GenaiPrices.ModelPrice = {};
  const timed: TimedRates[] = [];
  for (const { constraint, prices: conditional } of prices) {
    if (constraint?.type === 'time_of_date') {
      const window = windowOf(constraint);
      if (window !== null) timed.push({ windows: [window], rates: layersOf(conditional).base });
    } else if (constraint === undefined || Date.parse(constraint.start_date) <= nowMs) current = conditional;
  }
  return pricingFrom(current, timed);
}

function pricingFrom(prices: GenaiPrices.ModelPrice, timed: readonly TimedRates[]): Pricing | null {
  const { base, tiers } = layersOf(prices);
  if (Object.keys(base).length === 0) return null;
  const rates = Object.fromEntries(Object.entries(base).filter(([name]) => !TOKEN_RATES.has(name)));
  return {
    input: base.input ?? (0 as Pico),
    output: base.output ?? (0 as Pico),
    cacheRead: base.cacheRead ?? null,
    cacheWrite: base.cacheWrite ?? null,
    inputAudio: base.inputAudio ?? null,
    outputAudio: base.outputAudio ?? null,
    reasoning: base.reasoning ?? null,
    more: morePricing({ ...NO_MORE, rates, tiers, timed }),
  };
}

function layersOf(prices: GenaiPrices.ModelPrice): { readonly base: RateLayer; readonly tiers: ContextTier[] } {
  const base: Partial<Record<RateName, Pico>> = {};
  const tiers = new Map<number, Partial<Record<RateName, Pico>>>();
  for (const [name, value] of Object.entries(prices)) {
    const rate = Object.hasOwn(RATES, name) ? RATES[name] : undefined;
    if (rate === undefined || value === undefined) continue;
    if (typeof value === 'number') {
      base[rate] = picoOf(name, value);
      continue;
    }
    base[rate] = picoOf(name, value.base);
    for (const { price, start } of value.tiers) {
      const tier = tiers.get(start) ?? {};
      tier[rate] = picoOf(name, price);
      tiers.set(start, tier);
    }
  }
  const sorted = [...tiers].sort(([left], [right]) => left - right);
  return { base, tiers: sorted.map(([abovePromptTokens, rates]) => ({ abovePromptTokens, rates })) };
}

/** `00:30:00Z`; seconds are never given. */
function windowOf({ end_time, start_time }: GenaiPrices.TimeOfDateConstraint): DailyWindow | null {
  const [fromMinute, toMinute] = [start_time, end_time].map((text) => {
    const [, hours, minutes] = /^(\d{2}):(\d{2})(?::00)?Z$/.exec(text) ?? [];
    return hours === undefined ? -1 : Number(hours) * 60 + Number(minutes);
  }) as [number, number];
  return fromMinute < 0 || toMinute < 0 ? null : { fromMinute, toMinute, days: null };
}
