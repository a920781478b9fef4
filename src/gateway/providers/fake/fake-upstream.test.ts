import { describe, expect, it } from 'vitest';
import type { Deployment } from '../../../domain/deployment.ts';
import type { UpstreamError, UpstreamHandler, UpstreamRequest } from '../upstream.ts';
import { createFakeUpstream } from './fake-upstream.ts';
import { systemTimers, type Timers } from './timers.ts';

describe('fake provider: answers', () => {
  it('answers a chat completion that shows the prompt again, with usage that adds up', async () => {
    const answer = await ask({ model: 'gpt', messages: [{ role: 'user', content: 'Hello there' }] });
    const body = JSON.parse(answer.text);
    expect(answer.status).toBe(200);
    expect(body.object).toBe('chat.completion');
    expect(body.choices[0].message.content).toContain('Hello there');
    expect(body.choices[0].finish_reason).toBe('stop');
    expect(body.usage.total_tokens).toBe(body.usage.prompt_tokens + body.usage.completion_tokens);
  });

  it('streams exactly the text that it answers without streaming', async () => {
    const messages = [{ role: 'user', content: 'Grüße aus Köln 🌍' }];
    const whole = JSON.parse((await ask({ model: 'gpt', messages })).text);
    for (const chunks of [1, 2, 7, 1000]) {
      const events = eventsOf((await ask({ model: `gpt?chunks=${chunks}`, messages, stream: true })).text);
      const text = events.map((event) => event.choices[0]?.delta.content ?? '').join('');
      expect(text).toBe(whole.choices[0].message.content);
    }
  });

  it('writes as many tokens as the script says, cut by max_tokens with finish reason length', async () => {
    const messages = [{ role: 'user', content: 'x' }];
    const told = JSON.parse((await ask({ model: 'gpt?tokens=300', messages })).text);
    expect(told.usage.completion_tokens).toBe(300);
    expect(told.choices[0].message.content.split(/\s+/)).toHaveLength(300);
    const cut = JSON.parse((await ask({ model: 'gpt?tokens=300', max_tokens: 5, messages })).text);
    expect(cut.usage.completion_tokens).toBe(5);
    expect(cut.choices[0].finish_reason).toBe('length');
  });

  it('sends the usage chunk last and only when asked, as OpenAI does', async () => {
    const messages = [{ role: 'user', content: 'x' }];
    const plain = eventsOf((await ask({ model: 'gpt', stream: true, messages })).text);
    expect(plain.some((event) => 'usage' in event)).toBe(false);
    const options = { stream: true, stream_options: { include_usage: true }, messages };
    const counted = eventsOf((await ask({ model: 'gpt?tokens=9', ...options })).text);
    const last = counted.at(-1);
    expect(last?.choices).toEqual([]);
    expect(last?.usage?.completion_tokens).toBe(9);
    expect(counted.slice(0, -1).every((event) => event.usage === null)).toBe(true);
    const none = eventsOf((await ask({ model: 'gpt?usage=false', ...options })).text);
    expect(none.some((event) => event.usage !== undefined)).toBe(false);
  });

  it('answers n choices, streamed with their index and counted together', async () => {
    const body = { model: 'gpt?tokens=4', n: 3, messages: [{ role: 'user', content: 'x' }] };
    const whole = JSON.parse((await ask(body)).text);
    expect(whole.choices.map((choice: { index: number }) => choice.index)).toEqual([0, 1, 2]);
    expect(whole.usage.completion_tokens).toBe(12);
    const events = eventsOf((await ask({ ...body, stream: true })).text);
    const finished = events.filter((event) => event.choices[0]?.finish_reason === 'stop');
    expect(finished.map((event) => event.choices[0]?.index)).toEqual([0, 1, 2]);
  });

  it('answers text completions for a list of prompts', async () => {
    const answer = await ask({ model: 'gpt', prompt: ['one', 'two'] }, { path: '/completions' });
    const body = JSON.parse(answer.text);
    expect(body.object).toBe('text_completion');
    expect(body.choices[1].text).toContain('two');
  });

  it('embeds equal texts equally, near texts nearer than far ones, and the same in base64', async () => {
    const input = ['the cat sat', 'the cat slept', 'quarterly revenue grew'];
    const floats = JSON.parse((await ask({ model: 'e', input, dimensions: 64 }, { path: '/embeddings' })).text);
    const encoded = JSON.parse(
      (await ask({ model: 'e', input, dimensions: 64, encoding_format: 'base64' }, { path: '/embeddings' })).text,
    );
    const [cat, slept, revenue] = floats.data.map((item: { embedding: number[] }) => item.embedding);
    expect(dot(cat, cat)).toBeCloseTo(1, 5);
    expect(dot(cat, slept)).toBeGreaterThan(dot(cat, revenue));
    const bytes = Buffer.from(encoded.data[0].embedding, 'base64');
    expect(bytes.length).toBe(64 * 4);
    expect(bytes.readFloatLE(4)).toBeCloseTo(cat[1], 6);
  });

  it('depends on nothing but the request, except for the number in its ids', async () => {
    const fake = createFakeUpstream({ timers: { ...systemTimers, nowMs: () => 1_700_000_000_000 } });
    const body = { model: 'gpt', messages: [{ role: 'user', content: 'again' }] };
    const first = JSON.parse((await collect(fake, request(body)).done).text);
    const second = JSON.parse((await collect(fake, request(body)).done).text);
    expect(first.id).not.toBe(second.id);
    expect({ ...first, id: '' }).toEqual({ ...second, id: '' });
  });

  it.each([
    ['a script word it does not know', { model: 'gpt?speed=9', messages: [{ role: 'user', content: 'x' }] }, 'speed'],
    ['a script value out of range', { model: 'gpt?tokens=-1', messages: [{ role: 'user', content: 'x' }] }, 'tokens'],
    ['no messages', { model: 'gpt' }, 'messages'],
    ['n that is no number', { model: 'gpt', n: 'two', messages: [{ role: 'user', content: 'x' }] }, '"n"'],
  ])('refuses %s with 400 and its name', async (_name, body, word) => {
    const answer = await ask(body);
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text).error.message).toContain(word);
  });

  it('lets the body field "fake" win over the model name', async () => {
    const messages = [{ role: 'user', content: 'x' }];
    const body = JSON.parse((await ask({ model: 'gpt?tokens=3', fake: { tokens: 8 }, messages })).text);
    expect(body.usage.completion_tokens).toBe(8);
  });
});

