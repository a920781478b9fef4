import type { Pico } from './money.ts';

/**
 * Rates beyond those that `Pricing` names, in pico-dollars per unit. Those of `..Per1k` are per thousand units, those of seconds per second
 * of usage that is counted in milliseconds.
 */
export interface ExtraRates {
  readonly cacheWrite1h?: Pico;
  readonly inputImageToken?: Pico;
  readonly outputImageToken?: Pico;
  readonly inputVideoToken?: Pico;
  readonly outputVideoToken?: Pico;
  readonly citation?: Pico;
  /** For each call, whatever is in it. */
  readonly request?: Pico;
  readonly query?: Pico;
  readonly page?: Pico;
  readonly inputImage?: Pico;
  readonly outputImage?: Pico;
  readonly inputPixel?: Pico;
  readonly outputPixel?: Pico;
  readonly inputSecond?: Pico;
  readonly outputSecond?: Pico;
  readonly inputVideoSecond?: Pico;
  readonly outputVideoSecond?: Pico;
  readonly inputCharacter?: Pico;
  readonly outputCharacter?: Pico;
  readonly webSearchLow?: Pico;
  readonly webSearchMedium?: Pico;
  readonly webSearchHigh?: Pico;
  readonly mapsQuery?: Pico;
  readonly fileSearchPer1k?: Pico;
  readonly codeSession?: Pico;
  readonly computerInputPer1k?: Pico;
  readonly computerOutputPer1k?: Pico;
}

/** Rates of tokens that each price list has. Null: the base rate of its direction. */
export interface TokenRates {
  readonly input: Pico;
  readonly output: Pico;
  readonly cacheRead: Pico | null;
  readonly cacheWrite: Pico | null;
  readonly inputAudio: Pico | null;
  readonly outputAudio: Pico | null;
  readonly reasoning: Pico | null;
}

export type RateName = keyof TokenRates | keyof ExtraRates;
/** Rates that take the place of others where they are given. */
export type RateLayer = Readonly<Partial<Record<RateName, Pico>>>;

/** Prices of a deployment, in pico-dollars per token. */
export interface Pricing extends TokenRates {
  /** Absent: there is nothing else to it, which is what the cheap way of pricing is for. */
  readonly more?: MorePricing | undefined;
}

/** Rates for prompts that are longer than a threshold. They count for all tokens of such a call. */
export interface ContextTier {
  /** A prompt of more tokens than this is in the tier. */
  readonly abovePromptTokens: number;
  readonly rates: RateLayer;
}

/** Rates of a service tier (`flex`, `priority`, `batch`, ...) and what they are for long prompts. */
export interface ServiceTier {
  readonly rates: RateLayer;
  readonly tiers: readonly ContextTier[];
}

export interface TimedRates {
  readonly windows: readonly DailyWindow[];
  readonly rates: RateLayer;
}

/** Part of a UTC day. `toMinute` not after `fromMinute`: it ends on the day after the one it began. */
export interface DailyWindow {
  readonly fromMinute: number;
  readonly toMinute: number;
  /** Days on which it begins, 0 = Sunday; null: each. */
  readonly days: readonly number[] | null;
}

/** What is done to the sum. Factors are in millionths: 1,100,000 is 1.1. */
export interface Adjustment {
  readonly upliftMillionths: number;
  /** Taken off: 50,000 is 5 %. */
  readonly discountMillionths: number;
  /** Added to what is left. */
  readonly marginMillionths: number;
  /** Added to each call. */
  readonly marginFixed: Pico;
}

export const NO_ADJUSTMENT: Adjustment = {
  upliftMillionths: 1_000_000,
  discountMillionths: 0,
  marginMillionths: 0,
  marginFixed: 0 as Pico,
};

