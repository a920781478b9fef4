import type { JsonObject } from './virtual-key.ts';

/** A `model_list` entry that lives in the database, and so in the whole fleet. */
export interface StoredModel {
  /** `model_info.id`; a deployment is known by it everywhere. */
  readonly id: string;
  readonly modelName: string;
  /** Secrets in here are sealed: `{ $sealed, fingerprint, shown }` in place of the text. */
  readonly litellmParams: JsonObject;
  /** `regions`: names of the regions that may use it; empty or absent: all. */
  readonly modelInfo: JsonObject;
}

/** The regions that may use a model; empty: all. */
export function regionsOf(model: Pick<StoredModel, 'modelInfo'>): readonly string[] {
  const { regions } = model.modelInfo;
  return Array.isArray(regions) ? regions.filter((region) => typeof region === 'string') : [];
}

/** A model that a region may not use never travels there. */
export function servesRegion(model: Pick<StoredModel, 'modelInfo'>, region: string): boolean {
  const regions = regionsOf(model);
  return regions.length === 0 || regions.includes(region);
}
