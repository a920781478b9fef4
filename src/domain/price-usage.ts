import type { Pricing } from './deployment.ts';
import { type Nano, PICO_PER_NANO, type Pico } from './money.ts';
import type { TokenUsage } from './usage.ts';

export interface UsagePrice {
  readonly costNano: Nano;
  /** The two parts; they add up to the cost. */
  readonly inputNano: Nano;
  readonly outputNano: Nano;
}

/**
 * What a call costs. Each kind of token has its rate or the base rate of its direction; the sum in pico-dollars is exact
 * and rounded once, half to even. A cost that does not fit a safe integer ($9 million) is that integer.
 */
export function priceUsage(usage: TokenUsage, pricing: Pricing): UsagePrice {
  const { promptTokens, cachedTokens, cacheWriteTokens, audioInputTokens } = usage;
  const { completionTokens, reasoningTokens, audioOutputTokens } = usage;
  const input: readonly Part[] = [
    [Math.max(0, promptTokens - cachedTokens - cacheWriteTokens - audioInputTokens), pricing.input],
    [cachedTokens, pricing.cacheRead ?? pricing.input],
    [cacheWriteTokens, pricing.cacheWrite ?? pricing.input],
    [audioInputTokens, pricing.inputAudio ?? pricing.input],
  ];
  const output: readonly Part[] = [
    [Math.max(0, completionTokens - reasoningTokens - audioOutputTokens), pricing.output],
    [reasoningTokens, pricing.reasoning ?? pricing.output],
    [audioOutputTokens, pricing.outputAudio ?? pricing.output],
  ];
  const inputPico = sum(input);
  const totalPico = inputPico + sum(output);
  // Sums that are beyond the safe integers are no longer exact, but they are still beyond them, so this finds each one.
  if (!Number.isSafeInteger(totalPico)) return priceBig(input, output);
  const costNano = nanoFromPico(totalPico);
  const inputNano = nanoFromPico(inputPico);
  return { costNano: costNano as Nano, inputNano: inputNano as Nano, outputNano: (costNano - inputNano) as Nano };
}

/** Tokens and their rate. */
type Part = readonly [tokens: number, rate: Pico];

function sum(parts: readonly Part[]): number {
  let pico = 0;
  for (const [tokens, rate] of parts) pico += tokens * rate;
  return pico;
}

function nanoFromPico(pico: number): number {
  const rest = pico % PICO_PER_NANO;
  const floor = (pico - rest) / PICO_PER_NANO;
  const half = PICO_PER_NANO / 2;
  return rest > half || (rest === half && floor % 2 === 1) ? floor + 1 : floor;
}

function priceBig(input: readonly Part[], output: readonly Part[]): UsagePrice {
  const inputPico = sumBig(input);
  const costNano = nanoFromBigPico(inputPico + sumBig(output));
  const inputNano = nanoFromBigPico(inputPico);
  return { costNano: costNano as Nano, inputNano: inputNano as Nano, outputNano: (costNano - inputNano) as Nano };
}

function sumBig(parts: readonly Part[]): bigint {
  return parts.reduce((pico, [tokens, rate]) => pico + BigInt(tokens) * BigInt(rate), 0n);
}

function nanoFromBigPico(pico: bigint): number {
  const floor = pico / 1_000n;
  const rest = pico % 1_000n;
  const nano = rest > 500n || (rest === 500n && floor % 2n === 1n) ? floor + 1n : floor;
  return nano > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(nano);
}
