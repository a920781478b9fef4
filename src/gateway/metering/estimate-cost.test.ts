import { describe, expect, it } from 'vitest';
import type { Pricing } from '../../domain/deployment.ts';
import type { Pico } from '../../domain/money.ts';
import { COMPLETION_TOKENS_ESTIMATE, estimateCost, estimatePromptTokens } from './estimate-cost.ts';

const pricing = { input: 2_000 as Pico, output: 10_000 as Pico } as Pricing;
const body = (bytes: number, read = {}) => ({ bytes: Buffer.alloc(bytes), read });

describe('estimateCost', () => {
  it('is bytes at the price of input and at most a thousand tokens at the price of output', () => {
    expect(estimatePromptTokens(body(350))).toBe(100);
    expect(estimateCost(body(350, { max_tokens: 5 }), pricing)).toBe(100 * 2 + 5 * 10);
    expect(estimateCost(body(350, { max_completion_tokens: 0 }), pricing)).toBe(200);
    expect(estimateCost(body(350, { max_tokens: 1e9 }), pricing)).toBe(200 + COMPLETION_TOKENS_ESTIMATE * 10);
    expect(estimateCost(body(350), pricing)).toBe(200 + COMPLETION_TOKENS_ESTIMATE * 10);
  });

  it('does not believe a bound that is none', () => {
    for (const bound of [-1, 1.5, '5', null, Number.NaN]) {
      expect(estimateCost(body(0, { max_tokens: bound }), pricing)).toBe(COMPLETION_TOKENS_ESTIMATE * 10);
    }
  });

  it('is nothing without a price and a safe integer at any price', () => {
    expect(estimateCost(body(350), null)).toBe(0);
    const dear = { input: 9e15 as Pico, output: 9e15 as Pico } as Pricing;
    expect(estimateCost(body(10_000_000), dear)).toBe(Number.MAX_SAFE_INTEGER);
  });
});
