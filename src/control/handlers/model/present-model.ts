import type { ModelEntry } from '../../../domain/config-source.ts';
import type { Deployment } from '../../../domain/deployment.ts';
import { numberOf } from '../../../domain/json-fields.ts';
import type { Pico } from '../../../domain/money.ts';
import type { ModelRecord } from '../../../domain/stored-model.ts';
import type { JsonObject, JsonValue } from '../../../domain/virtual-key.ts';
import { maskModelSecrets, withoutModelSecrets } from '../../config/model-secrets.ts';

/** The answer to a write: the row in LiteLLM's column names, secrets masked. */
export function presentModelRow(model: ModelRecord): JsonObject {
  return {
    ...(model as unknown as JsonObject),
    litellm_params: maskModelSecrets(model.litellm_params),
    model_info: { ...model.model_info, id: model.model_id, db_model: true },
  };
}

/** A model in a list, wherever it lives. */
export interface ListedModel {
  readonly id: string;
  readonly modelName: string;
  readonly litellmParams: JsonObject;
  readonly modelInfo: JsonObject;
  /** Null: it is in the file. */
  readonly record: ModelRecord | null;
  /** Compiled, or null when it can not be used. */
  readonly deployment: Deployment | null;
  /** It stands in the file in place of one of the database. */
  readonly overridesDatabase: boolean;
}

export function listedFromEntry(
  entry: ModelEntry,
  rest: Pick<ListedModel, 'deployment' | 'id' | 'overridesDatabase'>,
): ListedModel {
  const { modelInfo, modelName } = entry;
  return { ...rest, modelName, litellmParams: entry.writtenParams ?? entry.litellmParams, modelInfo, record: null };
}

export function listedFromRecord(record: ModelRecord, deployment: Deployment | null): ListedModel {
  const { litellm_params, model_id, model_info, model_name } = record;
  return {
    id: model_id,
    modelName: model_name,
    litellmParams: litellm_params,
    modelInfo: model_info,
    record,
    deployment,
    overridesDatabase: false,
  };
}

/** An admin sees secrets masked; others see neither secrets nor addresses. */
export function presentListedModel(model: ListedModel, isAdmin: boolean): JsonObject {
  const params = isAdmin
    ? maskModelSecrets(model.litellmParams)
    : withoutAddress(withoutModelSecrets(model.litellmParams));
  return { model_name: model.modelName, litellm_params: params, model_info: infoOf(model, isAdmin) };
}

function infoOf(model: ListedModel, isAdmin: boolean): JsonObject {
  const { deployment, id, modelInfo, overridesDatabase, record } = model;
  return {
    ...Object.fromEntries(SHOWN_NUMBERS.map((name): [string, JsonValue] => [name, shownNumber(model, name)])),
    ...modelInfo,
    id,
    db_model: record !== null,
    key: deployment?.model ?? null,
    litellm_provider: deployment?.provider ?? null,
    mode: modelInfo.mode ?? 'chat',
    direct_access: true,
    access_via_team_ids: [],
    ...(overridesDatabase ? { overrides_db_model: true } : {}),
    ...(record !== null && isAdmin
      ? {
          created_at: record.created_at,
          created_by: record.created_by,
          updated_at: record.updated_at,
          updated_by: record.updated_by,
        }
      : {}),
  };
}

/** As the entry says; when it says no price at all, prices are those of the price list. */
export function shownNumber(
  { deployment, litellmParams, modelInfo }: ListedModel,
  name: (typeof SHOWN_NUMBERS)[number],
): number | null {
  const own = (field: string): number | null => numberOf(litellmParams[field]) ?? numberOf(modelInfo[field]);
  const rate = Object.hasOwn(LISTED_PRICES, name) ? LISTED_PRICES[name as keyof typeof LISTED_PRICES] : null;
  if (rate === null || Object.keys(LISTED_PRICES).some((field) => own(field) !== null)) return own(name);
  const pricing = deployment?.pricing ?? null;
  return pricing === null ? null : dollarsPerToken(pricing[rate]);
}

const LISTED_PRICES = { input_cost_per_token: 'input', output_cost_per_token: 'output' } as const;

function dollarsPerToken(rate: Pico): number {
  return Number(`${rate}e-12`);
}

/** Always there, as in LiteLLM; null when neither the entry nor the price list says. */
const SHOWN_NUMBERS = [
  'max_tokens',
  'max_input_tokens',
  'max_output_tokens',
  'input_cost_per_token',
  'output_cost_per_token',
] as const;

function withoutAddress(params: JsonObject): JsonObject {
  const { api_base: _a, base_url: _b, headers: _c, extra_headers: _d, ...shown } = params;
  return shown;
}
