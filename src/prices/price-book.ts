import type { PriceSource } from '../domain/configuration.ts';
import { type CostMap, nameInCostMap } from '../domain/cost-map.ts';
import { splitPrefix } from './genai-prices.ts';

/**
 * All that is known of prices: a list in LiteLLM's form, where an instance has one, over the bundled list. A base model is looked for in both
 * before the name of the model is.
 */
export function priceBook(costMap: () => CostMap, bundled: PriceSource): PriceSource {
  return {
    find(provider, model, baseModel) {
      const map = costMap();
      if (baseModel !== null) {
        const base = splitPrefix(baseModel, provider);
        const found =
          listed(map, nameInCostMap(map, { provider, model: baseModel, isGiven: true })) ??
          listed(map, nameInCostMap(map, { ...base, isGiven: true })) ??
          bundled.find(base.provider, base.model, null);
        if (found !== null) return found;
      }
      return listed(map, nameInCostMap(map, { provider, model })) ?? bundled.find(provider, model, null);
    },
  };
}

function listed(map: CostMap, name: string | null) {
  return name === null ? null : (map.get(name)?.pricing ?? null);
}