describe('fake provider: time', () => {
  it('waits for latency, first chunk and each further chunk as the script says', async () => {
    const time = manualTime();
    const body = { model: 'gpt?latency_ms=50&first_chunk_ms=200&chunk_ms=10&tokens=2', stream: true, messages: HELLO };
    const call = collect(createFakeUpstream({ timers: time.timers }), request(body));
    time.advance(49);
    expect(call.status()).toBeNull();
    time.advance(1);
    expect(call.status()).toBe(200);
    expect(call.chunks()).toHaveLength(0);
    time.advance(199);
    expect(call.chunks()).toHaveLength(0);
    for (const seen of [1, 2, 3, 4]) {
      time.advance(seen === 1 ? 1 : 10);
      expect(call.chunks()).toHaveLength(seen);
    }
    time.advance(10);
    expect((await call.done).error).toBeNull();
  });

  it('stops while the handler does not take more, and goes on at resume without losing a byte', async () => {
    const fake = createFakeUpstream();
    const body = { model: 'gpt?tokens=500', stream: true, messages: HELLO };
    const free = await collect(fake, request(body)).done;
    const held = collect(fake, request(body), { takeAtOnce: 3 });
    const stalled = new Promise((resolve) => held.onStalled(resolve));
    await stalled;
    await turns(5);
    expect(held.chunks()).toHaveLength(3);
    held.drain();
    expect(eventsOf((await held.done).text)).toHaveLength(eventsOf(free.text).length);
  });

  it('ends an aborted call with one error and no further data or timer', async () => {
    const time = manualTime();
    const body = { model: 'gpt?chunk_ms=10&tokens=100', stream: true, messages: HELLO };
    const call = collect(createFakeUpstream({ timers: time.timers }), request(body));
    time.advance(35);
    const before = call.chunks().length;
    call.abort();
    call.abort();
    expect((await call.done).error?.kind).toBe('aborted');
    expect(time.pending()).toBe(0);
    time.advance(1_000);
    expect(call.chunks()).toHaveLength(before);
  });

  it('aborts what is running when it is closed', async () => {
    const time = manualTime();
    const fake = createFakeUpstream({ timers: time.timers });
    const call = collect(fake, request({ model: 'gpt?latency_ms=5000', messages: HELLO }));
    await fake.close();
    expect((await call.done).error?.kind).toBe('aborted');
  });
});