export interface MorePricing {
  readonly rates: ExtraRates;
  /** Shortest first. */
  readonly tiers: readonly ContextTier[];
  readonly services: Readonly<Record<string, ServiceTier>>;
  /** The first that is open counts. */
  readonly timed: readonly TimedRates[];
  /** Factors in millionths by what an answer says of itself (`fast`, `us`). */
  readonly factors: Readonly<Record<string, number>>;
  /** Uplifts in millionths by kind of endpoint: `eu`, `us`, `regional`. A deployment has at most one of them in its adjustment. */
  readonly uplifts: Readonly<Record<string, number>>;
  /** However often the model searched, one search is billed. */
  readonly webSearchPerPrompt: boolean;
  readonly adjustment: Adjustment;
  /** A call without extras whose prompt is no longer than this is priced by the token rates alone; -1: none is. */
  readonly plainPromptTokensMax: number;
}

export type MorePricingParts = Omit<MorePricing, 'plainPromptTokensMax'>;

export const NO_MORE: MorePricingParts = {
  rates: {},
  tiers: [],
  services: {},
  timed: [],
  factors: {},
  uplifts: {},
  webSearchPerPrompt: false,
  adjustment: NO_ADJUSTMENT,
};

/** Undefined when the parts say nothing. */
export function morePricing(parts: MorePricingParts): MorePricing | undefined {
  const { adjustment, factors, timed, rates, services, tiers, uplifts } = parts;
  const isAdjusted =
    adjustment.upliftMillionths !== 1_000_000 ||
    adjustment.discountMillionths !== 0 ||
    adjustment.marginMillionths !== 0 ||
    adjustment.marginFixed !== 0;
  const isEmpty =
    !isAdjusted &&
    tiers.length === 0 &&
    timed.length === 0 &&
    [rates, services, factors, uplifts].every((record) => Object.keys(record).length === 0);
  if (isEmpty) return undefined;
  const priceAlways = ALWAYS_COUNTED.some((name) => (rates[name] ?? 0) > 0);
  const plainPromptTokensMax =
    isAdjusted || priceAlways || timed.length > 0 ? -1 : (tiers[0]?.abovePromptTokens ?? Number.POSITIVE_INFINITY);
  return { ...parts, plainPromptTokensMax };
}

/** Rates of what a call is, also when its usage does not speak of it. */
const ALWAYS_COUNTED: readonly (keyof ExtraRates)[] = ['request', 'query', 'inputSecond', 'outputSecond'];

/** The same prices, with other things done to the sum. */
export function withAdjustment(pricing: Pricing, adjustment: Adjustment): Pricing {
  return { ...pricing, more: morePricing({ ...(pricing.more ?? NO_MORE), adjustment }) };
}

/** The same prices, with those of `layer` in the place of their like. */
export function withRates(pricing: Pricing, layer: RateLayer): Pricing {
  const rates: Record<string, Pico> = { ...pricing.more?.rates };
  const tokens: Record<string, Pico | null> = {};
  for (const [name, rate] of Object.entries(layer)) {
    if (TOKEN_RATES.has(name)) tokens[name] = rate;
    else rates[name] = rate;
  }
  return { ...pricing, ...tokens, more: morePricing({ ...(pricing.more ?? NO_MORE), rates }) };
}

export const TOKEN_RATES: ReadonlySet<string> = new Set([
  'input',
  'output',
  'cacheRead',
  'cacheWrite',
  'inputAudio',
  'outputAudio',
  'reasoning',
] satisfies (keyof TokenRates)[]);

/** True when at least one rate is not zero: the model costs something. */
export function costsSomething(pricing: Pricing): boolean {
  const { more } = pricing;
  const layers: readonly object[] = [
    { ...pricing, more: undefined },
    ...(more === undefined
      ? []
      : [
          more.rates,
          { fixed: more.adjustment.marginFixed },
          ...more.tiers.map((tier) => tier.rates),
          ...Object.values(more.services).flatMap((service) => [
            service.rates,
            ...service.tiers.map((tier) => tier.rates),
          ]),
        ]),
  ];
  return layers.some((layer) => Object.values(layer).some((rate) => typeof rate === 'number' && rate > 0));
}
