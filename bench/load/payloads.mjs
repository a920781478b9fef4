/**
 * What is sent and what comes back: the bytes of every case, the same in each run. A case is a request of a given size,
 * answered with a short JSON of 1.2 KB or with a stream of 64 chunks.
 */

/** Chunks of the stream, `[DONE]` not counted: one opens, 61 have content, one closes, one has the usage. */
export const STREAM_CHUNKS = 64;
/** Between two chunks of the stream; at 32 connections about 16,000 events per second are offered. */
export const STREAM_CHUNK_MS = 2;

export const CASES = [
  { name: 'chat-1k', title: '1 KB chat', bodyBytes: 1_024, stream: false, tls: false },
  { name: 'chat-10k', title: '10 KB chat', bodyBytes: 10_240, stream: false, tls: false },
  { name: 'chat-200k', title: '200 KB chat', bodyBytes: 204_800, stream: false, tls: false },
  { name: 'sse-64', title: 'SSE, 64 chunks', bodyBytes: 1_024, stream: true, tls: false },
  { name: 'chat-1k-tls', title: '1 KB chat, TLS upstream', bodyBytes: 1_024, stream: false, tls: true },
];

/** Model names that candidates route by: one upstream in clear, one with TLS. */
export const MODEL = 'bench';
export const MODEL_TLS = 'bench-tls';
/** The name that a candidate which rewrites the model sends to the upstream. */
export const UPSTREAM_MODEL = 'gpt-bench';

/** The request body of a case; exactly `bodyBytes` long. */
export function requestBody({ bodyBytes, stream, tls }) {
  const body = {
    model: tls ? MODEL_TLS : MODEL,
    ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
    temperature: 0.2,
    messages: [{ role: 'system', content: 'You answer in one sentence.' }],
  };
  const turns = Math.max(1, Math.min(8, Math.floor(bodyBytes / 1_500)));
  const empty = Array.from({ length: turns }, (_, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content: '' }));
  const free = bodyBytes - Buffer.byteLength(JSON.stringify({ ...body, messages: [...body.messages, ...empty] }));
  for (const [i, turn] of empty.entries()) {
    const bytes = i === turns - 1 ? free - Math.floor(free / turns) * (turns - 1) : Math.floor(free / turns);
    turn.content = prose(bytes, i + 1);
    body.messages.push(turn);
  }
  return Buffer.from(JSON.stringify(body));
}

/** A whole HTTP/1.1 request, ready to be written to a socket again and again. */
export function httpRequest({ path, headers, body }) {
  const lines = [`POST ${path} HTTP/1.1`, 'Host: 127.0.0.1', 'Content-Type: application/json', 'Accept: */*'];
  lines.push('User-Agent: claviger-bench/1', `Content-Length: ${body.length}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
}

/** The complete answer to a chat completion without streaming, head included. */
export function chatAnswer() {
  const body = Buffer.from(
    JSON.stringify({
      id: 'chatcmpl-bench0123456789abcdef',
      object: 'chat.completion',
      created: 1_760_000_000,
      model: UPSTREAM_MODEL,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: prose(700, 99), refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: USAGE,
      service_tier: 'default',
      system_fingerprint: 'fp_bench',
    }),
  );
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** Head of the stream, then one framed HTTP chunk per event; the last holds `[DONE]` and the end of the body. */
export function streamAnswer() {
  const head = Buffer.from(
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n' +
      'x-accel-buffering: no\r\nx-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n',
  );
  const start = { id: 'chatcmpl-bench0123456789abcdef', object: 'chat.completion.chunk', created: 1_760_000_000 };
  const rest = { model: UPSTREAM_MODEL, service_tier: 'default', system_fingerprint: 'fp_bench' };
  const chunk = (delta, finish_reason) => ({
    ...start,
    ...rest,
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    usage: null,
  });
  const events = [chunk({ role: 'assistant', content: '', refusal: null }, null)];
  while (events.length < STREAM_CHUNKS - 2) events.push(chunk({ content: ` ${prose(6, events.length)}` }, null));
  events.push(chunk({}, 'stop'), { ...start, ...rest, choices: [], usage: USAGE });
  const frames = events.map((event) => framed(`data: ${JSON.stringify(event)}\n\n`));
  frames.push(Buffer.concat([framed('data: [DONE]\n\n'), Buffer.from('0\r\n\r\n')]));
  return { head, frames };
}

const USAGE = {
  prompt_tokens: 231,
  completion_tokens: 118,
  total_tokens: 349,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
};

function framed(text) {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

const WORDS =
  'the gateway answers from memory and a key opens what its owner may open while every region keeps its own copy of the rules so nothing waits for a database when somebody asks a question about "limits" budgets or models'.split(
    ' ',
  );

/** Text that takes `bytes` bytes inside a JSON string: words, quotes, line breaks, the same for the same seed. */
function prose(bytes, seed) {
  let text = '';
  let size = 0;
  let state = seed * 2_654_435_761;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const separator = size === 0 ? '' : state % 23 === 0 ? '.\n' : ' ';
    const word = separator + WORDS[(state >>> 8) % WORDS.length];
    const grows = JSON.stringify(word).length - 2;
    if (size + grows > bytes) return text + 'x'.repeat(bytes - size);
    text += word;
    size += grows;
  }
}
