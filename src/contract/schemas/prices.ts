import { z } from 'zod';
import { dict, float, int, text } from './lax.ts';

const tokens = int.pipe(z.int().min(0).max(2_147_483_647));
const requests = int.pipe(z.int().min(0).max(1_000_000_000)).nullish();

export const calculateSpendBody = z.object({
  model: text
    .nullish()
    .describe('A model of the fleet, or `provider/model` of the price list. Default: that of the answer.'),
  messages: z.array(dict).nullish().describe('Counted as text bytes ÷ 3.5; what an answer would cost is not known.'),
  completion_response: dict.nullish().describe('An answer with its `usage`.'),
});

export const calculatedSpend = z.object({ cost: z.number().describe('Dollars.') });

export const estimateCostBody = z.object({
  model: text,
  input_tokens: tokens.default(0),
  output_tokens: tokens.default(0),
  num_requests_per_day: requests,
  num_requests_per_month: requests,
  region: text.nullish().describe('Whose prices count, when a model has prices per region.'),
});

const dollars = z.number();
const perPeriod = dollars.nullable();

export const estimatedCost = z.object({
  model: z.string(),
  provider: z.string(),
  input_tokens: z.int(),
  output_tokens: z.int(),
  num_requests_per_day: z.int().nullable(),
  num_requests_per_month: z.int().nullable(),
  input_cost_per_token: dollars,
  output_cost_per_token: dollars,
  cost_per_request: dollars,
  input_cost_per_request: dollars,
  output_cost_per_request: dollars,
  margin_cost_per_request: dollars,
  daily_cost: perPeriod,
  daily_input_cost: perPeriod,
  daily_output_cost: perPeriod,
  daily_margin_cost: perPeriod,
  monthly_cost: perPeriod,
  monthly_input_cost: perPeriod,
  monthly_output_cost: perPeriod,
  monthly_margin_cost: perPeriod,
});

export const costMapResponse = z.record(z.string(), z.record(z.string(), z.unknown()));

export const reloadedPrices = z.object({
  status: z.literal('success'),
  message: z.string(),
  gateways: z.array(z.string()).describe('One gateway process of each instance that was asked.'),
  timestamp: z.iso.datetime(),
});

/** A year; LiteLLM has no bound. */
export const SCHEDULE_HOURS_MAX = 8_760;

export const scheduleQuery = z.object({
  hours: float.pipe(z.number().min(0).max(SCHEDULE_HOURS_MAX)).describe('Between two reads; 0 ends the schedule.'),
});

export const scheduleStatus = z.object({
  scheduled: z.boolean(),
  interval_hours: z.number().nullable(),
  last_run: z.iso.datetime().nullable(),
  next_run: z.iso.datetime().nullable(),
});
