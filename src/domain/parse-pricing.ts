import { numberOf, objectOf, textOf } from './json-fields.ts';
import { type Pico, picoFromDollarsPerUnit, roundHalfEven } from './money.ts';
import {
  type ContextTier,
  type DailyWindow,
  type MorePricing,
  morePricing,
  NO_ADJUSTMENT,
  type Pricing,
  type RateLayer,
  type RateName,
  type ServiceTier,
  type TimedRates,
  TOKEN_RATES,
} from './pricing.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

/** A price that is none. The sentence names the field and has no place. */
export class BadPriceError extends Error {
  override name = 'BadPriceError';
}

/** What the fields of a price list, or of an entry of `model_list`, say. */
export interface ParsedPricing {
  /** Rates for each call. */
  readonly rates: RateLayer;
  readonly more: Omit<MorePricing, 'plainPromptTokensMax' | 'rates'>;
  /** They price something: a token, an image, a second, ... and not only the reading of a cache. */
  readonly isComplete: boolean;
}

/**
 * Reads prices in the names of LiteLLM's price list; other fields are ignored. Throws `BadPriceError` for a price that is not a number of 0 or
 * more, or is more than money here can hold. `tiersFrom: 'at'`: a prompt of exactly the threshold is in the tier (xAI).
 */
export function parsePricing(fields: JsonObject, tiersFrom: 'above' | 'at' = 'above'): ParsedPricing {
  const base: MutableLayer = {};
  const tiers = new Map<number, MutableLayer>();
  const services = new Map<string, { rates: MutableLayer; tiers: Map<number, MutableLayer> }>();
  const shift = tiersFrom === 'at' ? 1 : 0;
  for (const [name, value] of Object.entries(fields)) {
    const place = placeOf(name);
    if (place === null || value === null) continue;
    const rate = rateOf(name, value);
    const service = place.service === null ? null : getOr(services, place.service, emptyService);
    const scope = service ?? { rates: base, tiers };
    const layer =
      place.aboveTokens === null
        ? scope.rates
        : getOr(scope.tiers, place.aboveTokens - shift, () => ({}) as MutableLayer);
    layer[place.rate] = rate;
  }
  Object.assign(base, webSearchRates(fields.search_context_cost_per_query));
  for (const { from, rates } of tieredPricing(fields.tiered_pricing)) {
    if (from <= 0) Object.assign(base, rates);
    else
      Object.assign(
        getOr(tiers, from - shift, () => ({}) as MutableLayer),
        rates,
      );
  }
  const factors = factorsOf('provider_specific_entry', fields.provider_specific_entry);
  return {
    rates: base,
    isComplete: PRICED.some((rate) => base[rate] !== undefined),
    more: {
      tiers: ascending(tiers),
      services: Object.fromEntries(
        [...services].map(([name, service]): [string, ServiceTier] => [
          name,
          { rates: service.rates, tiers: ascending(service.tiers) },
        ]),
      ),
      timed: timedRatesOf(fields.off_peak_pricing),
      factors,
      uplifts: upliftsOf(fields),
      webSearchPerPrompt: /prompt|request/.test(textOf(fields.web_search_billing_unit) ?? ''),
      adjustment: NO_ADJUSTMENT,
    },
  };
}

/** Prices that stand for themselves: a direction that is not priced costs nothing. */
export function completePricing({ rates, more }: ParsedPricing): Pricing {
  return {
    input: rates.input ?? (0 as Pico),
    output: rates.output ?? (0 as Pico),
    cacheRead: rates.cacheRead ?? null,
    cacheWrite: rates.cacheWrite ?? null,
    inputAudio: rates.inputAudio ?? null,
    outputAudio: rates.outputAudio ?? null,
    reasoning: rates.reasoning ?? null,
    more: morePricing({ ...more, rates: withoutTokenRates(rates) }),
  };
}

