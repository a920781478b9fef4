import type { JsonObject, JsonValue } from './virtual-key.ts';

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

/** The whole of it, as the control plane stores and logs it: LiteLLM's column names. Timestamps are ISO 8601 UTC. */
export interface ModelRecord {
  readonly model_id: string;
  readonly model_name: string;
  readonly litellm_params: JsonObject;
  readonly model_info: JsonObject;
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}

/** The part of a record that gateway processes route by; it travels in the feed. */
export function storedModelFrom(record: ModelRecord): StoredModel {
  return {
    id: record.model_id,
    modelName: record.model_name,
    litellmParams: record.litellm_params,
    modelInfo: record.model_info,
  };
}

/**
 * Models in the database. The control plane refuses one more; a gateway process that is sent more rejects that revision and goes on with
 * the one before. Each revision is compiled as a whole in the event loop of a gateway process, so this bounds how long that takes.
 */
export const DATABASE_MODELS_MAX = 2_000;
/** One model as JSON, sealed. 500 of them (`ENTITIES_PER_FRAME_MAX`) fit into a line of the feed. */
export const STORED_MODEL_BYTES_MAX = 32 * 1024;
/** Regions that one model names. */
export const REGIONS_PER_MODEL_MAX = 100;

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

/** What is wrong with `model_info.regions`, or null. A restriction that can not be read must never mean "everywhere". */
export function regionsProblem(regions: JsonValue | undefined): string | null {
  if (regions === undefined || regions === null) return null;
  if (!Array.isArray(regions)) return 'model_info.regions must be a list of names of regions.';
  if (regions.length > REGIONS_PER_MODEL_MAX) {
    return `model_info.regions names ${regions.length} regions; ${REGIONS_PER_MODEL_MAX} are the most.`;
  }
  const wrong = regions.find((region) => typeof region !== 'string' || !REGION_NAME.test(region));
  if (wrong === undefined) return null;
  return `model_info.regions holds ${JSON.stringify(wrong)?.slice(0, 80)}, which is not the name of a region (1 to 63 letters, digits, dots, dashes and underscores).`;
}

/** As `CLAVIGER_REGION` is checked. */
const REGION_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
