import type { PriceSource } from '../domain/configuration.ts';
import type { Pricing } from '../domain/deployment.ts';

/** Answers that are kept; at the bound all are forgotten. */
export const PRICES_REMEMBERED_MAX = 5_000;
/** A price may begin to count on some day, so that answers are not kept for ever. */
export const PRICES_REMEMBERED_MS = 60 * 60 * 1_000;

export interface RememberedPrices extends PriceSource {
  /** The source says something else from now on. */
  forget(): void;
}

/** The same prices, looked up once: a change of one model compiles all of them again, and looking up is most of that. */
export function rememberPrices(source: PriceSource, nowMs: () => number = Date.now): RememberedPrices {
  const known = new Map<string, Pricing | null>();
  let sinceMs = nowMs();
  return {
    find(provider, model, baseModel) {
      const atMs = nowMs();
      if (known.size >= PRICES_REMEMBERED_MAX || atMs - sinceMs >= PRICES_REMEMBERED_MS || atMs < sinceMs) {
        known.clear();
        sinceMs = atMs;
      }
      const key = `${provider}\n${model}\n${baseModel ?? ''}`;
      let pricing = known.get(key);
      if (pricing === undefined) {
        pricing = source.find(provider, model, baseModel);
        known.set(key, pricing);
      }
      return pricing;
    },
    forget() {
      known.clear();
    },
  };
}
