import type { TokenUsage } from '../../domain/usage.ts';
import { COMPLETION_TOKENS_ESTIMATE, type EstimableBody, estimatePromptTokens } from '../metering/estimate-cost.ts';

/** `general_settings.token_rate_limit_type`. */
export type CountedTokens = 'total' | 'input' | 'output';

/** What a call reserves of token limits. */
export interface TokenEstimate {
  readonly tokens: number;
  /** False: nobody bounded the answer. Then no more than a quarter of a limit is reserved, so that a small limit does not refuse every call. */
  readonly bounded: boolean;
}

export function estimateTokens(body: EstimableBody, counted: CountedTokens): TokenEstimate {
  const input = counted === 'output' ? 0 : estimatePromptTokens(body);
  if (counted === 'input') return { tokens: input, bounded: true };
  for (const name of ['max_completion_tokens', 'max_tokens']) {
    const bound = body.read[name];
    if (typeof bound === 'number' && Number.isSafeInteger(bound) && bound >= 0)
      return { tokens: input + bound, bounded: true };
  }
  return { tokens: input + COMPLETION_TOKENS_ESTIMATE, bounded: false };
}

/** What the estimate takes of one limit. Never more than the limit: a call that is larger than it passes when nothing else does. */
export function reservedTokens({ tokens, bounded }: TokenEstimate, limit: number): number {
  return Math.max(1, Math.min(tokens, bounded ? limit : Math.floor(limit / 4)));
}

export function countedTokens(usage: TokenUsage, counted: CountedTokens): number {
  if (counted === 'input') return usage.promptTokens;
  if (counted === 'output') return usage.completionTokens;
  return usage.totalTokens;
}
