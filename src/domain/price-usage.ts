import { type Nano, PICO_PER_NANO, ZERO_NANO } from './money.ts';
import { type PricedItem, pricedItems } from './priced-items.ts';
import { type Adjustment, NO_ADJUSTMENT, type Pricing } from './pricing.ts';
import type { CostBreakdown, CostPart, TokenUsage } from './usage.ts';

export interface UsagePrice {
  readonly costNano: Nano;
  /** Null: there is nothing but input and output, or the cost is beyond what money here can hold. */
  readonly breakdown: CostBreakdown | null;
}

/** What a call costs, and what provider and prices say that it costs. */
export interface CallCost extends UsagePrice {
  /** Absent: it is the cost. Null: no price is known. */
  readonly formulaNano?: Nano | null;
  /** Absent: the provider says nothing. */
  readonly providerNano?: Nano;
}

/**
 * The cost of a call. What the provider reports wins over our prices. Discount and margin are applied to either. Without a price and a report
 * it is 0.
 */
export function costOfCall(usage: TokenUsage, pricing: Pricing | null, atMs: number, durationMs: number): CallCost {
  const reported = usage.extras?.reportedNano;
  if (reported === undefined) return pricing === null ? NO_COST : priceUsage(usage, pricing, atMs, durationMs);
  const formulaNano = pricing === null ? null : priceUsage(usage, pricing, atMs, durationMs).costNano;
  const parts: [CostPart, bigint][] = [['reported', BigInt(reported) * PICO_PER_NANO_BIG]];
  const { costNano, breakdown } = finish(parts, 1n, pricing?.more?.adjustment ?? NO_ADJUSTMENT, []);
  const isAdjusted = breakdown.discount !== undefined || breakdown.margin !== undefined;
  return { costNano, breakdown: isAdjusted ? breakdown : null, formulaNano, providerNano: reported };
}

const NO_COST: CallCost = { costNano: ZERO_NANO, breakdown: null, formulaNano: null };

/**
 * What our prices make of a call. Every part is a count times a rate in pico-dollars; the sum of all parts is exact and is rounded once to
 * nano-dollars, half to even. The parts of the breakdown are rounded by largest remainder, so that they add up to it. A cost that does not fit
 * a safe integer ($9 million) is that integer. `atMs` is when the answer was complete (NaN: at no time of day, so that no window is open), and
 * `durationMs` what the provider took, for models that are paid by time.
 */
export function priceUsage(usage: TokenUsage, pricing: Pricing, atMs = Number.NaN, durationMs = 0): UsagePrice {
  const { more } = pricing;
  const isPlain = usage.extras === undefined && (more === undefined || usage.promptTokens <= more.plainPromptTokensMax);
  return isPlain ? pricePlain(usage, pricing) : priceAll(usage, pricing, atMs, durationMs);
}

/** Calls that have tokens only, at rates that do not depend on anything: nearly all. */
function pricePlain(usage: TokenUsage, pricing: Pricing): UsagePrice {
  const { audioInputTokens, audioOutputTokens, cachedTokens, cacheWriteTokens, reasoningTokens } = usage;
  const input = Math.max(0, usage.promptTokens - cachedTokens - cacheWriteTokens - audioInputTokens) * pricing.input;
  const output = Math.max(0, usage.completionTokens - reasoningTokens - audioOutputTokens) * pricing.output;
  if (cachedTokens + cacheWriteTokens + audioInputTokens + reasoningTokens + audioOutputTokens === 0) {
    const sum = input + output;
    // Sums that are beyond the safe integers are no longer exact, but they are still beyond them, so this finds each one.
    if (Number.isSafeInteger(sum)) return { costNano: nanoFromPico(sum) as Nano, breakdown: null };
  }
  const cacheRead = cachedTokens * (pricing.cacheRead ?? pricing.input);
  const cacheWrite = cacheWriteTokens * (pricing.cacheWrite ?? pricing.input);
  const inputAudio = audioInputTokens * (pricing.inputAudio ?? pricing.input);
  const reasoning = reasoningTokens * (pricing.reasoning ?? pricing.output);
  const outputAudio = audioOutputTokens * (pricing.outputAudio ?? pricing.output);
  const sum = input + output + cacheRead + cacheWrite + inputAudio + reasoning + outputAudio;
  if (!Number.isSafeInteger(sum)) return priceAll(usage, pricing, Number.NaN, 0);

  const costNano = nanoFromPico(sum);
  const parts: Record<string, number> = {};
  PLAIN_PICO[0] = input;
  PLAIN_PICO[1] = cacheRead;
  PLAIN_PICO[2] = cacheWrite;
  PLAIN_PICO[3] = inputAudio;
  PLAIN_PICO[4] = output;
  PLAIN_PICO[5] = reasoning;
  PLAIN_PICO[6] = outputAudio;
  let left = costNano;
  for (let index = 0; index < PLAIN_PARTS.length; index++) {
    const pico = PLAIN_PICO[index]!;
    if (pico === 0) continue;
    const floor = Math.floor(pico / PICO_PER_NANO);
    parts[PLAIN_PARTS[index]!] = floor;
    PLAIN_PICO[index] = pico - floor * PICO_PER_NANO;
    left -= floor;
  }
  for (; left > 0; left--) {
    let largest = 0;
    for (let index = 1; index < PLAIN_PARTS.length; index++) {
      if (PLAIN_PICO[index]! > PLAIN_PICO[largest]!) largest = index;
    }
    parts[PLAIN_PARTS[largest]!]! += 1;
    PLAIN_PICO[largest] = -1;
  }
  return { costNano: costNano as Nano, breakdown: parts };
}

