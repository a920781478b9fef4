import OpenAI, {
  AuthenticationError,
  AzureOpenAI,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from 'openai';
import { expect, it } from 'vitest';
import type { Claviger } from '../support/processes.ts';

/** What the cases are run against. */
export interface SdkTarget {
  readonly claviger: Claviger;
  /** A virtual key that may use everything. */
  readonly key: string;
  readonly chatModel: string;
  readonly embeddingModel: string;
  /** Members of a request body that make the provider answer with this status. */
  failWith(status: number): object;
}

export const MESSAGES = [{ role: 'user' as const, content: 'Say something short, please.' }];

/** The official package as a client, without retries of its own so that each call is one request. */
export function openAiClient({ claviger, key }: Pick<SdkTarget, 'claviger' | 'key'>, path = '/v1'): OpenAI {
  return new OpenAI({ apiKey: key, baseURL: `${claviger.url}${path}`, maxRetries: 0 });
}

/** What an application expects of any OpenAI-compatible server. `target` is read when a case runs. */
export function sdkCases(target: () => SdkTarget): void {
  const client = (path?: string) => openAiClient(target(), path);

  it.each(['/v1', ''])('chat completion below "%s"', async (path) => {
    const { chatModel } = target();
    const answer = await client(path).chat.completions.create({ model: chatModel, messages: MESSAGES });
    expect(answer.object).toBe('chat.completion');
    expect(answer.id).toMatch(/^chatcmpl-/);
    expect(answer.choices[0]?.message).toMatchObject({ role: 'assistant', content: expect.stringMatching(/./) });
    expect(answer.choices[0]?.finish_reason).toBe('stop');
    expectUsage(answer.usage);
  });

  it('chat completion as a stream, without usage when none was asked for', async () => {
    const { chatModel } = target();
    const stream = await client().chat.completions.create({ model: chatModel, messages: MESSAGES, stream: true });
    const chunks = await collect(stream);
    expect(contentOf(chunks)).not.toBe('');
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop');
    for (const chunk of chunks) {
      expect(chunk.object).toBe('chat.completion.chunk');
      expect(chunk.choices).toHaveLength(1);
      expect(chunk.usage ?? null).toBeNull();
    }
  });

  it('chat completion as a stream, with usage on a last chunk without choices when it was asked for', async () => {
    const { chatModel } = target();
    const stream = await client().chat.completions.create({
      model: chatModel,
      messages: MESSAGES,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    const last = chunks.pop();
    expect(last?.choices).toEqual([]);
    expectUsage(last?.usage);
    expect(contentOf(chunks)).not.toBe('');
    for (const chunk of chunks) expect(chunk.usage ?? null).toBeNull();
  });

  it('the same text, streamed and not', async () => {
    const { chatModel } = target();
    const body = { model: chatModel, messages: MESSAGES, max_tokens: 5 };
    const whole = await client().chat.completions.create(body);
    const runner = client().chat.completions.stream(body);
    const final = await runner.finalChatCompletion();
    const streamed = final.choices[0]?.message.content;
    expect(streamed?.trim()).not.toBe('');
    // The two servers behind the cases cut a text at a different number of words when they stream.
    const [short, long] = [streamed ?? '', whole.choices[0]?.message.content ?? ''].map((text) => text.trim());
    expect(short!.startsWith(long!) || long!.startsWith(short!)).toBe(true);
  });

  it('text completion, streamed and not', async () => {
    const { chatModel } = target();
    const answer = await client().completions.create({ model: chatModel, prompt: 'Once upon a time' });
    expect(answer.object).toBe('text_completion');
    expect(answer.choices[0]?.text).toMatch(/./);
    expectUsage(answer.usage);
    const stream = await client().completions.create({ model: chatModel, prompt: 'Once upon', stream: true });
    const chunks = await collect(stream);
    expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toMatch(/./);
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop');
  });

  it('embeddings: base64 on the wire as the package asks for by default, and floats on request', async () => {
    const { embeddingModel } = target();
    const input = ['first text', 'second text'];
    const packed = await client().embeddings.create({ model: embeddingModel, input });
    const plain = await client().embeddings.create({ model: embeddingModel, input, encoding_format: 'float' });
    expect(packed.object).toBe('list');
    expect(packed.data.map(({ index }) => index)).toEqual([0, 1]);
    expect(packed.usage.prompt_tokens).toBeGreaterThan(0);
    for (const [index, { embedding }] of packed.data.entries()) {
      const same = plain.data[index]?.embedding ?? [];
      expect(embedding).toHaveLength(same.length);
      expect(embedding.length).toBeGreaterThan(0);
      for (const [at, value] of embedding.entries()) expect(value).toBeCloseTo(same[at] ?? Number.NaN, 5);
    }
  });

  it('the list of models and one of them', async () => {
    const { chatModel, embeddingModel } = target();
    const models = await collect(await client().models.list());
    expect(models.map(({ id }) => id)).toEqual(expect.arrayContaining([chatModel, embeddingModel]));
    expect(models.every(({ object }) => object === 'model')).toBe(true);
    expect(await client().models.retrieve(chatModel)).toMatchObject({ id: chatModel, object: 'model' });
    await expect(client().models.retrieve('no-such-model')).rejects.toBeInstanceOf(NotFoundError);
  });

  it.each(['/engines/', '/openai/deployments/'])(
    'the model in the path below %s, whatever the body says',
    async (prefix) => {
      const { chatModel, embeddingModel } = target();
      const chat = client(`${prefix}${encodeURIComponent(chatModel)}`);
      expect((await chat.chat.completions.create({ model: 'another', messages: MESSAGES })).choices).toHaveLength(1);
      expect((await chat.completions.create({ model: 'another', prompt: 'x' })).choices).toHaveLength(1);
      const embeddings = client(`${prefix}${encodeURIComponent(embeddingModel)}`).embeddings;
      expect((await embeddings.create({ model: 'another', input: 'x' })).data).toHaveLength(1);
    },
  );

  it("Azure's client: its paths, its version parameter, its header for the key", async () => {
    const { chatModel, claviger, embeddingModel, key } = target();
    const azure = new AzureOpenAI({ endpoint: claviger.url, apiKey: key, apiVersion: '2024-10-21', maxRetries: 0 });
    const answer = await azure.chat.completions.create({ model: chatModel, messages: MESSAGES });
    expect(answer.choices[0]?.message.content).toMatch(/./);
    const stream = await azure.chat.completions.create({ model: chatModel, messages: MESSAGES, stream: true });
    expect(contentOf(await collect(stream))).not.toBe('');
    expect((await azure.embeddings.create({ model: embeddingModel, input: 'x' })).data).toHaveLength(1);
    const stranger = new AzureOpenAI({
      endpoint: claviger.url,
      apiKey: 'sk-nobody-0123456789',
      apiVersion: '2024-10-21',
      maxRetries: 0,
    });
    await expect(stranger.chat.completions.create({ model: chatModel, messages: MESSAGES })).rejects.toBeInstanceOf(
      AuthenticationError,
    );
  });

  it('a key that is unknown is an AuthenticationError', async () => {
    const { chatModel, claviger } = target();
    const stranger = openAiClient({ claviger, key: 'sk-nobody-0123456789' });
    const error = await failure(stranger.chat.completions.create({ model: chatModel, messages: MESSAGES }));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ status: 401, code: '401', type: 'token_not_found_in_db', param: 'key' });
    expect(error.message).toContain('Invalid proxy server token passed');
  });

  it('a model or a member that can not be is a BadRequestError', async () => {
    const { chatModel } = target();
    const noModel = await failure(client().chat.completions.create({ model: 'no-such-model', messages: MESSAGES }));
    expect(noModel).toBeInstanceOf(BadRequestError);
    expect(noModel).toMatchObject({ status: 400, code: '400', param: 'model' });
    expect(noModel.message).toContain('Invalid model name passed in model=no-such-model');
    const noMessages = await failure(client().chat.completions.create({ model: chatModel } as never));
    expect(noMessages).toBeInstanceOf(BadRequestError);
    expect(noMessages.message).toContain('messages');
  });

  it('a model that the key may not use is a PermissionDeniedError', async () => {
    const { chatModel, claviger, embeddingModel } = target();
    const limited = openAiClient({ claviger, key: await claviger.generateKey({ models: [embeddingModel] }) });
    const error = await failure(limited.chat.completions.create({ model: chatModel, messages: MESSAGES }));
    expect(error).toBeInstanceOf(PermissionDeniedError);
    expect(error).toMatchObject({ status: 403, code: '403', type: 'key_model_access_denied', param: 'model' });
    expect((await collect(await limited.models.list())).map(({ id }) => id)).toEqual([embeddingModel]);
  });

  it.each([
    [429, RateLimitError, 'throttling_error'],
    [500, InternalServerError, 'internal_server_error'],
    [503, InternalServerError, 'overloaded_error'],
    [404, NotFoundError, 'not_found_error'],
    [400, BadRequestError, 'invalid_request_error'],
  ])('a provider that answers %d, streamed or not', async (status, errorClass, type) => {
    for (const stream of [false, true]) {
      const body = { model: target().chatModel, messages: MESSAGES, stream, ...target().failWith(status) };
      const error = await failure(client().chat.completions.create(body));
      expect(error).toBeInstanceOf(errorClass);
      expect(error).toMatchObject({ status, code: String(status), type });
      expect(error.message).toMatch(/^\d+ litellm\.\w+: \w+Exception - /);
      // It is how a client tells a limit of the gateway from one of the provider.
      expect(error.headers?.get('retry-after')).toBeNull();
      expect(error.headers?.get('x-litellm-call-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it('leaves a stream in the middle without harm to the next call', async () => {
    const { chatModel } = target();
    const stream = await client().chat.completions.create({ model: chatModel, messages: MESSAGES, stream: true });
    for await (const chunk of stream) {
      expect(chunk.choices).toHaveLength(1);
      break;
    }
    expect((await client().chat.completions.create({ model: chatModel, messages: MESSAGES })).choices).toHaveLength(1);
  });
}

/** The error of a call that must fail. */
export async function failure(call: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof OpenAI.APIError) return error;
  throw new Error(`expected an APIError, got ${error === null ? 'an answer' : String(error)}`);
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

export function contentOf(chunks: readonly OpenAI.ChatCompletionChunk[]): string {
  return chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
}

function expectUsage(usage: OpenAI.CompletionUsage | null | undefined): void {
  expect(usage?.prompt_tokens).toBeGreaterThan(0);
  expect(usage?.completion_tokens).toBeGreaterThan(0);
  expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0));
}
