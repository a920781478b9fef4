import { numberOf, objectOf } from './json-fields.ts';
import { type Pico, picoFromDollarsPerUnit } from './money.ts';
import { BadPriceError, millionthsOf } from './parse-pricing.ts';
import { type Adjustment, NO_ADJUSTMENT, type Pricing, withAdjustment } from './pricing.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

/** `cost_discount_config` and `cost_margin_config` of `litellm_settings`. */
export interface CostTerms {
  readonly discounts: JsonObject;
  readonly margins: JsonObject;
}

export const NO_TERMS: CostTerms = { discounts: {}, margins: {} };

/** Where a call goes, as far as its price depends on that. */
export interface PricedPlace {
  readonly provider: string;
  readonly apiBase: string;
  /** `vertex_location`, `aws_region_name` or `region_name`; null: not said. */
  readonly location: string | null;
}

/** The prices with uplift of the endpoint, discount and margin. Throws `BadPriceError`. */
export function adjustPricing(pricing: Pricing, place: PricedPlace, terms: CostTerms): Pricing {
  const adjustment: Adjustment = {
    upliftMillionths: upliftOf(pricing, place),
    discountMillionths: discountOf(terms.discounts, place.provider),
    ...marginOf(terms.margins, place.provider),
  };
  const isNone = (Object.keys(adjustment) as (keyof Adjustment)[]).every(
    (name) => adjustment[name] === NO_ADJUSTMENT[name],
  );
  return isNone ? pricing : withAdjustment(pricing, adjustment);
}

const MILLION = 1_000_000;

/** `eu.api.openai.com` and its like process in their region; a provider with a location other than `global` has regional endpoints. */
function upliftOf({ more }: Pricing, { apiBase, location }: PricedPlace): number {
  if (more === undefined) return MILLION;
  const [, region = ''] = /^https?:\/\/(eu|us)\./i.exec(apiBase) ?? [];
  const byRegion = more.uplifts[region.toLowerCase()];
  if (byRegion !== undefined) return byRegion;
  return location !== null && location !== 'global' ? (more.uplifts.regional ?? MILLION) : MILLION;
}

function discountOf(discounts: JsonObject, provider: string): number {
  const value = own(discounts, provider);
  if (value === undefined) return 0;
  const millionths = millionthsOf(`cost_discount_config.${provider}`, value);
  if (millionths <= MILLION) return millionths;
  throw new BadPriceError(`cost_discount_config.${provider} is more than 1, which would be all of the cost.`);
}

/** A number is a share of the cost; an object has `percentage` (also a share) and `fixed_amount` (dollars per call). */
function marginOf(margins: JsonObject, provider: string): Pick<Adjustment, 'marginFixed' | 'marginMillionths'> {
  const name = Object.hasOwn(margins, provider) ? provider : 'global';
  const value = own(margins, name);
  if (value === undefined) return { marginMillionths: 0, marginFixed: 0 as Pico };
  const place = `cost_margin_config.${name}`;
  const parts = objectOf(value) ?? { percentage: value };
  return {
    marginMillionths: parts.percentage == null ? 0 : millionthsOf(`${place}.percentage`, parts.percentage),
    marginFixed: parts.fixed_amount == null ? (0 as Pico) : fixedOf(`${place}.fixed_amount`, parts.fixed_amount),
  };
}

function fixedOf(name: string, value: JsonValue): Pico {
  const dollars = numberOf(value);
  try {
    if (dollars !== null) return picoFromDollarsPerUnit(dollars);
  } catch {
    // The sentence below says it.
  }
  throw new BadPriceError(`${name} is not an amount of dollars of 0 or more.`);
}

function own(record: JsonObject, name: string): JsonValue | undefined {
  const value = Object.hasOwn(record, name) ? record[name] : undefined;
  return value === null ? undefined : value;
}
