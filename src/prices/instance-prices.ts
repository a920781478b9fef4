import { join } from 'node:path';
import type { PriceSource } from '../domain/configuration.ts';
import { type CostMap, type CostMapEntry, EMPTY_COST_MAP } from '../domain/cost-map.ts';
import { costMapFields } from '../domain/cost-map-fields.ts';
import type { Log } from '../observe/log.ts';
import { COST_MAP_FILE, CostMapCopy } from './cost-map-copy.ts';
import { createGenaiPriceSource } from './genai-prices.ts';
import { priceBook } from './price-book.ts';
import { rememberPrices } from './remember-prices.ts';

export interface InstancePrices {
  readonly source: PriceSource;
  readonly copy: CostMapCopy;
  /** All that is known: the list in the data directory over the bundled one. Takes tens of milliseconds. */
  readonly all: () => CostMap;
  /** Of the copy. */
  readonly path: string;
}

/** The prices of a process: the list in the data directory over the bundled one. `onChange` is called when they are others. */
export function instancePrices(
  { dataDir, modelCostMap }: { readonly dataDir: string; readonly modelCostMap: string | null },
  log: Pick<Log, 'warn'>,
  onChange: () => void = () => undefined,
): InstancePrices {
  const path = join(dataDir, COST_MAP_FILE);
  const copy = new CostMapCopy({
    path,
    log,
    onChange: () => {
      source.forget();
      onChange();
    },
  });
  // Without an address or a file to take it from, a copy is from before that was taken away.
  const isWanted = modelCostMap !== null;
  const bundled = createGenaiPriceSource();
  const listed = (): CostMap => (isWanted ? copy.entries : EMPTY_COST_MAP);
  const source = rememberPrices(priceBook(listed, bundled));
  const all = (): CostMap => {
    const entries = new Map<string, CostMapEntry>();
    for (const { model, pricing, provider } of bundled.all()) {
      entries.set(`${provider}/${model}`, { fields: costMapFields(pricing, provider), provider, pricing });
    }
    for (const [name, entry] of listed()) entries.set(name, entry);
    return entries;
  };
  return { source, copy, all, path };
}