/** `pricing` with what was parsed in the place of its like. */
export function overlayPricing(pricing: Pricing, { rates, more }: ParsedPricing): Pricing {
  const before = pricing.more;
  const tokens = Object.fromEntries(Object.entries(rates).filter(([name]) => TOKEN_RATES.has(name)));
  return {
    ...pricing,
    ...tokens,
    more: morePricing({
      rates: { ...before?.rates, ...withoutTokenRates(rates) },
      tiers: more.tiers.length > 0 ? more.tiers : (before?.tiers ?? []),
      services: { ...before?.services, ...more.services },
      timed: more.timed.length > 0 ? more.timed : (before?.timed ?? []),
      factors: { ...before?.factors, ...more.factors },
      uplifts: { ...before?.uplifts, ...more.uplifts },
      webSearchPerPrompt: more.webSearchPerPrompt || (before?.webSearchPerPrompt ?? false),
      adjustment: before?.adjustment ?? NO_ADJUSTMENT,
    }),
  };
}

/** True for names that `parsePricing` reads. */
export function isPriceField(name: string): boolean {
  return placeOf(name) !== null || OTHER_FIELDS.has(name);
}

type MutableLayer = Partial<Record<RateName, Pico>>;

/** LiteLLM's names without `_above_200k_tokens` and the suffixes of service tiers. */
export const RATE_FIELDS: Readonly<Record<string, RateName>> = {
  input_cost_per_token: 'input',
  output_cost_per_token: 'output',
  output_cost_per_reasoning_token: 'reasoning',
  cache_read_input_token_cost: 'cacheRead',
  cache_creation_input_token_cost: 'cacheWrite',
  cache_creation_input_token_cost_above_1hr: 'cacheWrite1h',
  input_cost_per_audio_token: 'inputAudio',
  output_cost_per_audio_token: 'outputAudio',
  input_cost_per_image_token: 'inputImageToken',
  output_cost_per_image_token: 'outputImageToken',
  input_cost_per_video_token: 'inputVideoToken',
  output_cost_per_video_token: 'outputVideoToken',
  citation_cost_per_token: 'citation',
  input_cost_per_request: 'request',
  input_cost_per_query: 'query',
  input_cost_per_page: 'page',
  ocr_cost_per_page: 'page',
  input_cost_per_image: 'inputImage',
  output_cost_per_image: 'outputImage',
  input_cost_per_pixel: 'inputPixel',
  output_cost_per_pixel: 'outputPixel',
  input_cost_per_second: 'inputSecond',
  output_cost_per_second: 'outputSecond',
  input_cost_per_audio_per_second: 'inputSecond',
  output_cost_per_audio_per_second: 'outputSecond',
  input_cost_per_video_per_second: 'inputVideoSecond',
  output_cost_per_video_per_second: 'outputVideoSecond',
  input_cost_per_character: 'inputCharacter',
  output_cost_per_character: 'outputCharacter',
  google_maps_grounding_cost_per_query: 'mapsQuery',
  file_search_cost_per_1k_calls: 'fileSearchPer1k',
  code_interpreter_cost_per_session: 'codeSession',
  computer_use_input_cost_per_1k_tokens: 'computerInputPer1k',
  computer_use_output_cost_per_1k_tokens: 'computerOutputPer1k',
};

const OTHER_FIELDS: ReadonlySet<string> = new Set([
  'search_context_cost_per_query',
  'tiered_pricing',
  'off_peak_pricing',
  'provider_specific_entry',
  'web_search_billing_unit',
  'regional_processing_uplift_multiplier_eu',
  'regional_processing_uplift_multiplier_us',
  'regional_endpoint_uplift_multiplier',
]);

/** With one of these a model has a price; the others refine one. */
const PRICED: readonly RateName[] = [
  ...([
    'input',
    'output',
    'request',
    'query',
    'page',
    'inputImage',
    'outputImage',
    'inputPixel',
    'outputPixel',
  ] as const),
  ...(['inputSecond', 'outputSecond', 'inputVideoSecond', 'outputVideoSecond'] as const),
  ...(['inputCharacter', 'outputCharacter'] as const),
];

