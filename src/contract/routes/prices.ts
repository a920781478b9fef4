import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import {
  calculatedSpend,
  calculateSpendBody,
  costMapResponse,
  estimateCostBody,
  estimatedCost,
  reloadedPrices,
  scheduleQuery,
  scheduleStatus,
} from '../schemas/prices.ts';

const tag = 'budget & spend tracking';

export const calculateSpendRoute = defineRoute({
  method: 'POST',
  path: '/spend/calculate',
  operationId: 'calculate_spend',
  tag,
  summary: 'What a call costs',
  description:
    'With `completion_response`: exactly what the prices of today make of its `usage`, a cost that it reports included. With `messages`: an ' +
    'estimate of the input.',
  access: 'any key',
  query: z.object({}),
  body: calculateSpendBody,
  response: calculatedSpend,
  errors: { 400: 'Nothing to calculate from, or a model without a price.' },
});

export const estimateCostRoute = defineRoute({
  method: 'POST',
  path: '/cost/estimate',
  operationId: 'estimate_cost',
  tag,
  summary: 'What calls of a size and number will cost',
  description: 'By the prices in force here: discount and margin included.',
  access: 'any key',
  query: z.object({}),
  body: estimateCostBody,
  response: estimatedCost,
  errors: { 400: 'No price is known for the model.' },
});

export const costMapRoute = defineRoute({
  method: 'GET',
  path: '/model/cost_map',
  operationId: 'get_cost_map',
  tag: 'model management',
  summary: 'The price list in force',
  description:
    "In LiteLLM's form: the list of this instance over the one of the release. Prices that entries of `model_list` have themselves are not in it.",
  access: 'any key',
  query: z.object({}),
  body: null,
  response: costMapResponse,
  errors: {},
});

export const reloadPricesRoute = defineRoute({
  method: 'POST',
  path: '/reload/model_cost_map',
  operationId: 'reload_model_cost_map',
  tag: 'model management',
  summary: 'Have all instances read their price lists again',
  description:
    'Each from its own LITELLM_MODEL_COST_MAP_URL, within seconds. A list that can not be read changes nothing; a price of a model in use that ' +
    'changes fivefold or more waits for `general_settings.confirmed_price_changes`.',
  access: 'proxy admin',
  query: z.object({}),
  body: null,
  response: reloadedPrices,
  errors: {},
});

export const schedulePricesRoute = defineRoute({
  method: 'POST',
  path: '/schedule/model_cost_map_reload',
  operationId: 'schedule_model_cost_map_reload',
  tag: 'model management',
  summary: 'Have all instances read their price lists every so many hours',
  description: 'One schedule for the fleet, kept in the database.',
  access: 'proxy admin',
  query: scheduleQuery,
  body: null,
  response: scheduleStatus,
  errors: {},
});

export const priceScheduleRoute = defineRoute({
  method: 'GET',
  path: '/schedule/model_cost_map_reload/status',
  operationId: 'get_model_cost_map_reload_status',
  tag: 'model management',
  summary: 'When price lists are read again',
  description: '',
  access: 'proxy admin',
  query: z.object({}),
  body: null,
  response: scheduleStatus,
  errors: {},
});
