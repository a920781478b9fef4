import type { Deployment } from '../../domain/deployment.ts';
import { ZERO_NANO } from '../../domain/money.ts';
import { type CallCost, costOfCall } from '../../domain/price-usage.ts';
import { NO_USAGE, type TokenUsage } from '../../domain/usage.ts';
import type { Exchange } from '../exchange.ts';
import { estimatePromptTokens } from '../metering/estimate-cost.ts';

/** Of an attempt that has not ended. */
export const NO_COST: CallCost = { costNano: ZERO_NANO, breakdown: null };

/** What an attempt cost: by the prices of its deployment, else by those of the name in the answer. */
export function priceAttempt(
  { context }: Exchange,
  deployment: Deployment,
  usage: TokenUsage,
  answeredModel: string | null,
  durationMs: number,
): CallCost {
  const { clock, knowledge } = context;
  const pricing =
    deployment.pricing ??
    (answeredModel === null ? null : knowledge.configuration.priceOfAnswer(deployment, answeredModel));
  return costOfCall(usage, pricing, clock.nowMs(), durationMs);
}

/** Nothing says what the call cost: it counts as 0, and the answer names no cost. */
export function isUnpriced({ formulaNano, providerNano }: CallCost): boolean {
  return formulaNano === null && providerNano === undefined;
}

/** Usage of an answer that says nothing of it. */
export function estimatedUsage({ body, endpoint }: Exchange, completionTokens: number): TokenUsage {
  const promptTokens = estimatePromptTokens(body!);
  const completion = endpoint.kind === 'embeddings' ? 0 : completionTokens;
  return { ...NO_USAGE, promptTokens, completionTokens: completion, totalTokens: promptTokens + completion };
}