const PLAIN_PARTS: readonly CostPart[] = [
  'input',
  'cacheRead',
  'cacheWrite',
  'inputAudio',
  'output',
  'reasoning',
  'outputAudio',
];
/** Written anew by each call of `pricePlain`, which nothing interrupts. */
const PLAIN_PICO = new Float64Array(PLAIN_PARTS.length);

const PICO_PER_NANO_BIG = BigInt(PICO_PER_NANO);
const MILLION = 1_000_000n;
/** Counts may be in thousandths of their unit and rates may be halved: all are whole in this many parts of a pico-dollar. */
const PARTS_PER_PICO = 2_000n;

function priceAll(usage: TokenUsage, pricing: Pricing, atMs: number, durationMs: number): UsagePrice {
  const parts: [CostPart, bigint][] = [];
  const { factors, items } = pricedItems(usage, pricing, atMs, durationMs);
  for (const item of items) if (item.count > 0 && item.rate > 0) parts.push([item.part, exactValue(item)]);
  const { costNano, breakdown } = finish(parts, PARTS_PER_PICO, pricing.more?.adjustment ?? NO_ADJUSTMENT, factors);
  const names = Object.keys(breakdown);
  const isTrivial = names.every((name) => name === 'input' || name === 'output');
  return { costNano, breakdown: isTrivial || costNano === Number.MAX_SAFE_INTEGER ? null : breakdown };
}

/** In parts of a pico-dollar. */
function exactValue({ count, isHalf, isPerThousand, rate }: PricedItem): bigint {
  const scale = PARTS_PER_PICO / (isPerThousand ? 1_000n : 1n) / (isHalf ? 2n : 1n);
  return BigInt(count) * BigInt(rate) * scale;
}

/** Applies factors, discount and margin to parts in `1 / partsPerPico` pico-dollars, and rounds. */
function finish(
  given: readonly (readonly [CostPart, bigint])[],
  partsPerPico: bigint,
  adjustment: Adjustment,
  factors: readonly number[],
): { readonly costNano: Nano; readonly breakdown: CostBreakdown } {
  // One denominator for all: three millions for uplift, discount and margin, and one for each further factor.
  const multipliers = [adjustment.upliftMillionths, ...factors].map(BigInt);
  let denominator = partsPerPico * PICO_PER_NANO_BIG * MILLION * MILLION;
  for (const _ of multipliers) denominator *= MILLION;
  const upliftedBy = multipliers.reduce((product, multiplier) => product * multiplier, MILLION * MILLION);

  const sums = new Map<CostPart, bigint>();
  let total = 0n;
  for (const [part, value] of given) {
    const uplifted = value * upliftedBy;
    sums.set(part, (sums.get(part) ?? 0n) + uplifted);
    total += uplifted;
  }
  const discount = (-total * BigInt(adjustment.discountMillionths)) / MILLION;
  const discounted = total + discount;
  const fixed = (BigInt(adjustment.marginFixed) * denominator) / PICO_PER_NANO_BIG;
  const margin = (discounted * BigInt(adjustment.marginMillionths)) / MILLION + fixed;
  if (discount !== 0n) sums.set('discount', discount);
  if (margin !== 0n) sums.set('margin', margin);
  const cost = roundHalfEven(discounted + margin, denominator);
  if (cost > MAX_NANO) return { costNano: Number(MAX_NANO) as Nano, breakdown: {} };
  return { costNano: Number(cost) as Nano, breakdown: byLargestRemainder(sums, denominator, cost) };
}

const MAX_NANO = BigInt(Number.MAX_SAFE_INTEGER);

/** Whole parts that add up to `total`: each is cut, and what is missing goes to those that lost most. */
function byLargestRemainder(sums: ReadonlyMap<CostPart, bigint>, denominator: bigint, total: bigint): CostBreakdown {
  const cut = [...sums].map(([part, value]) => {
    const remainder = ((value % denominator) + denominator) % denominator;
    return { part, remainder, whole: (value - remainder) / denominator };
  });
  const missing = Number(total - cut.reduce((sum, { whole }) => sum + whole, 0n));
  const byLoss = [...cut].sort((a, b) => (a.remainder < b.remainder ? 1 : a.remainder > b.remainder ? -1 : 0));
  const raised = new Set(byLoss.slice(0, missing));
  return Object.fromEntries(cut.map((entry) => [entry.part, Number(entry.whole) + (raised.has(entry) ? 1 : 0)]));
}

function roundHalfEven(value: bigint, denominator: bigint): bigint {
  const floor = value / denominator;
  const twice = (value % denominator) * 2n;
  return twice > denominator || (twice === denominator && floor % 2n === 1n) ? floor + 1n : floor;
}

function nanoFromPico(pico: number): number {
  const rest = pico % PICO_PER_NANO;
  const floor = (pico - rest) / PICO_PER_NANO;
  const half = PICO_PER_NANO / 2;
  return rest > half || (rest === half && floor % 2 === 1) ? floor + 1 : floor;
}
