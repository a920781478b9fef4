import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GatewayHarness, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { expectError } from './envelope.ts';
import { COMPLETION, type FaultUpstream, sendJson, startFaultUpstream } from './fault-upstream.ts';
import { leavesNothingOpen } from './leaks.ts';

const MESSAGES = [{ role: 'user', content: 'hello' }];
const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const EMBEDDINGS = '/v1/embeddings';

describe('a request body that can not be served', () => {
  leavesNothingOpen();
  let gateway: GatewayHarness;
  let upstream: FaultUpstream;
  beforeAll(async () => {
    upstream = await startFaultUpstream();
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    const up = (model: string) => ({ model, api_base: `${upstream.url}/v1`, api_key: 'sk-up' });
    gateway = await startGateway({
      models: [modelEntry('gpt', up('openai/gpt')), modelEntry('any/*', up('openai/*'))],
    });
  });
  afterAll(async () => {
    await gateway.stop();
    await upstream.stop();
  });

  it.each([
    ['nothing', ''],
    ['half an object', '{"model":"gpt","messages":['],
    ['something behind it', '{"model":"gpt","messages":[]} x'],
    ['a trailing comma', '{"model":"gpt","messages":[],}'],
    ['single quotes', "{'model':'gpt'}"],
    ['NaN', '{"model":"gpt","messages":[],"temperature":NaN}'],
    ['a raw line break in a string', '{"model":"gp\nt","messages":[]}'],
    ['a lone escape', '{"model":"gpt\\x","messages":[]}'],
    ['a leading zero', '{"model":"gpt","messages":[],"n":01}'],
    ['a form', 'model=gpt&messages=hello'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x00, 0x7b, 0x80])],
  ])('is 400 with JSON that is malformed: %s', async (_what, body) => {
    expectError(await gateway.call(body), 'malformed_json', { message: /^Invalid JSON payload: / });
  });

  it.each(['[]', '[{"model":"gpt"}]', '"gpt"', '5', 'true', 'null'])(
    'is 400 with JSON that is no object: %s',
    async (body) => {
      expectError(await gateway.call(body), 'body_not_an_object');
    },
  );

  it.each([
    ['model', CHAT, { messages: MESSAGES }],
    ['model', CHAT, { model: null, messages: MESSAGES }],
    ['messages', CHAT, { model: 'gpt' }],
    ['messages', CHAT, { model: 'gpt', messages: null }],
    ['prompt', COMPLETIONS, { model: 'gpt' }],
    ['input', EMBEDDINGS, { model: 'gpt' }],
    ['input', EMBEDDINGS, { model: 'gpt', input: null }],
  ])('is 400 without %s at %s', async (field, path, body) => {
    expectError(await gateway.call(body, { path }), 'missing_field', {
      param: field,
      message: `Missing required parameter: \`${field}\`.`,
    });
  });

  it.each([
    ['model', CHAT, { model: 5, messages: MESSAGES }, 'a number'],
    ['model', CHAT, { model: ['gpt'], messages: MESSAGES }, 'an array'],
    ['model', CHAT, { model: { name: 'gpt' }, messages: MESSAGES }, 'an object'],
    ['messages', CHAT, { model: 'gpt', messages: 'hello' }, 'a string'],
    ['messages', CHAT, { model: 'gpt', messages: { role: 'user' } }, 'an object'],
    ['stream', CHAT, { model: 'gpt', messages: MESSAGES, stream: 'true' }, 'a string'],
    ['stream', CHAT, { model: 'gpt', messages: MESSAGES, stream: 1 }, 'a number'],
    ['stream_options', CHAT, { model: 'gpt', messages: MESSAGES, stream_options: true }, 'a boolean'],
    ['prompt', COMPLETIONS, { model: 'gpt', prompt: 5 }, 'a number'],
    ['prompt', COMPLETIONS, { model: 'gpt', prompt: {} }, 'an object'],
    ['input', EMBEDDINGS, { model: 'gpt', input: false }, 'a boolean'],
  ])('is 400 with a %s of the wrong type at %s: %j', async (field, path, body, found) => {
    expectError(await gateway.call(body, { path }), 'wrong_field_type', {
      param: field,
      message: new RegExp(`^Invalid type for \`${field}\`: expected .*, but got ${found} instead\\.$`),
    });
  });

  it('checks a body with escaped or doubled names like any other', async () => {
    expectError(await gateway.call('{"mod\\u0065l":5,"messages":[]}'), 'wrong_field_type', { param: 'model' });
    expectError(await gateway.call('{"model":"gpt","model":"other","messages":[]}'), 'unknown_model');
    expectError(await gateway.call('{"model":"gpt","messages":[],"messages":"x"}'), 'wrong_field_type', {
      param: 'messages',
    });
  });

  it('is 400 for an empty model and for one that is not configured, also in the path', async () => {
    expectError(await gateway.call({ model: '', messages: MESSAGES }), 'invalid_field', { param: 'model' });
    expectError(await gateway.call({ model: 'no-such', messages: MESSAGES }), 'unknown_model', {
      message: `${CHAT}: Invalid model name passed in model=no-such. Call \`/v1/models\` to view available models for your key.`,
    });
    expectError(
      await gateway.call({ messages: MESSAGES }, { path: '/engines/no-such/chat/completions' }),
      'unknown_model',
    );
    expectError(await gateway.call({ model: '__proto__', messages: MESSAGES }), 'unknown_model');
    expectError(await gateway.call({ model: 'any/', messages: MESSAGES }), 'unknown_model');
    expectError(await gateway.call({ model: `any/${'x'.repeat(5_000)}`, messages: MESSAGES }), 'unknown_model');
  });

  it('is 415 when it is compressed', async () => {
    const headers = { 'content-encoding': 'gzip' };
    expectError(await gateway.call({ model: 'gpt', messages: MESSAGES }, { headers }), 'unsupported_content_encoding');
  });

  it('is 404 or 405 on a path or with a method that there is not, in the same envelope', async () => {
    expectError(await gateway.call({}, { path: '/v1/models', method: 'DELETE' }), 'method_not_allowed');
    expectError(await gateway.call({}, { path: '/v1/models/no-such', method: 'GET' }), 'model_id_not_found');
    expectError(await gateway.call({}, { path: CHAT, method: 'PUT' }), 'method_not_allowed');
    expectError(await gateway.call({}, { path: '/v1/../v1%2fchat', method: 'POST' }), 'no_control_process');
    expectError(await gateway.call({}, { path: '/v1/%2e%2e%2fkey', method: 'POST' }), 'target_not_normalisable');
  });

  it.each([
    ['arrays', `${'['.repeat(50_000)}${']'.repeat(50_000)}`],
    ['objects', `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`],
  ])('never is an internal error for being nested deeply: %s', async (_what, deep) => {
    const answer = await gateway.call(`{"model":"gpt","messages":[],"x":${deep}}`);
    expectError(answer, 'malformed_json', { message: /nested/ });
    expect(gateway.logText()).not.toContain('"level":"error"');
  });

  it('was never sent to a provider nor metered, and the next good one is served', async () => {
    expect(upstream.calls.map(({ body }) => body.toString())).toEqual([]);
    expect(gateway.usage()).toEqual({ settled: [], open: [] });
    const answer = await gateway.call({ model: 'gpt', messages: MESSAGES });
    expect(answer.json()).toEqual(COMPLETION);
    await gateway.settledSince(0);
    expect(gateway.logText()).not.toContain('"level":"error"');
  });

  it('is served with a model name that is half a character, which the provider may judge', async () => {
    upstream.answer((call) => sendJson(call, 200, COMPLETION));
    const answer = await gateway.call('{"model":"any/\\ud800","messages":[]}');
    expect(answer.status).toBe(200);
    expect(answer.headers['x-litellm-model-group']).toBe('any%2F%EF%BF%BD');
    expect(upstream.calls[0]?.body.toString()).toBe('{"model":"\\ud800","messages":[]}');
  });
});