describe('fake provider: failures', () => {
  it('answers a scripted status with error JSON, 429 with retry-after', async () => {
    const answer = await ask({ model: 'gpt?fail=429', messages: HELLO });
    expect(answer.status).toBe(429);
    expect(answer.headers).toContain('retry-after');
    expect(JSON.parse(answer.text).error.code).toBe('rate_limit_exceeded');
  });

  it('answers HTML', async () => {
    const answer = await ask({ model: 'gpt?fail=html', messages: HELLO });
    expect(answer.status).toBe(502);
    expect(answer.text).toContain('<html>');
  });

  it('answers bytes that are neither JSON nor UTF-8', async () => {
    const answer = await ask({ model: 'gpt?fail=garbage', messages: HELLO });
    expect(answer.status).toBe(200);
    expect(() => JSON.parse(answer.text)).toThrow();
  });

  it.each([
    ['refuse', 'connect'],
    ['reset', 'reset'],
  ])('fails before the head on %s', async (fail, kind) => {
    const answer = await ask({ model: `gpt?fail=${fail}`, messages: HELLO });
    expect(answer.error?.kind).toBe(kind);
    expect(answer.status).toBeNull();
  });

  it('cuts a stream in the middle of an event', async () => {
    const answer = await ask({ model: 'gpt?fail=cut&fail_after=3', stream: true, messages: HELLO });
    expect(answer.error?.kind).toBe('reset');
    expect(answer.text.split('\n\n')).toHaveLength(4);
    expect(answer.text.endsWith('\n\n')).toBe(false);
  });

  it('hangs until the time-out for the head, stalls until the time-out between chunks', async () => {
    const time = manualTime();
    const fake = createFakeUpstream({ timers: time.timers });
    const limits = { headersTimeoutMs: 300, bodyTimeoutMs: 100 };
    const hang = collect(fake, request({ model: 'gpt?fail=hang', messages: HELLO }, limits));
    time.advance(299);
    expect(hang.error()).toBeNull();
    time.advance(1);
    expect(hang.error()?.kind).toBe('timeout');

    const stall = collect(fake, request({ model: 'gpt?fail=stall', stream: true, messages: HELLO }, limits));
    time.advance(99);
    expect(stall.chunks().length).toBeGreaterThan(0);
    expect(stall.error()).toBeNull();
    time.advance(1);
    expect(stall.error()?.kind).toBe('timeout');
  });

  it('hangs for ever without a time-out, and still can be aborted', async () => {
    const time = manualTime();
    const call = collect(
      createFakeUpstream({ timers: time.timers }),
      request({ model: 'gpt?fail=stall', stream: true, messages: HELLO }),
    );
    time.advance(10_000_000);
    expect(call.error()).toBeNull();
    call.abort();
    expect(call.error()?.kind).toBe('aborted');
  });
});

const HELLO = [{ role: 'user', content: 'hello' }];

const DEPLOYMENT: Deployment = {
  id: 'fake',
  modelGroup: 'fake-gpt',
  provider: 'fake',
  providerName: 'Fake',
  takesStreamOptions: true,
  model: 'gpt',
  litellmModel: 'fake/gpt',
  apiBase: 'fake:',
  apiKey: null,
  organization: null,
  weight: 1,
  order: 1,
  timeoutMs: null,
  streamTimeoutMs: null,
  extraHeaders: {},
  defaultBody: {},
  pricing: null,
  sslVerify: true,
  clientCertPath: null,
  clientKeyPath: null,
  modelInfo: {},
  mode: 'chat',
};

