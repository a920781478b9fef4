import { calculateSpendRoute } from '../../../contract/routes/prices.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { objectOf, textOf } from '../../../domain/json-fields.ts';
import { dollarsFromNano } from '../../../domain/money.ts';
import { parseUsage, usageIn } from '../../../domain/parse-usage.ts';
import { costOfCall } from '../../../domain/price-usage.ts';
import { NO_USAGE, type TokenUsage } from '../../../domain/usage.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import { findPrice } from '../../prices/find-price.ts';
import { endpoint } from '../handler.ts';

export const calculateSpendEndpoint = endpoint(calculateSpendRoute, async ({ body, caller }, context) => {
  const answer = objectOf((body.completion_response ?? null) as JsonObject | null);
  const model = body.model ?? textOf(answer?.model);
  if (model === null) throw badRequest('model is missing: give it, or a completion_response that names it');
  const usage = answer === null ? usageOfMessages(body.messages ?? null) : usageOfAnswer(answer);
  const price = await findPrice(model, undefined, caller, context);
  if (price === null && usage.extras?.reportedNano === undefined) throw badRequest(`no price is known for ${model}`);
  const { costNano } = costOfCall(usage, price?.pricing ?? null, context.clock.nowMs(), 0);
  return { json: { cost: dollarsFromNano(costNano) } };
});

function usageOfAnswer(answer: JsonObject): TokenUsage {
  const reported = usageIn(answer);
  const usage = reported === null ? null : parseUsage(reported, textOf(answer.service_tier));
  if (usage === null) throw badRequest('completion_response has no usage to calculate from');
  return usage;
}

/** English text and JSON have about so many bytes per token. */
const BYTES_PER_TOKEN = 3.5;

function usageOfMessages(messages: readonly unknown[] | null): TokenUsage {
  if (messages === null) throw badRequest('give messages, or a completion_response');
  const promptTokens = Math.ceil(Buffer.byteLength(JSON.stringify(messages)) / BYTES_PER_TOKEN);
  return { ...NO_USAGE, promptTokens, totalTokens: promptTokens };
}

function badRequest(reason: string): ClavigerError {
  return new ClavigerError('bad_request', { reason });
}
