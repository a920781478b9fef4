import type { FakeScript } from './script.ts';
import { DEFAULT_SCRIPT, FakeScriptError, readScript } from './script.ts';
import { answerText, base64Vector, countTokens, embed, shortHash, tokenAt, wordTokens } from './text.ts';

/** A complete answer, its body cut into frames that are made when they are sent. */
export interface FakeAnswer {
  readonly script: FakeScript;
  readonly status: number;
  readonly headers: readonly string[];
  readonly frames: Frames;
}

export interface Frames {
  readonly count: number;
  at(index: number): Buffer;
}

export interface FakeQuestion {
  readonly method: string;
  /** Path below the API base, e.g. `/chat/completions`. */
  readonly path: string;
  readonly body: Buffer;
  /** Makes ids unique: number of the request in this process. */
  readonly sequence: number;
  readonly nowMs: number;
}

/** Choices per request, as at OpenAI; more are refused with 400. */
const CHOICES_MAX = 128;
const DIMENSIONS_DEFAULT = 1_536;
/** Above the largest real embedding model; more are refused with 400. */
const DIMENSIONS_MAX = 8_192;

type Json = { readonly [name: string]: unknown };

/** Decides the whole answer from the request: OpenAI's shape, its errors included. */
export function answerFor(question: FakeQuestion): FakeAnswer {
  const hash = shortHash(question.body);
  const requestId = `req_${hash}${question.sequence}`;
  let script: FakeScript | null = null;
  try {
    const body = parseBody(question);
    const read = readScript(stringField(body, 'model'), body.fake);
    script = read.script;
    if (script.fail === 'html') return htmlError(script, requestId);
    if (typeof script.fail === 'number') {
      const told = `The fake model was told to fail with ${script.fail}.`;
      return jsonAnswer(script, script.fail, requestId, errorBody(script.fail, told, null));
    }
    const context: Context = {
      body,
      script,
      model: read.model,
      id: `${hash}${question.sequence}`,
      created: Math.floor(question.nowMs / 1000),
    };
    if (question.path === '/embeddings') return jsonAnswer(script, 200, requestId, embeddings(context));
    const shape = question.path === '/completions' ? textShape(context) : chatShape(context);
    const choices = planChoices(context, shape.prompts);
    if (body.stream === true) return streamAnswer(script, requestId, streamFrames(context, shape, choices));
    return jsonAnswer(script, 200, requestId, completion(context, shape, choices));
  } catch (error) {
    if (error instanceof FakeScriptError) return refusal(script, 400, requestId, error.message, 'model');
    if (error instanceof BadRequest) return refusal(script, error.status, requestId, error.message, error.param);
    throw error;
  }
}

class BadRequest extends Error {
  readonly status: number;
  readonly param: string | null;
  constructor(status: number, param: string | null, message: string) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

interface Context {
  readonly body: Json;
  readonly script: FakeScript;
  readonly model: string;
  readonly id: string;
  readonly created: number;
}

/** What differs between chat and text completions. */
interface Shape {
  readonly idPrefix: string;
  readonly object: string;
  readonly streamObject: string;
  readonly prompts: readonly string[];
  readonly promptTokens: number;
  whole(text: string): Json;
  /** Null: this endpoint starts with its first text. */
  opening(): Json | null;
  piece(text: string): Json;
  closing(): Json;
}

interface Choice {
  readonly index: number;
  readonly words: readonly string[];
  readonly tokens: number;
  readonly chunks: number;
  readonly finishReason: 'stop' | 'length';
}

function parseBody(question: FakeQuestion): Json {
  const known = ['/chat/completions', '/completions', '/embeddings'];
  if (question.method !== 'POST' || !known.includes(question.path)) {
    throw new BadRequest(404, null, `The fake provider has no ${question.method} ${question.path}.`);
  }
  let body: unknown;
  try {
    body = JSON.parse(question.body.toString('utf8'));
  } catch {
    throw new BadRequest(400, null, 'The body is not valid JSON.');
  }
  if (!isObject(body)) throw new BadRequest(400, null, 'The body must be a JSON object.');
  return body;
}

function chatShape({ body }: Context): Shape {
  const messages = body.messages;
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new BadRequest(400, 'messages', `"messages" must be an array with at least one message.`);
  }
  let promptTokens = 3;
  let prompt = '';
  for (const message of messages) {
    if (!isObject(message)) throw new BadRequest(400, 'messages', `Each of "messages" must be an object.`);
    const text = contentText(message.content);
    promptTokens += 3 + countTokens(text);
    if (message.role === 'user') prompt = text;
  }
  return {
    idPrefix: 'chatcmpl-',
    object: 'chat.completion',
    streamObject: 'chat.completion.chunk',
    prompts: [prompt],
    promptTokens,
    whole: (text) => ({ message: { role: 'assistant', content: text, refusal: null } }),
    opening: () => ({ delta: { role: 'assistant', content: '' } }),
    piece: (text) => ({ delta: { content: text } }),
    closing: () => ({ delta: {} }),
  };
}

