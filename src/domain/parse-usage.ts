import { parseUsageExtras } from './parse-usage-extras.ts';
import type { TokenUsage } from './usage.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

/** A count above this is not believed and cut to it; it is also the largest number of the columns it goes into. */
export const TOKENS_MAX = 2_147_483_647;

/**
 * The `usage` object of an OpenAI-compatible answer in OpenAI's convention, whatever dialect the provider speaks. Null when
 * it holds no counts at all. `serviceTier` is what the answer says beside its usage.
 */
export function parseUsage(usage: JsonObject, serviceTier: string | null = null): TokenUsage | null {
  const prompt = count(usage.prompt_tokens) ?? count(usage.input_tokens);
  const completion = count(usage.completion_tokens) ?? count(usage.output_tokens);
  const total = count(usage.total_tokens);
  const extras = parseUsageExtras(usage, serviceTier);
  if (prompt === null && completion === null && total === null && extras === undefined) return null;

  const promptDetails = object(usage.prompt_tokens_details) ?? object(usage.input_tokens_details) ?? {};
  const completionDetails = object(usage.completion_tokens_details) ?? object(usage.output_tokens_details) ?? {};
  const reasoningTokens = count(completionDetails.reasoning_tokens) ?? count(usage.reasoning_tokens) ?? 0;
  // Embeddings of some providers give nothing but a total.
  const promptTokens = prompt ?? Math.max(0, (total ?? 0) - (completion ?? 0));
  const completionTokens = withReasoning(promptTokens, completion ?? 0, reasoningTokens, total);
  return {
    promptTokens,
    completionTokens,
    totalTokens: total ?? bounded(promptTokens + completionTokens),
    cachedTokens:
      count(promptDetails.cached_tokens) ??
      count(usage.prompt_cache_hit_tokens) ?? // DeepSeek
      count(usage.num_cached_tokens) ?? // Mistral
      count(usage.cached_tokens) ?? // Moonshot
      count(usage.cache_read_input_tokens) ??
      0,
    cacheWriteTokens:
      count(promptDetails.cache_write_tokens) ??
      count(promptDetails.cache_creation_tokens) ??
      count(usage.cache_creation_input_tokens) ??
      0,
    reasoningTokens,
    audioInputTokens: count(promptDetails.audio_tokens) ?? 0,
    audioOutputTokens: count(completionDetails.audio_tokens) ?? 0,
    extras,
  };
}

/** Where an answer or a stream event keeps its usage: at the top, in `x_groq` (Groq) or in a choice (Moonshot). */
export function usageIn(answer: JsonObject): JsonObject | null {
  const top = object(answer.usage);
  if (top !== null) return top;
  const groq = object(object(answer.x_groq)?.usage);
  if (groq !== null) return groq;
  const choices = answer.choices;
  return Array.isArray(choices) ? object(object(choices[0])?.usage) : null;
}

/** Older xAI answers leave the reasoning out of the completion count, which only the total gives away. */
function withReasoning(prompt: number, completion: number, reasoning: number, total: number | null): number {
  return reasoning > 0 && total === prompt + completion + reasoning ? bounded(completion + reasoning) : completion;
}

function count(value: JsonValue | undefined): number | null {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) return null;
  return bounded(Math.round(value));
}

function bounded(tokens: number): number {
  return Math.min(tokens, TOKENS_MAX);
}

function object(value: JsonValue | undefined): JsonObject | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
}
