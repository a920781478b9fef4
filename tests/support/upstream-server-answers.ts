import type { UpstreamScript } from './upstream-server-protocol.ts';

/** Bodies of the upstream server's answers: OpenAI's shapes, independent of the code under test. */

export const GARBAGE = Buffer.from([
  0xff, 0xfe, 0x80, 0x00, 0xc3, 0x28, 0x7b, 0xf0, 0x28, 0x8c, 0x28, 0x22, 0xed, 0xa0,
]);
export const NOT_HTTP = 'SSH-2.0-OpenSSH_9.9\r\n';
export const HTML = '<!doctype html><html><head><title>Bad gateway</title></head><body>nginx</body></html>';

const CREATED = 1_760_000_000;
/** A character of four bytes at the end of each word, so that streams can be cut inside one. */
const WORD = 'wörd🌍';

export function errorBody(status: number): object {
  const type = status === 429 ? 'rate_limit_error' : status >= 500 ? 'server_error' : 'invalid_request_error';
  return { error: { message: `The upstream answers ${status} as told.`, type, param: null, code: `told_${status}` } };
}

export function modelList(): object {
  return { object: 'list', data: [{ id: 'upstream-model', object: 'model', created: CREATED, owned_by: 'tests' }] };
}

export function jsonAnswer(path: string, number: number, model: string, body: Body, script: UpstreamScript): object {
  if (path.endsWith('/embeddings')) return embeddings(model, body, script);
  const text = Array.from({ length: script.completionTokens }, () => WORD).join(' ');
  const chat = path.endsWith('/chat/completions');
  return {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-upstream-${number}`,
    object: chat ? 'chat.completion' : 'text_completion',
    created: CREATED,
    model,
    choices: [
      {
        index: 0,
        ...(chat ? { message: { role: 'assistant', content: text, refusal: null } } : { text }),
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    ...(script.usage ? { usage: usage(script) } : {}),
  };
}

/** Events of a stream in order, each a complete SSE frame; the usage event only when the request asked for it. */
export function streamEvents(
  path: string,
  number: number,
  model: string,
  body: Body,
  script: UpstreamScript,
): Buffer[] {
  const chat = path.endsWith('/chat/completions');
  const start = {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-upstream-${number}`,
    object: chat ? 'chat.completion.chunk' : 'text_completion',
    created: CREATED,
    model,
  };
  const options = body.stream_options as { include_usage?: unknown } | undefined;
  const includeUsage = script.usage && options?.include_usage === true;
  const choice = (text: string, first: boolean, finish: string | null): object => ({
    ...start,
    choices: [
      {
        index: 0,
        ...(chat ? { delta: { ...(first ? { role: 'assistant' } : {}), content: text } } : { text }),
        logprobs: null,
        finish_reason: finish,
      },
    ],
    ...(includeUsage ? { usage: null } : {}),
  });
  const events: object[] = [];
  for (let i = 0; i < script.chunks; i++) events.push(choice(`${WORD} `, i === 0, null));
  events.push(choice('', false, 'stop'));
  if (includeUsage) events.push({ ...start, choices: [], usage: usage(script) });
  return events.map(sseEvent);
}

export function sseEvent(data: object): Buffer {
  return Buffer.from(`data: ${JSON.stringify(data)}\n\n`);
}

/** Where to cut so that the last character is incomplete. */
export function middleOfCharacter(event: Buffer): number {
  const at = event.indexOf(Buffer.from('🌍'));
  if (at < 0) throw new Error('this event has no character to cut');
  return at + 2;
}

/** A parsed request body, or an empty object when it is none. */
export type Body = { readonly [name: string]: unknown };

function embeddings(model: string, body: Body, script: UpstreamScript): object {
  const inputs = Array.isArray(body.input) && typeof body.input[0] !== 'number' ? body.input : [body.input];
  const vector = [0.25, -0.5, 0.75];
  const bytes = Buffer.from(Float32Array.from(vector).buffer);
  const embedding = body.encoding_format === 'base64' ? bytes.toString('base64') : vector;
  return {
    object: 'list',
    data: inputs.map((_, index) => ({ object: 'embedding', index, embedding })),
    model,
    ...(script.usage ? { usage: { prompt_tokens: script.promptTokens, total_tokens: script.promptTokens } } : {}),
  };
}

function usage(script: UpstreamScript): object {
  return {
    prompt_tokens: script.promptTokens,
    completion_tokens: script.completionTokens,
    total_tokens: script.promptTokens + script.completionTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  };
}