const ABOVE = /_above_(\d+)k_tokens(?=_|$)/;
const SERVICE = /_(flex|priority|ultrafast|batches)(?=_|$)/;
/** A batch calls itself `batch`. */
const SERVICE_NAMES: Readonly<Record<string, string>> = { batches: 'batch' };

interface Place {
  readonly rate: RateName;
  readonly service: string | null;
  readonly aboveTokens: number | null;
}

const PLACES = new Map<string, Place | null>();
/** Names that are remembered; a price list has some hundreds. */
const PLACES_MAX = 2_000;

function placeOf(name: string): Place | null {
  let place = PLACES.get(name);
  if (place === undefined) {
    place = readPlace(name);
    if (PLACES.size >= PLACES_MAX) PLACES.clear();
    PLACES.set(name, place);
  }
  return place;
}

function readPlace(name: string): Place | null {
  const above = ABOVE.exec(name)?.[1];
  const service = SERVICE.exec(name)?.[1];
  const plain = name.replace(ABOVE, '').replace(SERVICE, '');
  if (!Object.hasOwn(RATE_FIELDS, plain)) return null;
  return {
    rate: RATE_FIELDS[plain]!,
    service: service === undefined ? null : (SERVICE_NAMES[service] ?? service),
    aboveTokens: above === undefined ? null : Number(above) * 1_000,
  };
}

function rateOf(name: string, value: JsonValue): Pico {
  const dollars = numberOf(value);
  try {
    if (dollars !== null) return picoFromDollarsPerUnit(dollars);
  } catch {
    // The sentence below says it.
  }
  throw new BadPriceError(
    `${name}: ${shown(value)} is not a usable price; a price is a number of dollars from 0 to ${DOLLARS_MAX} per unit.`,
  );
}

/** Of one unit; pico-dollars that are a safe integer. */
const DOLLARS_MAX = 9_007;
const SHOWN_CHARS_MAX = 40;

function shown(value: JsonValue): string {
  return (typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing')).slice(0, SHOWN_CHARS_MAX);
}

function webSearchRates(value: JsonValue | undefined): RateLayer {
  const sizes = objectOf(value);
  const rates: MutableLayer = {};
  for (const [field, rate] of [
    ['search_context_size_low', 'webSearchLow'],
    ['search_context_size_medium', 'webSearchMedium'],
    ['search_context_size_high', 'webSearchHigh'],
  ] as const) {
    const given = sizes?.[field];
    if (given !== undefined && given !== null) rates[rate] = rateOf(`search_context_cost_per_query.${field}`, given);
  }
  return rates;
}

/** Tiers that are written as a list. */
function tieredPricing(value: JsonValue | undefined): { readonly from: number; readonly rates: RateLayer }[] {
  if (!Array.isArray(value)) return [];
  return value.map((item, index) => {
    const fields = objectOf(item);
    const range = fields?.range;
    const from = Array.isArray(range) ? numberOf(range[0]) : null;
    if (fields === null || from === null || from < 0) {
      throw new BadPriceError(`tiered_pricing[${index}].range is not a pair of token counts.`);
    }
    return { from: Math.trunc(from), rates: flatRates(fields, `tiered_pricing[${index}].`) };
  });
}

/** Rates of an object in which neither context tiers nor service tiers are looked for. */
function flatRates(fields: JsonObject, prefix: string): RateLayer {
  const rates: MutableLayer = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && Object.hasOwn(RATE_FIELDS, name)) rates[RATE_FIELDS[name]!] = rateOf(prefix + name, value);
  }
  return rates;
}

function timedRatesOf(value: JsonValue | undefined): TimedRates[] {
  const block = objectOf(value);
  if (block === null || Object.keys(block).length === 0) return [];
  const days = daysOf(block.weekdays);
  const written = block.hours_utc ?? block.windows;
  const windows = (Array.isArray(written) ? written : [written]).map((window): DailyWindow => {
    const [from, to] = hoursOf(window);
    return { fromMinute: from, toMinute: to, days: daysOf(objectOf(window)?.weekdays) ?? days };
  });
  const rates = {
    ...flatRates(block, 'off_peak_pricing.'),
    ...flatRates(objectOf(block.rates) ?? {}, 'off_peak_pricing.rates.'),
  };
  return [{ windows, rates }];
}

