import { objectOf, textOf } from './json-fields.ts';
import { BadPriceError, completePricing, parsePricing } from './parse-pricing.ts';
import type { Pricing, RateName } from './pricing.ts';
import { TOKEN_RATES } from './pricing.ts';
import type { JsonObject } from './virtual-key.ts';

/** One model of a price list in LiteLLM's form. */
export interface CostMapEntry {
  readonly fields: JsonObject;
  /** `litellm_provider`. */
  readonly provider: string | null;
  /** Null: it prices nothing (it only says what the model can do). */
  readonly pricing: Pricing | null;
}

export type CostMap = ReadonlyMap<string, CostMapEntry>;

export interface ReadCostMap {
  readonly entries: CostMap;
  /** Models that are left out. */
  readonly problems: readonly CostMapProblem[];
}

/** What is wrong with a model, as the rest of a sentence that begins with its name. */
export interface CostMapProblem {
  readonly model: string;
  readonly reason: string;
}

export const EMPTY_COST_MAP: CostMap = new Map();
/** Models of a price list. LiteLLM's has about 3,000. */
export const COST_MAP_MODELS_MAX = 50_000;
const NAME_CHARS_MAX = 512;
/** The entry that documents the others. */
const SAMPLE = 'sample_spec';

/** A file that can not be used as a whole. */
export class BadCostMapError extends Error {
  override name = 'BadCostMapError';
}

/**
 * Reads a price list in LiteLLM's JSON form. A model with a price that is none is left out and named; a text that is no such list throws
 * `BadCostMapError`.
 */
export function readCostMap(text: string): ReadCostMap {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadCostMapError('it is not JSON');
  }
  const models = objectOf(value as JsonObject);
  if (models === null) throw new BadCostMapError('it is not an object of models');
  const names = Object.keys(models);
  if (names.length === 0) throw new BadCostMapError('it has no models');
  if (names.length > COST_MAP_MODELS_MAX) {
    throw new BadCostMapError(`it has ${names.length} models; ${COST_MAP_MODELS_MAX} are the most`);
  }
  const entries = new Map<string, CostMapEntry>();
  const problems: CostMapProblem[] = [];
  for (const name of names) {
    const fields = objectOf(models[name]);
    if (name === SAMPLE) continue;
    if (fields === null || name.length > NAME_CHARS_MAX) {
      problems.push({ model: name.slice(0, NAME_CHARS_MAX), reason: 'its value is not an object' });
      continue;
    }
    try {
      entries.set(name, costMapEntry(fields));
    } catch (error) {
      if (!(error instanceof BadPriceError)) throw error;
      problems.push({ model: name, reason: error.message });
    }
  }
  if (entries.size === 0) throw new BadCostMapError('none of its models can be used');
  return { entries, problems };
}

export function costMapEntry(fields: JsonObject): CostMapEntry {
  const provider = textOf(fields.litellm_provider);
  const parsed = parsePricing(fields, tiersFromOf(provider));
  return { fields, provider, pricing: parsed.isComplete ? completePricing(parsed) : null };
}

export function tiersFromOf(provider: string | null): 'above' | 'at' {
  return provider === 'xai' ? 'at' : 'above';
}

/** A model to be priced. */
export interface ModelName {
  readonly provider: string;
  readonly model: string;
  /** The name is the operator's (`base_model`): an entry of any provider is meant. */
  readonly isGiven?: boolean;
}

/** The name in the list that stands for a model, or null. With its prefix first; without it when the entry says that it is of that provider. */
export function nameInCostMap(map: CostMap, { isGiven = false, model, provider }: ModelName): string | null {
  const prefixed = `${provider}/${model}`;
  if (map.get(prefixed)?.pricing != null) return prefixed;
  const bare = map.get(model);
  if (bare?.pricing == null) return null;
  return isGiven || isOf(provider, bare.provider) ? model : null;
}

/** `vertex_ai-language-models` is of `vertex_ai`, `bedrock_converse` of `bedrock`. */
export function isOf(provider: string, listed: string | null): boolean {
  if (listed === null) return false;
  return (
    listed === provider ||
    listed.startsWith(`${provider}-`) ||
    listed.startsWith(`${provider}_`) ||
    listed === `text-completion-${provider}`
  );
}

export interface AcceptOptions {
  readonly isInUse: (name: string, entry: CostMapEntry) => boolean;
  /** Names whose change somebody has confirmed. */
  readonly isConfirmed: (name: string) => boolean;
}

export interface AcceptedCostMap {
  readonly entries: CostMap;
  /** Changes that wait for somebody to confirm them. */
  readonly held: readonly CostMapProblem[];
}

/**
 * What counts when `read` comes after `before`: all of it, but for models in use whose price jumps and models that can not be read. Those stay
 * as they were.
 */
export function acceptCostMap(before: CostMap, read: ReadCostMap, options: AcceptOptions): AcceptedCostMap {
  const entries = new Map(read.entries);
  const held: CostMapProblem[] = [];
  for (const { model } of read.problems) {
    const former = before.get(model);
    if (former !== undefined) entries.set(model, former);
  }
  for (const [model, former] of before) {
    const now = entries.get(model);
    if (now === former || former.pricing === null || !options.isInUse(model, former) || options.isConfirmed(model))
      continue;
    const reason = priceJump(former.pricing, now?.pricing ?? null);
    if (reason === null) continue;
    entries.set(model, former);
    held.push({ model, reason });
  }
  return { entries, held };
}

/** The list as a file that `readCostMap` reads. */
export function costMapText(entries: CostMap): string {
  return JSON.stringify(Object.fromEntries([...entries].map(([name, { fields }]) => [name, fields])));
}

/** From so many times up or down, a change of a price waits for somebody to confirm it. */
export const PRICE_JUMP_FACTOR = 5;

/** The first rate that changed fivefold or more, as a sentence without its model; null when none did. */
export function priceJump(before: Pricing | null, after: Pricing | null): string | null {
  if (before === null) return null;
  if (after === null) return 'has no price any more';
  for (const name of new Set([...rateNames(before), ...rateNames(after)])) {
    const old = effectiveRate(before, name);
    const now = effectiveRate(after, name);
    if (old === now) continue;
    const [low, high] = old < now ? [old, now] : [now, old];
    if (high >= low * PRICE_JUMP_FACTOR) {
      return `changes its price (${name}) from ${dollars(old)} to ${dollars(now)} dollars per unit`;
    }
  }
  return null;
}

function rateNames({ more }: Pricing): RateName[] {
  return [...TOKEN_RATES, ...Object.keys(more?.rates ?? {})] as RateName[];
}

/** What a unit costs, also when it has no rate of its own. */
function effectiveRate(pricing: Pricing, name: RateName): number {
  if (TOKEN_RATES.has(name)) {
    const direction = name === 'output' || name === 'reasoning' || name === 'outputAudio' ? 'output' : 'input';
    return pricing[name as 'input'] ?? pricing[direction];
  }
  const rate = pricing.more?.rates[name as 'request'];
  if (rate !== undefined) return rate;
  if (name === 'cacheWrite1h') return pricing.cacheWrite ?? pricing.input;
  if (name === 'inputImageToken' || name === 'inputVideoToken') return pricing.input;
  return name === 'outputImageToken' || name === 'outputVideoToken' ? pricing.output : 0;
}

function dollars(pico: number): string {
  return String(pico / 1e12);
}