function textShape({ body }: Context): Shape {
  const prompts = texts(body.prompt, 'prompt');
  return {
    idPrefix: 'cmpl-',
    object: 'text_completion',
    streamObject: 'text_completion',
    prompts: prompts.map((prompt) => prompt.text),
    promptTokens: prompts.reduce((sum, prompt) => sum + prompt.tokens, 0),
    whole: (text) => ({ text }),
    opening: () => null,
    piece: (text) => ({ text }),
    closing: () => ({ text: '' }),
  };
}

function planChoices({ body, script }: Context, prompts: readonly string[]): Choice[] {
  const n = body.n === undefined || body.n === null ? 1 : body.n;
  if (typeof n !== 'number' || !Number.isInteger(n) || n < 1 || n > CHOICES_MAX) {
    throw new BadRequest(400, 'n', `"n" must be a whole number from 1 to ${CHOICES_MAX}.`);
  }
  const limit = tokenLimit(body);
  const choices: Choice[] = [];
  for (const prompt of prompts) {
    const words = wordTokens(answerText(prompt));
    const wanted = script.tokens ?? words.length;
    const tokens = Math.min(wanted, limit);
    const chunks = Math.min(script.chunks ?? tokens, Math.max(tokens, 1));
    for (let i = 0; i < n; i++) {
      choices.push({
        index: choices.length,
        words,
        tokens,
        chunks: tokens === 0 ? 0 : Math.max(chunks, 1),
        finishReason: tokens < wanted ? 'length' : 'stop',
      });
    }
  }
  return choices;
}

function tokenLimit(body: Json): number {
  for (const name of ['max_completion_tokens', 'max_tokens']) {
    const value = body[name];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
      throw new BadRequest(400, name, `"${name}" must be a whole number of at least 0.`);
    }
    return value;
  }
  return Number.POSITIVE_INFINITY;
}

function completion(context: Context, shape: Shape, choices: readonly Choice[]): Json {
  return {
    ...envelope(context, shape, shape.object),
    choices: choices.map((choice) => ({
      index: choice.index,
      ...shape.whole(pieceOf(choice, 0, choice.tokens)),
      logprobs: null,
      finish_reason: choice.finishReason,
    })),
    ...(context.script.usage ? { usage: completionUsage(context, shape, choices) } : {}),
  };
}

/** Opening chunks, then the choices' content in turns, closing chunks, perhaps usage, `[DONE]`. */
function streamFrames(context: Context, shape: Shape, choices: readonly Choice[]): Frames {
  const options = context.body.stream_options;
  const includeUsage = isObject(options) && options.include_usage === true && context.script.usage;
  const start = envelope(context, shape, shape.streamObject);
  const nullUsage = includeUsage ? { usage: null } : {};
  const chunk = (choice: Choice, part: Json, finishReason: string | null): Buffer =>
    event({
      ...start,
      choices: [{ index: choice.index, ...part, logprobs: null, finish_reason: finishReason }],
      ...nullUsage,
    });

  const opening = shape.opening();
  const openings = opening === null ? 0 : choices.length;
  const chunksEach = choices.reduce((most, choice) => Math.max(most, choice.chunks), 0);
  const contents = chunksEach * choices.length;
  const closings = openings + contents;
  const usageAt = closings + choices.length;
  const done = includeUsage ? usageAt + 1 : usageAt;
  return {
    count: done + 1,
    at(index) {
      if (index === done) return Buffer.from('data: [DONE]\n\n');
      if (index === usageAt) return event({ ...start, choices: [], usage: completionUsage(context, shape, choices) });
      const choice = choices[index < openings ? index : (index - openings) % choices.length];
      if (choice === undefined) throw new RangeError(`no chunk ${index}`);
      if (opening !== null && index < openings) return chunk(choice, opening, null);
      if (index >= closings) return chunk(choice, shape.closing(), choice.finishReason);
      const turn = Math.floor((index - openings) / choices.length);
      const from = Math.floor((choice.tokens * turn) / chunksEach);
      const to = Math.floor((choice.tokens * (turn + 1)) / chunksEach);
      return chunk(choice, shape.piece(pieceOf(choice, from, to)), null);
    },
  };
}

function pieceOf(choice: Choice, from: number, to: number): string {
  let text = '';
  for (let i = from; i < to; i++) text += tokenAt(choice.words, i);
  return text;
}

function completionUsage({ script }: Context, shape: Shape, choices: readonly Choice[]): Json {
  const prompt = script.promptTokens ?? shape.promptTokens;
  const written = choices.reduce((sum, choice) => sum + choice.tokens, 0) + script.reasoningTokens;
  return {
    prompt_tokens: prompt,
    completion_tokens: written,
    total_tokens: prompt + written,
    prompt_tokens_details: { cached_tokens: Math.min(script.cachedTokens, prompt), audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: script.reasoningTokens, audio_tokens: 0 },
  };
}

