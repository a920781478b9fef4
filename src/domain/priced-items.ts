import type { Pico } from './money.ts';
import { MINUTES_PER_DAY } from './parse-pricing.ts';
import type { DailyWindow, MorePricing, Pricing, RateLayer } from './pricing.ts';
import type { CostPart, TokenUsage, UsageExtras } from './usage.ts';

/** So many units at a rate. */
export interface PricedItem {
  readonly part: CostPart;
  readonly count: number;
  readonly rate: Pico;
  /** The rate is for a thousand. */
  readonly isPerThousand?: boolean;
  readonly isHalf: boolean;
}

export interface PricedItems {
  readonly items: readonly PricedItem[];
  /** In millionths; they count for the sum. */
  readonly factors: readonly number[];
}

/** Everything that a call is billed for, at the rates that count for it: by its length, its service tier and the time of day. */
export function pricedItems(usage: TokenUsage, pricing: Pricing, atMs: number, durationMs: number): PricedItems {
  const { more } = pricing;
  const extras = usage.extras ?? NO_EXTRAS;
  const isHalf = extras.serviceTier === BATCH && !hasOwnRates(more?.services[BATCH]?.rates);
  const rates = ratesOf(usage, pricing, extras, atMs);
  const items: PricedItem[] = [];
  const add = (part: CostPart, count: number | undefined, rate: Pico | undefined, isPerThousand = false): void => {
    if (count !== undefined && count > 0 && rate !== undefined && rate > 0) {
      items.push({ part, count, rate, isPerThousand, isHalf: isHalf && part !== 'webSearch' && part !== 'tools' });
    }
  };
  addTokens(usage, extras, rates, add);
  addUnits(extras, rates, durationMs, add);
  addTools(extras, rates, more?.webSearchPerPrompt === true, add);
  const factors = (extras.factors ?? []).flatMap((name) =>
    more !== undefined && Object.hasOwn(more.factors, name) ? [more.factors[name]!] : [],
  );
  return { items, factors };
}

const NO_EXTRAS: UsageExtras = {};
const BATCH = 'batch';

type Add = (part: CostPart, count: number | undefined, rate: Pico | undefined, isPerThousand?: boolean) => void;
type Rates = RateLayer & { readonly input: Pico; readonly output: Pico };

function hasOwnRates(rates: RateLayer | undefined): boolean {
  return rates?.input !== undefined || rates?.output !== undefined;
}

/** Later ones replace earlier ones: base, service tier, long prompt, long prompt of the service tier, time of day. */
function ratesOf(usage: TokenUsage, pricing: Pricing, { serviceTier }: UsageExtras, atMs: number): Rates {
  const { more, ...tokens } = pricing;
  const base = { ...Object.fromEntries(Object.entries(tokens).filter(([, rate]) => rate !== null)) } as Rates;
  if (more === undefined) return base;
  const service = serviceTier === undefined ? undefined : ownOf(more.services, serviceTier);
  const rates: Rates = { ...base, ...more.rates, ...batchCache(serviceTier, service?.rates), ...service?.rates };
  return {
    ...rates,
    ...tierOf(more.tiers, usage.promptTokens),
    ...(service === undefined ? {} : tierOf(service.tiers, usage.promptTokens)),
    ...more.timed.find(({ windows }) => windows.some((window) => isOpen(window, atMs)))?.rates,
  };
}

/** A batch with rates of its own has no cheaper cache unless it says so. */
function batchCache(serviceTier: string | undefined, rates: RateLayer | undefined): RateLayer {
  const input = rates?.input;
  return serviceTier === BATCH && input !== undefined
    ? { cacheRead: input, cacheWrite: input, cacheWrite1h: input }
    : {};
}

function tierOf(tiers: MorePricing['tiers'], promptTokens: number): RateLayer {
  let rates: RateLayer = {};
  for (const tier of tiers) if (promptTokens > tier.abovePromptTokens) rates = { ...rates, ...tier.rates };
  return rates;
}

