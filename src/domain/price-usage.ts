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
  const inputPico =
    textInputTokens(usage) * pricing.input +
    usage.cachedTokens * (pricing.cacheRead ?? pricing.input) +
    usage.cacheWriteTokens * (pricing.cacheWrite ?? pricing.input) +
    usage.audioInputTokens * (pricing.inputAudio ?? pricing.input);
  const totalPico =
    inputPico +
    textOutputTokens(usage) * pricing.output +
    usage.reasoningTokens * (pricing.reasoning ?? pricing.output) +
    usage.audioOutputTokens * (pricing.outputAudio ?? pricing.output);
  // Sums that are beyond the safe integers are no longer exact, but they are still beyond them, so this finds each one.
  if (!Number.isSafeInteger(totalPico)) return priceBig(usage, pricing);
  const costNano = nanoFromPico(totalPico);
  const inputNano = nanoFromPico(inputPico);
  return { costNano: costNano as Nano, inputNano: inputNano as Nano, outputNano: (costNano - inputNano) as Nano };
}

/** Tokens and their rate. */
type Part = readonly [tokens: number, rate: Pico];

/** What is left of the prompt when each other kind of token is taken away. */
function textInputTokens({ promptTokens, cachedTokens, cacheWriteTokens, audioInputTokens }: TokenUsage): number {
  return Math.max(0, promptTokens - cachedTokens - cacheWriteTokens - audioInputTokens);
}

function textOutputTokens({ completionTokens, reasoningTokens, audioOutputTokens }: TokenUsage): number {
  return Math.max(0, completionTokens - reasoningTokens - audioOutputTokens);
}

function nanoFromPico(pico: number): number {
  const rest = pico % PICO_PER_NANO;
  const floor = (pico - rest) / PICO_PER_NANO;
  const half = PICO_PER_NANO / 2;
  return rest > half || (rest === half && floor % 2 === 1) ? floor + 1 : floor;
}

/** The same in big integers, for sums that numbers do not hold exactly. */
function priceBig(usage: TokenUsage, pricing: Pricing): UsagePrice {
  const input: readonly Part[] = [
    [textInputTokens(usage), pricing.input],
    [usage.cachedTokens, pricing.cacheRead ?? pricing.input],
    [usage.cacheWriteTokens, pricing.cacheWrite ?? pricing.input],
    [usage.audioInputTokens, pricing.inputAudio ?? pricing.input],
  ];
  const output: readonly Part[] = [
    [textOutputTokens(usage), pricing.output],
    [usage.reasoningTokens, pricing.reasoning ?? pricing.output],
    [usage.audioOutputTokens, pricing.outputAudio ?? pricing.output],
  ];
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