/** `16:30-00:30`, or an object with a beginning and an end. */
function hoursOf(value: JsonValue | undefined): readonly [from: number, to: number] {
  const window = objectOf(value);
  const text =
    window === null
      ? textOf(value)
      : (textOf(window.hours_utc) ?? `${textOf(window.start) ?? ''}-${textOf(window.end) ?? ''}`);
  const match = /^(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})$/.exec(text?.trim() ?? '');
  const [from, to] = match === null ? [-1, -1] : [minuteOf(match[1]!, match[2]!), minuteOf(match[3]!, match[4]!)];
  if (from < 0 || to < 0) {
    throw new BadPriceError('off_peak_pricing.hours_utc is not a pair of times, for example 16:30-00:30.');
  }
  return [from, to];
}

export const MINUTES_PER_DAY = 24 * 60;

function minuteOf(hours: string, minutes: string): number {
  const minute = Number(hours) * 60 + Number(minutes);
  return Number(minutes) < 60 && minute <= MINUTES_PER_DAY ? minute % MINUTES_PER_DAY : -1;
}

const DAY_NAMES = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** Names of days, or numbers with 0 = Monday as Python counts them. */
function daysOf(value: JsonValue | undefined): readonly number[] | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  return value.map((day) => {
    const found =
      typeof day === 'number' && Number.isInteger(day) && day >= 0 && day <= 6
        ? (day + 1) % 7
        : DAY_NAMES.indexOf((textOf(day) ?? '').slice(0, 3).toLowerCase());
    if (found < 0) throw new BadPriceError(`off_peak_pricing.weekdays: ${shown(day)} is not a day.`);
    return found;
  });
}

const MILLION = 1_000_000;
/** A factor above this is not believed. */
const FACTOR_MAX = 1_000;

export function millionthsOf(name: string, value: JsonValue): number {
  const factor = numberOf(value);
  if (factor === null || factor < 0 || factor > FACTOR_MAX) {
    throw new BadPriceError(`${name}: ${shown(value)} is not a factor from 0 to ${FACTOR_MAX}.`);
  }
  return roundHalfEven(factor * MILLION);
}

function factorsOf(name: string, value: JsonValue | undefined): Record<string, number> {
  const factors: Record<string, number> = {};
  for (const [key, factor] of Object.entries(objectOf(value) ?? {})) {
    if (typeof factor === 'number') factors[key] = millionthsOf(`${name}.${key}`, factor);
  }
  return factors;
}

function upliftsOf(fields: JsonObject): Record<string, number> {
  const uplifts: Record<string, number> = {};
  for (const [key, name] of [
    ['eu', 'regional_processing_uplift_multiplier_eu'],
    ['us', 'regional_processing_uplift_multiplier_us'],
    ['regional', 'regional_endpoint_uplift_multiplier'],
  ] as const) {
    const value = fields[name];
    if (value !== undefined && value !== null) uplifts[key] = millionthsOf(name, value);
  }
  return uplifts;
}

function withoutTokenRates(rates: RateLayer): MorePricing['rates'] {
  return Object.fromEntries(Object.entries(rates).filter(([name]) => !TOKEN_RATES.has(name)));
}

function ascending(tiers: ReadonlyMap<number, RateLayer>): ContextTier[] {
  return [...tiers]
    .map(([abovePromptTokens, rates]) => ({ abovePromptTokens, rates }))
    .sort((a, b) => a.abovePromptTokens - b.abovePromptTokens);
}

function emptyService(): { rates: MutableLayer; tiers: Map<number, MutableLayer> } {
  return { rates: {}, tiers: new Map() };
}

function getOr<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
