import type { ModelEntry } from '../../../domain/config-source.ts';
import type { Deployment } from '../../../domain/deployment.ts';
import { numberOf } from '../../../domain/json-fields.ts';
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

function infoOf(
  { deployment, id, litellmParams, modelInfo, overridesDatabase, record }: ListedModel,
  isAdmin: boolean,
): JsonObject {
  const number = (name: string): number | null => numberOf(litellmParams[name]) ?? numberOf(modelInfo[name]);
  return {
    ...Object.fromEntries(SHOWN_NUMBERS.map((name): [string, JsonValue] => [name, number(name)])),
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

/** Always there, as in LiteLLM; null when the entry does not say. */
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