function embeddings({ body, script, model }: Context): Json {
  const inputs = texts(body.input, 'input');
  const dimensions = body.dimensions ?? DIMENSIONS_DEFAULT;
  if (
    typeof dimensions !== 'number' ||
    !Number.isInteger(dimensions) ||
    dimensions < 1 ||
    dimensions > DIMENSIONS_MAX
  ) {
    throw new BadRequest(400, 'dimensions', `"dimensions" must be a whole number from 1 to ${DIMENSIONS_MAX}.`);
  }
  const format = body.encoding_format ?? 'float';
  if (format !== 'float' && format !== 'base64') {
    throw new BadRequest(400, 'encoding_format', `"encoding_format" must be "float" or "base64".`);
  }
  const tokens = script.promptTokens ?? inputs.reduce((sum, input) => sum + input.tokens, 0);
  return {
    object: 'list',
    data: inputs.map((input, index) => {
      const vector = embed(input.text, dimensions);
      return { object: 'embedding', index, embedding: format === 'base64' ? base64Vector(vector) : [...vector] };
    }),
    model,
    ...(script.usage ? { usage: { prompt_tokens: tokens, total_tokens: tokens } } : {}),
  };
}

/** A string, a list of strings, one list of token ids, or a list of those. */
function texts(value: unknown, name: string): { readonly text: string; readonly tokens: number }[] {
  const one = (item: unknown): { readonly text: string; readonly tokens: number } => {
    if (typeof item === 'string') return { text: item, tokens: countTokens(item) };
    if (Array.isArray(item) && item.every((id) => typeof id === 'number')) {
      return { text: item.join(' '), tokens: item.length };
    }
    throw new BadRequest(400, name, `"${name}" must be a string, a list of strings, or token ids.`);
  };
  if (Array.isArray(value) && value.length > 0 && typeof value[0] !== 'number') return value.map(one);
  if (Array.isArray(value) && value.length === 0) throw new BadRequest(400, name, `"${name}" must not be empty.`);
  return [one(value)];
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part) => (isObject(part) && typeof part.text === 'string' ? part.text : '')).join('\n');
}

function envelope(context: Context, shape: Shape, object: string): Json {
  return {
    id: `${shape.idPrefix}${context.id}`,
    object,
    created: context.created,
    model: context.model,
    system_fingerprint: 'fp_fake',
  };
}

function jsonAnswer(script: FakeScript, status: number, requestId: string, body: Json): FakeAnswer {
  const bytes = Buffer.from(JSON.stringify(body));
  const headers = ['content-type', 'application/json', 'content-length', `${bytes.length}`, 'x-request-id', requestId];
  if (status === 429 || status === 503) headers.push('retry-after', '1');
  return { script, status, headers, frames: { count: 1, at: () => bytes } };
}

function streamAnswer(script: FakeScript, requestId: string, frames: Frames): FakeAnswer {
  const headers = ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache'];
  return { script, status: 200, headers: [...headers, 'x-request-id', requestId], frames };
}

function htmlError(script: FakeScript, requestId: string): FakeAnswer {
  const bytes = Buffer.from(
    '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>\r\n',
  );
  const headers = ['content-type', 'text/html', 'content-length', `${bytes.length}`, 'x-request-id', requestId];
  return { script, status: 502, headers, frames: { count: 1, at: () => bytes } };
}

/** A request that is itself wrong gets no latency and no scripted failure when its script could not be read. */
function refusal(
  script: FakeScript | null,
  status: number,
  requestId: string,
  message: string,
  param: string | null,
): FakeAnswer {
  const plain: FakeScript = { ...DEFAULT_SCRIPT, latencyMs: script?.latencyMs ?? 0 };
  return jsonAnswer(plain, status, requestId, errorBody(status, message, param));
}

const ERROR_TYPES: Readonly<Record<number, readonly [type: string, code: string | null]>> = {
  401: ['invalid_request_error', 'invalid_api_key'],
  403: ['permission_error', null],
  404: ['invalid_request_error', 'not_found'],
  429: ['rate_limit_error', 'rate_limit_exceeded'],
};

function errorBody(status: number, message: string, param: string | null): Json {
  const [type, code] = ERROR_TYPES[status] ?? [status >= 500 ? 'server_error' : 'invalid_request_error', null];
  return { error: { message, type, param, code } };
}

function stringField(body: Json, name: string): string {
  const value = body[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new BadRequest(400, name, `"${name}" must be a string that is not empty.`);
}

function event(data: Json): Buffer {
  return Buffer.from(`data: ${JSON.stringify(data)}\n\n`);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
