import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pricing } from './deployment.ts';
import { type Pico, picoFromDollarsPerUnit } from './money.ts';
import { priceUsage } from './price-usage.ts';
import { NO_USAGE, type TokenUsage } from './usage.ts';

const perMillion = (dollars: number): Pico => picoFromDollarsPerUnit(dollars / 1e6);
const plain: Pricing = {
  input: perMillion(2.5),
  output: perMillion(10),
  cacheRead: null,
  cacheWrite: null,
  inputAudio: null,
  outputAudio: null,
  reasoning: null,
};
const use = (given: Partial<TokenUsage>): TokenUsage => ({ ...NO_USAGE, ...given });

describe('priceUsage', () => {
  it('prices prompt and completion', () => {
    const price = priceUsage(use({ promptTokens: 1_000, completionTokens: 500 }), plain);
    expect(price).toEqual({ costNano: 7_500_000, breakdown: null });
  });

  it('prices cache reads, cache writes and audio at their rates and takes them out of the prompt', () => {
    const pricing = { ...plain, cacheRead: perMillion(1.25), cacheWrite: perMillion(3), inputAudio: perMillion(40) };
    const usage = use({ promptTokens: 1_000, cachedTokens: 300, cacheWriteTokens: 200, audioInputTokens: 100 });
    expect(priceUsage(usage, pricing).costNano).toBe(400 * 2_500 + 300 * 1_250 + 200 * 3_000 + 100 * 40_000);
  });

  it('prices reasoning and audio of the completion at their rates', () => {
    const pricing = { ...plain, reasoning: perMillion(4), outputAudio: perMillion(80) };
    const usage = use({ completionTokens: 1_000, reasoningTokens: 300, audioOutputTokens: 100 });
    expect(priceUsage(usage, pricing).costNano).toBe(600 * 10_000 + 300 * 4_000 + 100 * 80_000);
  });

  it('falls back to the base rate of the direction', () => {
    const usage = use({
      promptTokens: 100,
      cachedTokens: 50,
      cacheWriteTokens: 10,
      completionTokens: 100,
      reasoningTokens: 90,
    });
    expect(priceUsage(usage, plain).costNano).toBe(100 * 2_500 + 100 * 10_000);
  });

  it('never bills a negative number of text tokens', () => {
    expect(priceUsage(use({ promptTokens: 10, cachedTokens: 50 }), plain).costNano).toBe(50 * 2_500);
  });

  it.each([
    [1, 1_500, 2],
    [1, 2_500, 2],
    [1, 2_501, 3],
    [1, 500, 0],
    [3, 500, 2],
    [1, 499, 0],
    [2, 750, 2],
  ])('rounds %s tokens at %s pico once, half to even, to %s nano', (promptTokens, rate, nano) => {
    expect(priceUsage(use({ promptTokens }), { ...plain, input: rate as Pico }).costNano).toBe(nano);
  });

  it('is exact beyond the safe integers of the intermediate sum', () => {
    const usage = use({ promptTokens: 2_000_000_000, completionTokens: 1 });
    const pricing = { ...plain, input: 4_503_599_627 as Pico, output: 501 as Pico };
    const exact = (2_000_000_000n * 4_503_599_627n + 501n) / 1_000n + 1n;
    expect(BigInt(priceUsage(usage, pricing).costNano)).toBe(exact);
  });

  it('agrees with arithmetic on big integers, and its parts add up', () => {
    const tokens = fc.nat(3_000_000);
    const rate = fc.nat(2_000_000_000).map((pico) => pico as Pico);
    const maybe = fc.option(rate);
    const pricings = fc.record({
      input: rate,
      output: rate,
      cacheRead: maybe,
      cacheWrite: maybe,
      inputAudio: maybe,
      outputAudio: maybe,
      reasoning: maybe,
    });
    fc.assert(
      fc.property(tokens, tokens, tokens, tokens, pricings, (prompt, cached, completion, reasoning, pricing) => {
        const usage = use({
          promptTokens: prompt,
          cachedTokens: cached,
          completionTokens: completion,
          reasoningTokens: reasoning,
        });
        const big = (count: number, pico: Pico) => BigInt(count) * BigInt(pico);
        const pico =
          big(Math.max(0, prompt - cached), pricing.input) +
          big(cached, pricing.cacheRead ?? pricing.input) +
          big(Math.max(0, completion - reasoning), pricing.output) +
          big(reasoning, pricing.reasoning ?? pricing.output);
        const rest = pico % 1_000n;
        const floor = pico / 1_000n;
        const expected = rest > 500n || (rest === 500n && floor % 2n === 1n) ? floor + 1n : floor;
        const price = priceUsage(usage, pricing);
        expect(BigInt(price.costNano)).toBe(expected);
        const parts = Object.values(price.breakdown ?? {});
        if (cached + reasoning > 0) expect(parts.reduce((sum, nano) => sum + nano, 0)).toBe(price.costNano);
        for (const nano of parts) expect(nano).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('stays a safe integer whatever the usage claims', () => {
    const price = priceUsage(use({ promptTokens: 2_147_483_647 }), {
      ...plain,
      input: Number.MAX_SAFE_INTEGER as Pico,
    });
    expect(price.costNano).toBe(Number.MAX_SAFE_INTEGER);
  });
});
