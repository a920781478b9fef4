import { modelGroupInfoRoute } from '../../../contract/routes/models.ts';
import { booleanOf, numberOf, textsOf } from '../../../domain/json-fields.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import { endpoint } from '../handler.ts';
import { type ListedModel, shownNumber } from './present-model.ts';
import { visibleModels } from './visible-models.ts';

/** Of models that can be used; a group of others only does not exist for clients either. */
export const modelGroupInfoEndpoint = endpoint(modelGroupInfoRoute, async ({ query, caller }, context) => {
  const groups = new Map<string, ListedModel[]>();
  const seen = new Set<string>();
  for (const model of await visibleModels(caller, context)) {
    // Of the same model in the file and in the database, the one of the file is used.
    if (model.deployment === null || seen.has(model.id)) continue;
    seen.add(model.id);
    if (query.model_group !== undefined && model.modelName !== query.model_group) continue;
    groups.set(model.modelName, [...(groups.get(model.modelName) ?? []), model]);
  }
  return { json: { data: [...groups].map(([name, models]) => presentGroup(name, models)) } };
});

const ABILITIES = [
  'supports_function_calling',
  'supports_parallel_function_calling',
  'supports_reasoning',
  'supports_vision',
  'supports_web_search',
] as const;

function presentGroup(name: string, models: readonly ListedModel[]): JsonObject {
  const known = (read: (model: ListedModel) => number | null): number[] =>
    models.map(read).filter((value) => value !== null);
  const largest = (field: Parameters<typeof shownNumber>[1]): number | null => {
    const values = known((model) => shownNumber(model, field));
    return values.length === 0 ? null : Math.max(...values);
  };
  const sum = (field: string): number | null => {
    const values = known(
      ({ litellmParams, modelInfo }) => numberOf(litellmParams[field]) ?? numberOf(modelInfo[field]),
    );
    return values.length === 0 ? null : values.reduce((total, value) => total + value, 0);
  };
  const can = (field: string): boolean => models.some(({ modelInfo }) => booleanOf(modelInfo[field], false));
  const params = [...new Set(models.flatMap(({ modelInfo }) => textsOf(modelInfo.supported_openai_params)))];
  return {
    model_group: name,
    providers: [...new Set(models.flatMap(({ deployment }) => (deployment === null ? [] : [deployment.provider])))],
    mode: models[0]?.deployment?.mode ?? 'chat',
    max_input_tokens: largest('max_input_tokens'),
    max_output_tokens: largest('max_output_tokens'),
    input_cost_per_token: largest('input_cost_per_token'),
    output_cost_per_token: largest('output_cost_per_token'),
    rpm: sum('rpm'),
    tpm: sum('tpm'),
    ...Object.fromEntries(ABILITIES.map((field): [string, boolean] => [field, can(field)])),
    supported_openai_params: params.length === 0 ? null : params,
    is_public_model_group: false,
    health_status: null,
  };
}