function ownOf<Value>(record: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function isOpen({ days, fromMinute, toMinute }: DailyWindow, atMs: number): boolean {
  const at = new Date(atMs);
  const minute = at.getUTCHours() * 60 + at.getUTCMinutes();
  const day = at.getUTCDay();
  const begins = (onDay: number): boolean => days === null || days.includes(onDay);
  if (fromMinute < toMinute) return minute >= fromMinute && minute < toMinute && begins(day);
  return (minute >= fromMinute && begins(day)) || (minute < toMinute % MINUTES_PER_DAY && begins((day + 6) % 7));
}

function addTokens(usage: TokenUsage, extras: UsageExtras, rates: Rates, add: Add): void {
  const { audioInputTokens, audioOutputTokens, cachedTokens, cacheWriteTokens, reasoningTokens } = usage;
  const { imageInputTokens = 0, imageOutputTokens = 0, videoInputTokens = 0, videoOutputTokens = 0 } = extras;
  const write1h = Math.min(extras.cacheWrite1hTokens ?? 0, cacheWriteTokens);
  const inputOther = cachedTokens + cacheWriteTokens + audioInputTokens + imageInputTokens + videoInputTokens;
  const outputOther = reasoningTokens + audioOutputTokens + imageOutputTokens + videoOutputTokens;
  const cacheWrite = rates.cacheWrite ?? rates.input;
  add('input', Math.max(0, usage.promptTokens - inputOther), rates.input);
  add('cacheRead', cachedTokens, rates.cacheRead ?? rates.input);
  add('cacheWrite', cacheWriteTokens - write1h, cacheWrite);
  add('cacheWrite', write1h, rates.cacheWrite1h ?? cacheWrite);
  add('inputAudio', audioInputTokens, rates.inputAudio ?? rates.input);
  add('inputImage', imageInputTokens, rates.inputImageToken ?? rates.input);
  add('inputVideo', videoInputTokens, rates.inputVideoToken ?? rates.input);
  add('output', Math.max(0, usage.completionTokens - outputOther), rates.output);
  add('reasoning', reasoningTokens, rates.reasoning ?? rates.output);
  add('outputAudio', audioOutputTokens, rates.outputAudio ?? rates.output);
  add('outputImage', imageOutputTokens, rates.outputImageToken ?? rates.output);
  add('outputVideo', videoOutputTokens, rates.outputVideoToken ?? rates.output);
  add('units', extras.citationTokens, rates.citation);
}

function addUnits(extras: UsageExtras, rates: Rates, durationMs: number, add: Add): void {
  add('request', 1, rates.request);
  add('units', extras.queries ?? 1, rates.query);
  add('units', extras.pages, rates.page);
  add('inputImage', extras.inputImages, rates.inputImage);
  add('outputImage', extras.outputImages, rates.outputImage);
  add('inputImage', extras.inputPixels, rates.inputPixel);
  add('outputImage', extras.outputPixels, rates.outputPixel);
  add('units', extras.inputCharacters, rates.inputCharacter);
  add('units', extras.outputCharacters, rates.outputCharacter);
  add('inputVideo', extras.inputVideoMs, rates.inputVideoSecond, true);
  add('outputVideo', extras.outputVideoMs, rates.outputVideoSecond, true);
  const speaksOfTime = extras.inputMs !== undefined || extras.outputMs !== undefined;
  // A model that is rented: what it took is what it costs, once.
  if (!speaksOfTime) add('units', Math.round(durationMs), rates.outputSecond ?? rates.inputSecond, true);
  add('units', extras.inputMs, rates.inputSecond, true);
  add('units', extras.outputMs, rates.outputSecond, true);
}

function addTools(extras: UsageExtras, rates: Rates, searchesOnce: boolean, add: Add): void {
  const searches = extras.webSearches ?? 0;
  add('webSearch', searchesOnce ? Math.min(1, searches) : searches, webSearchRate(extras, rates));
  add('tools', extras.mapsQueries, rates.mapsQuery);
  add('tools', extras.fileSearches, rates.fileSearchPer1k, true);
  add('tools', extras.codeSessions, rates.codeSession);
  add('tools', extras.computerInputTokens, rates.computerInputPer1k, true);
  add('tools', extras.computerOutputTokens, rates.computerOutputPer1k, true);
}

/** Medium unless the answer says otherwise; a size without a rate of its own has the nearest. */
function webSearchRate({ searchContextSize }: UsageExtras, rates: Rates): Pico | undefined {
  const { webSearchHigh: high, webSearchLow: low, webSearchMedium: medium } = rates;
  switch (searchContextSize) {
    case 'low':
      return low ?? medium ?? high;
    case 'high':
      return high ?? medium ?? low;
    default:
      return medium ?? low ?? high;
  }
}
