import { modelPageRoute } from '../../../contract/routes/models.ts';
import type { ModelPageQuery } from '../../../contract/schemas/model-request.ts';
import { ClavigerError, listText } from '../../../domain/error-catalogue.ts';
import { isProxyAdmin } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';
import { type ListedModel, presentListedModel, shownNumber } from './present-model.ts';
import { visibleModels } from './visible-models.ts';

export const listModelsEndpoint = endpoint(modelPageRoute, async ({ query, caller }, context) => {
  const compare = orderOf(query);
  const found = (await visibleModels(caller, context)).filter(filterOf(query));
  if (compare !== null) found.sort(compare);
  const start = (query.page - 1) * query.size;
  const isAdmin = isProxyAdmin(caller);
  return {
    json: {
      data: found.slice(start, start + query.size).map((model) => presentListedModel(model, isAdmin)),
      total_count: found.length,
      current_page: query.page,
      total_pages: Math.ceil(found.length / query.size),
      size: query.size,
    },
  };
});

function filterOf({ model, modelId, search }: ModelPageQuery): (listed: ListedModel) => boolean {
  const wanted = search?.toLowerCase();
  return (listed) =>
    (model === undefined || listed.modelName === model) &&
    (modelId === undefined || listed.id === modelId) &&
    (wanted === undefined || listed.modelName.toLowerCase().includes(wanted));
}

const ORDERS = {
  model_name: ({ modelName }: ListedModel) => modelName,
  created_at: ({ record }: ListedModel) => record?.created_at ?? '',
  updated_at: ({ record }: ListedModel) => record?.updated_at ?? '',
  costs: (model: ListedModel) => shownNumber(model, 'input_cost_per_token') ?? 0,
  /** In LiteLLM: of the file first. */
  status: ({ record }: ListedModel) => (record === null ? 0 : 1),
} as const;

/** Null: as they are listed. */
function orderOf({ sortBy, sortOrder }: ModelPageQuery): ((a: ListedModel, b: ListedModel) => number) | null {
  const direction = oneOf('sortOrder', sortOrder.toLowerCase(), ['asc', 'desc'] as const) === 'asc' ? 1 : -1;
  if (sortBy === undefined) return null;
  const keyOf = ORDERS[oneOf('sortBy', sortBy, Object.keys(ORDERS) as (keyof typeof ORDERS)[])];
  return (a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)];
    return left === right ? 0 : left < right ? -direction : direction;
  };
}

function oneOf<const T extends string>(field: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new ClavigerError('invalid_sort', { field, value, allowed: listText(allowed) }, { param: field });
}
