import { expect, it } from 'vitest';
import { readCostMap } from '../domain/cost-map.ts';
import type { Pricing } from '../domain/deployment.ts';
import { createGenaiPriceSource } from './genai-prices.ts';
import { priceBook } from './price-book.ts';

const map = readCostMap(
  JSON.stringify({
    'gpt-4o': { litellm_provider: 'openai', input_cost_per_token: 1e-12, output_cost_per_token: 2e-12 },
    'azure/eu/gpt-4o': { litellm_provider: 'azure', input_cost_per_token: 3e-12, output_cost_per_token: 4e-12 },
  }),
).entries;
const book = priceBook(
  () => map,
  createGenaiPriceSource(() => Date.UTC(2026, 10, 22)),
);
const input = (pricing: Pricing | null) => pricing?.input ?? null;

it.each([
  ['the list over the bundled one', 'openai', 'gpt-4o', null, 1],
  ['the bundled one behind it', 'openai', 'gpt-4o-mini', null, 150_000],
  ['a base model before the name', 'openai', 'gpt-4o', 'gpt-4o-mini', 150_000],
  ['a base model of the list', 'hosted_vllm', 'own', 'gpt-4o', 1],
  ['a base model with its prefix', 'hosted_vllm', 'own', 'openai/gpt-4o', 1],
  ['a base model under its full name', 'azure', 'own', 'azure/eu/gpt-4o', 3],
  ['the name, when the base model has no price', 'openai', 'gpt-4o', 'no-such', 1],
  ['nothing', 'hosted_vllm', 'gpt-4o', null, null],
])('finds %s', (_name, provider, model, base, expected) => {
  expect(input(book.find(provider, model, base))).toBe(expected);
});
