import type { Pricing } from '../../domain/deployment.ts';
import { type Nano, ZERO_NANO } from '../../domain/money.ts';
import { priceUsage } from '../../domain/price-usage.ts';
import { NO_USAGE } from '../../domain/usage.ts';
import type { LlmBody } from '../http/llm-body.ts';

/** English text and JSON have about so many bytes per token. */
export const BYTES_PER_TOKEN = 3.5;
/** What an answer is taken to be when the request does not bound it, and the most that a bound is believed. */
export const COMPLETION_TOKENS_ESTIMATE = 1_000;

/** The parts of a request body that an estimate is made of. */
export type EstimableBody = Pick<LlmBody, 'bytes' | 'read'>;

export function estimatePromptTokens(body: EstimableBody): number {
  return Math.ceil(body.bytes.length / BYTES_PER_TOKEN);
}

/**
 * What a call will cost, as far as that is known before it is made. This is what a call is settled at when the process is
 * killed while the call is in flight. Without a price it is nothing, as is then the cost of the call.
 */
export function estimateCost(body: EstimableBody, pricing: Pricing | null): Nano {
  if (pricing === null) return ZERO_NANO;
  const promptTokens = estimatePromptTokens(body);
  const completionTokens = Math.min(completionTokensBound(body), COMPLETION_TOKENS_ESTIMATE);
  const usage = { ...NO_USAGE, promptTokens, completionTokens, totalTokens: promptTokens + completionTokens };
  return priceUsage(usage, pricing).costNano;
}

function completionTokensBound({ read }: EstimableBody): number {
  for (const name of ['max_completion_tokens', 'max_tokens']) {
    const bound = read[name];
    if (typeof bound === 'number' && Number.isSafeInteger(bound) && bound >= 0) return bound;
  }
  return COMPLETION_TOKENS_ESTIMATE;
}
