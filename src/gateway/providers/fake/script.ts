/**
 * What the fake provider is told to do with one request. The script is written behind the model name like a query
 * (`gpt?latency_ms=50&tokens=20`), or in the body field `fake`, which wins field by field. It depends on nothing but the
 * request, so the same request always gets the same behaviour.
 */
export interface FakeScript {
  /** Until the head of the answer. */
  readonly latencyMs: number;
  /** From the head to the first byte of the body: a slow first token. */
  readonly firstChunkMs: number;
  /** Between two chunks of a stream. */
  readonly chunkMs: number;
  /** Completion tokens per choice; null: as many as the text has. */
  readonly tokens: number | null;
  /** Content chunks of a stream per choice; null: one per token. */
  readonly chunks: number | null;
  /** Null: counted from the request. */
  readonly promptTokens: number | null;
  readonly cachedTokens: number;
  readonly reasoningTokens: number;
  /** False: the answer carries no usage at all. */
  readonly usage: boolean;
  readonly fail: FakeFailure | null;
  /** Chunks that still arrive before `cut` and `stall`; null: half of them. */
  readonly failAfter: number | null;
}

/** A status is answered with OpenAI's error JSON; the words are failures that no provider would admit to. */
export type FakeFailure = number | FakeFailureName;

const FAILURE_NAMES = ['refuse', 'reset', 'hang', 'html', 'garbage', 'cut', 'stall'] as const;
export type FakeFailureName = (typeof FAILURE_NAMES)[number];

/** A longer answer would only test patience; the script is refused with 400 above these. */
export const FAKE_TOKENS_MAX = 1_000_000;
export const FAKE_DELAY_MS_MAX = 3_600_000;

export const DEFAULT_SCRIPT: FakeScript = {
  latencyMs: 0,
  firstChunkMs: 0,
  chunkMs: 0,
  tokens: null,
  chunks: null,
  promptTokens: null,
  cachedTokens: 0,
  reasoningTokens: 0,
  usage: true,
  fail: null,
  failAfter: null,
};

/** The script can not be followed; the message is for the person who wrote it. */
export class FakeScriptError extends Error {}

/** Splits `gpt?tokens=20` (with or without the `fake/` prefix) into the model's name and its script. */
export function readScript(model: string, bodyField: unknown): { readonly model: string; readonly script: FakeScript } {
  const bare = model.startsWith('fake/') ? model.slice(5) : model;
  const mark = bare.indexOf('?');
  const script: Writable<FakeScript> = { ...DEFAULT_SCRIPT };
  if (mark >= 0) {
    for (const [name, value] of new URLSearchParams(bare.slice(mark + 1))) apply(script, name, value);
  }
  if (bodyField !== undefined && bodyField !== null) {
    if (typeof bodyField !== 'object' || Array.isArray(bodyField)) {
      throw new FakeScriptError(`The field "fake" must be an object, for example {"latency_ms": 50}.`);
    }
    for (const [name, value] of Object.entries(bodyField)) apply(script, name, value);
  }
  return { model: mark >= 0 ? bare.slice(0, mark) : bare, script };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function apply(script: Writable<FakeScript>, name: string, value: unknown): void {
  switch (name) {
    case 'latency_ms':
      script.latencyMs = wholeNumber(name, value, FAKE_DELAY_MS_MAX);
      return;
    case 'first_chunk_ms':
      script.firstChunkMs = wholeNumber(name, value, FAKE_DELAY_MS_MAX);
      return;
    case 'chunk_ms':
      script.chunkMs = wholeNumber(name, value, FAKE_DELAY_MS_MAX);
      return;
    case 'tokens':
      script.tokens = wholeNumber(name, value, FAKE_TOKENS_MAX);
      return;
    case 'chunks':
      script.chunks = wholeNumber(name, value, FAKE_TOKENS_MAX);
      return;
    case 'prompt_tokens':
      script.promptTokens = wholeNumber(name, value, Number.MAX_SAFE_INTEGER);
      return;
    case 'cached_tokens':
      script.cachedTokens = wholeNumber(name, value, Number.MAX_SAFE_INTEGER);
      return;
    case 'reasoning_tokens':
      script.reasoningTokens = wholeNumber(name, value, Number.MAX_SAFE_INTEGER);
      return;
    case 'usage':
      script.usage = trueOrFalse(name, value);
      return;
    case 'fail':
      script.fail = failure(value);
      return;
    case 'fail_after':
      script.failAfter = wholeNumber(name, value, FAKE_TOKENS_MAX);
      return;
    default:
      throw new FakeScriptError(
        `The fake provider does not know "${name}". It knows latency_ms, first_chunk_ms, chunk_ms, tokens, chunks, ` +
          'prompt_tokens, cached_tokens, reasoning_tokens, usage, fail and fail_after.',
      );
  }
}

function wholeNumber(name: string, value: unknown, max: number): number {
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > max) {
    throw new FakeScriptError(`"${name}" of the fake provider must be a whole number from 0 to ${max}.`);
  }
  return number;
}

function trueOrFalse(name: string, value: unknown): boolean {
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw new FakeScriptError(`"${name}" of the fake provider must be true or false.`);
}

function failure(value: unknown): FakeFailure {
  const name = FAILURE_NAMES.find((known) => known === value);
  if (name !== undefined) return name;
  const status = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value;
  if (typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599) return status;
  throw new FakeScriptError(
    `"fail" of the fake provider must be a status from 400 to 599 or one of ${FAILURE_NAMES.join(', ')}.`,
  );
}