interface Event {
  readonly choices: { index: number; delta: { content?: string }; finish_reason: string | null }[];
  readonly usage?: { completion_tokens: number } | null;
}

interface Collected {
  readonly status: number | null;
  readonly headers: readonly string[];
  readonly text: string;
  readonly error: UpstreamError | null;
}

function request(body: object, more: Partial<UpstreamRequest> = {}): UpstreamRequest {
  return {
    deployment: DEPLOYMENT,
    method: 'POST',
    path: '/chat/completions',
    headers: ['content-type', 'application/json'],
    body: Buffer.from(JSON.stringify(body)),
    stream: 'stream' in body && body.stream === true,
    headersTimeoutMs: 0,
    bodyTimeoutMs: 0,
    ...more,
  };
}

function ask(body: object, more: Partial<UpstreamRequest> = {}): Promise<Collected> {
  return collect(createFakeUpstream(), request(body, more)).done;
}

/** Dispatches and collects; checks the order of calls that `UpstreamHandler` promises. */
function collect(
  fake: ReturnType<typeof createFakeUpstream>,
  sent: UpstreamRequest,
  { takeAtOnce = Number.POSITIVE_INFINITY }: { takeAtOnce?: number } = {},
) {
  const chunks: Buffer[] = [];
  let status: number | null = null;
  let headers: readonly string[] = [];
  let failure: UpstreamError | null = null;
  let ended = false;
  let draining = false;
  let abort = (): void => undefined;
  let resume = (): void => undefined;
  let stalled = (_: unknown): void => undefined;
  const { promise, resolve } = deferred<Collected>();
  const finish = (): void => {
    if (ended) throw new Error('ended twice');
    ended = true;
    resolve({ status, headers, text: Buffer.concat(chunks).toString('utf8'), error: failure });
  };
  const handler: UpstreamHandler = {
    onStart(stop) {
      abort = stop;
    },
    onHead(code, list, go) {
      if (status !== null || ended) throw new Error('head out of order');
      status = code;
      headers = list.map(String);
      resume = go;
    },
    onData(chunk) {
      if (status === null || ended) throw new Error('data out of order');
      chunks.push(chunk);
      if (draining || chunks.length < takeAtOnce) return true;
      setImmediate(() => stalled(null));
      return false;
    },
    onEnd: finish,
    onError(error) {
      failure = error;
      finish();
    },
  };
  fake.dispatch(sent, handler);
  return {
    done: promise,
    status: () => status,
    chunks: () => chunks,
    error: () => failure,
    abort: () => abort(),
    onStalled: (callback: (_: unknown) => void) => {
      stalled = callback;
    },
    drain: () => {
      draining = true;
      resume();
    },
  };
}

function eventsOf(text: string): Event[] {
  const frames = text.split('\n\n');
  expect(frames.pop()).toBe('');
  expect(frames.pop()).toBe('data: [DONE]');
  return frames.map((frame) => JSON.parse(frame.slice('data: '.length)));
}

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Time that moves only when told to. */
function manualTime() {
  let now = 0;
  let order = 0;
  const waiting = new Map<number, { at: number; callback: () => void }>();
  const timers: Timers = {
    nowMs: () => now,
    after(delayMs, callback) {
      const id = order++;
      waiting.set(id, { at: now + delayMs, callback });
      return { cancel: () => waiting.delete(id) };
    },
  };
  return {
    timers,
    pending: () => waiting.size,
    advance(ms: number) {
      const until = now + ms;
      for (;;) {
        const due = [...waiting].filter(([, timer]) => timer.at <= until).sort((a, b) => a[1].at - b[1].at)[0];
        if (due === undefined) break;
        waiting.delete(due[0]);
        now = Math.max(now, due[1].at);
        due[1].callback();
      }
      now = until;
    },
  };
}
