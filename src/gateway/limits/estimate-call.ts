import type { BudgetMode } from '../../domain/budget-terms.ts';
import type { Pricing } from '../../domain/deployment.ts';
import { type Nano, ZERO_NANO } from '../../domain/money.ts';
import { priceUsage } from '../../domain/price-usage.ts';
import { NO_USAGE } from '../../domain/usage.ts';
import { BYTES_PER_TOKEN, COMPLETION_TOKENS_ESTIMATE, type EstimableBody } from '../metering/estimate-cost.ts';

/** Pairs of key and model whose answers are remembered; the longest unused goes first. */
export const OBSERVED_PAIRS_MAX = 10_000;
/** Answers of a pair that the percentile is taken of. */
export const OBSERVED_ANSWERS = 32;
/** Models whose bytes per token are learnt. */
const OBSERVED_MODELS_MAX = 1_000;
/** Weight of the newest prompt in a model's bytes per token. */
const LEARNING_RATE = 0.05;
/** What a token may have at least and at most, so that one odd answer (a cached or a media prompt) does not spoil the rest. */
const BYTES_PER_TOKEN_MIN = 1;
const BYTES_PER_TOKEN_MAX = 8;
/** A strict call without a bound in the request or the model's entry. */
export const STRICT_COMPLETION_TOKENS = 128_000;

/**
 * What a call will cost, before it is made: from bytes and from what was seen of this model and this key, never with a tokenizer. `expected` is what
 * it will probably cost, `strict` what it can cost at most.
 */
export class CallEstimates {
  readonly #bytesPerToken = new Map<string, number>();
  readonly #answers = new Map<string, Answers>();

  estimate(
    body: EstimableBody,
    { pricing, token, model, mode, maxOutputTokens }: EstimatedCall,
    unpricedNano: Nano,
  ): Nano {
    if (pricing === null) return unpricedNano;
    const bytes = body.bytes.length;
    const strict = mode === 'strict';
    const promptTokens = Math.ceil(strict ? bytes : bytes / (this.#bytesPerToken.get(model) ?? BYTES_PER_TOKEN));
    const bound = completionBound(body);
    const completionTokens = strict
      ? (bound ?? maxOutputTokens ?? STRICT_COMPLETION_TOKENS)
      : Math.min(bound ?? Number.POSITIVE_INFINITY, this.#usualAnswer(token, model));
    const choices = choicesOf(body);
    const usage = { ...NO_USAGE, promptTokens, completionTokens: completionTokens * choices, totalTokens: 0 };
    const { costNano } = priceUsage(usage, pricing);
    return costNano < 0 ? ZERO_NANO : costNano;
  }

  /** Learns from an answer whose counts are the provider's. */
  observe(token: string, model: string, bodyBytes: number, promptTokens: number, completionTokens: number): void {
    if (promptTokens > 0) {
      const seen = Math.min(BYTES_PER_TOKEN_MAX, Math.max(BYTES_PER_TOKEN_MIN, bodyBytes / promptTokens));
      const known = this.#bytesPerToken.get(model);
      if (known === undefined && this.#bytesPerToken.size >= OBSERVED_MODELS_MAX) return;
      this.#bytesPerToken.set(model, known === undefined ? seen : known + (seen - known) * LEARNING_RATE);
    }
    const pair = `${token}\0${model}`;
    let answers = this.#answers.get(pair);
    if (answers === undefined) {
      if (this.#answers.size >= OBSERVED_PAIRS_MAX) this.#answers.delete(this.#answers.keys().next().value!);
      answers = new Answers();
    } else this.#answers.delete(pair);
    this.#answers.set(pair, answers);
    answers.add(completionTokens);
  }

  #usualAnswer(token: string, model: string): number {
    return this.#answers.get(`${token}\0${model}`)?.percentile95 ?? COMPLETION_TOKENS_ESTIMATE;
  }
}

export interface EstimatedCall {
  readonly pricing: Pricing | null;
  readonly token: string;
  /** Model group. */
  readonly model: string;
  readonly mode: BudgetMode;
  /** Of the model's entry, or null. */
  readonly maxOutputTokens: number | null;
}

/** The last answers of one key and model, in tokens. */
class Answers {
  readonly #tokens: number[] = [];
  #next = 0;
  #percentile95: number | null = null;

  add(tokens: number): void {
    this.#tokens[this.#next] = tokens;
    this.#next = (this.#next + 1) % OBSERVED_ANSWERS;
    this.#percentile95 = null;
  }

  get percentile95(): number {
    if (this.#percentile95 === null) {
      const sorted = [...this.#tokens].sort((a, b) => a - b);
      this.#percentile95 = sorted[Math.ceil(sorted.length * 0.95) - 1]!;
    }
    return this.#percentile95;
  }
}

function completionBound({ read }: EstimableBody): number | null {
  for (const name of ['max_completion_tokens', 'max_tokens']) {
    const bound = read[name];
    if (typeof bound === 'number' && Number.isSafeInteger(bound) && bound >= 0) return bound;
  }
  return null;
}

/** `n`: each choice is an answer of its own. */
function choicesOf({ read }: EstimableBody): number {
  const n = read['n'];
  return typeof n === 'number' && Number.isSafeInteger(n) && n > 1 ? n : 1;
}
