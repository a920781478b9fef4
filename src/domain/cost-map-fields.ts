import type { Pico } from './money.ts';
import { RATE_FIELDS } from './parse-pricing.ts';
import { type Pricing, type RateLayer, TOKEN_RATES } from './pricing.ts';
import type { JsonObject } from './virtual-key.ts';

/** Prices in the names of LiteLLM's price list, as far as that has names for them: `parsePricing` reads the same again. */
export function costMapFields(pricing: Pricing, provider: string): JsonObject {
  const { more, ...tokens } = pricing;
  const fields: JsonObject = { litellm_provider: provider };
  const known = Object.fromEntries(
    Object.entries(tokens).filter(([name, rate]) => TOKEN_RATES.has(name) && rate !== null),
  );
  write(fields, known as RateLayer, '');
  if (more === undefined) return fields;
  write(fields, more.rates, '');
  for (const { abovePromptTokens, rates } of more.tiers) {
    write(fields, rates, `_above_${Math.round(abovePromptTokens / TOKENS_PER_K)}k_tokens`);
  }
  return fields;
}

const TOKENS_PER_K = 1_000;
const PICO_PER_DOLLAR = 1e12;

const SEARCH_SIZES: Readonly<Record<string, string>> = {
  webSearchLow: 'search_context_size_low',
  webSearchMedium: 'search_context_size_medium',
  webSearchHigh: 'search_context_size_high',
};

/** The first name of each rate. */
const FIELD_OF_RATE: ReadonlyMap<string, string> = new Map(
  Object.entries(RATE_FIELDS)
    .reverse()
    .map(([field, rate]) => [rate, field]),
);

function write(fields: JsonObject, rates: RateLayer, suffix: string): void {
  const searches: JsonObject = {};
  for (const [name, rate] of Object.entries(rates)) {
    const field = FIELD_OF_RATE.get(name);
    if (field !== undefined) fields[field + suffix] = dollars(rate);
    else if (Object.hasOwn(SEARCH_SIZES, name)) searches[SEARCH_SIZES[name]!] = dollars(rate);
  }
  if (Object.keys(searches).length > 0 && suffix === '') fields.search_context_cost_per_query = searches;
}

function dollars(pico: Pico): number {
  return pico / PICO_PER_DOLLAR;
}
