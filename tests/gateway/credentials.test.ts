import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeGeneratedKey } from '../../src/domain/generated-key.ts';
import { hmacSha256, keyDigest } from '../../src/gateway/auth/key-digest.ts';
import { type GatewayHarness, KEY, MASTER_KEY, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { connectRaw } from '../support/http-raw.ts';
import { FLEET_KEY } from '../support/principals.ts';
import { expectError } from './envelope.ts';
import { leavesNothingOpen } from './leaks.ts';

const CHAT = { model: 'fake-gpt', messages: [{ role: 'user', content: 'hello' }] };
const EXPIRED = 'sk-expired-0123456789';
const BLOCKED = 'sk-blocked-0123456789';
const DELETED = 'sk-deleted-0123456789';
const ONE_MODEL = 'sk-one-model-0123456789';
const HERE = 'sk-of-this-region-0123456789';
const ELSEWHERE = 'sk-of-other-regions-0123456789';
const ONE_ROUTE = 'sk-one-route-0123456789';
/** Keys with rules that must be understood: one that this version knows, and one that it does not. */
const KNOWN_RULE = 'sk-known-rule-0123456789';
const LATER_RULE = 'sk-later-rule-0123456789';
/** Made by this installation, and nobody has told this instance of it. */
const NEW_KEY = makeGeneratedKey(Buffer.alloc(16, 1), Buffer.from(FLEET_KEY, 'base64'), hmacSha256);
/** Has the form of a generated key, with a check that does not fit. */
const NOISE = `${NEW_KEY.slice(0, -1)}${NEW_KEY.endsWith('A') ? 'B' : 'A'}`;

describe('a request without a usable key', () => {
  leavesNothingOpen();
  let gateway: GatewayHarness;
  beforeAll(async () => {
    gateway = await startGateway({
      models: [modelEntry('fake-gpt', { model: 'fake/gpt' }), modelEntry('fake-dear', { model: 'fake/dear' })],
      keys: {
        [EXPIRED]: { expiresAtMs: Date.parse('2020-01-02T03:04:05Z') },
        [BLOCKED]: { blocked: true },
        [ONE_MODEL]: { models: ['fake-gpt'] },
        [HERE]: { allowedRegions: ['eu', 'test'] },
        [ELSEWHERE]: { allowedRegions: ['eu', 'us-east-1'] },
        [ONE_ROUTE]: { allowedRoutes: ['/v1/embeddings'] },
        [KNOWN_RULE]: { crit: ['allowedRegions', 'fence'] },
        [LATER_RULE]: { crit: ['allowedRegions', 'allowedHours'] },
      },
      deletedKeys: [DELETED],
    });
  });
  afterAll(() => gateway.stop());

  it('is 401 with no credential', async () => {
    expectError(await gateway.call(CHAT, { key: null }), 'no_api_key');
    expectError(await gateway.call(CHAT, { key: null, headers: { authorization: '' } }), 'no_api_key');
  });

  it.each(['Digest username="x"', KEY, 'Token abc', 'Bearer', 'AWS4-HMAC-SHA256 Credential='])(
    'is 401 with an authorization header that is no scheme: %s',
    async (authorization) => {
      expectError(await gateway.call(CHAT, { key: null, headers: { authorization } }), 'malformed_api_key');
    },
  );

  it.each([
    [
      'not a virtual key',
      'hello-there-this-is-no-key',
      'not_a_virtual_key',
      /Received=hell\*\*\*\*-key, expected to start with 'sk-'/,
    ],
    [
      'an unknown key',
      'sk-nobody-0123456789',
      'unknown_key',
      /Received API Key = sk-\.\.\.6789, Key Hash \(Token\) = [0-9a-f]{64}/,
    ],
    ['a key of the right form with a wrong check', NOISE, 'unknown_key', undefined],
    ['a deleted key', DELETED, 'deleted_key', undefined],
    ['a blocked key', BLOCKED, 'blocked_key', undefined],
    ['a key of another world', `sk-${'x'.repeat(20_000)}`, 'unknown_key', undefined],
  ] as const)('is 401 with %s, which is never shown whole', async (_what, key, code, message) => {
    const answer = await gateway.call(CHAT, { key });
    expectError(answer, code, message === undefined ? {} : { message });
    expect(answer.text).not.toContain(key);
    expect(gateway.logText() + JSON.stringify(gateway.access())).not.toContain(key);
  });

  it('is refused with a key whose rules this version does not know, and says which one', async () => {
    expectError(await gateway.call(CHAT, { key: LATER_RULE }), 'unsupported_rule', { message: /\(allowedHours\)/ });
  });

  it('is 401 with an expired key and says since when', async () => {
    expectError(await gateway.call(CHAT, { key: EXPIRED }), 'expired_key', {
      param: keyDigest(EXPIRED),
      message: /Key Expiry time 2020-01-02T03:04:05\.000Z and current time 20/,
    });
  });

  it('is 403 for a model or a route that the key may not use, whether the model exists or not', async () => {
    const models = { message: /can only access models=\['fake-gpt'\]\. Tried to access / };
    expectError(await gateway.call({ ...CHAT, model: 'fake-dear' }, { key: ONE_MODEL }), 'model_access_denied', models);
    expectError(await gateway.call({ ...CHAT, model: 'no-such' }, { key: ONE_MODEL }), 'model_access_denied', models);
    expectError(await gateway.call(CHAT, { key: ONE_ROUTE }), 'route_not_allowed_for_key');
  });

  it('is 403 in a region that does not serve it, and says which ones do; nothing is sent there', async () => {
    const message = /^This key is not served in region test\. Regions that serve it: \['eu', 'us-east-1'\]$/;
    expectError(await gateway.call(CHAT, { key: ELSEWHERE }), 'region_not_allowed_for_key', { message });
    const list = await gateway.call('', { key: ELSEWHERE, method: 'GET', path: '/v1/models' });
    expectError(list, 'region_not_allowed_for_key', { message });
  });

  it('is refused before a byte of its body is asked for', async () => {
    const before = gateway.usage();
    const answer = await gateway.call('x'.repeat(3_000_000), { key: 'sk-nobody-0123456789' });
    expectError(answer, 'unknown_key');
    expect(gateway.usage()).toEqual(before);
  });

  it('keeps the call id of the client on every refusal', async () => {
    for (const name of ['x-litellm-call-id', 'x-request-id']) {
      const answer = await gateway.call(CHAT, { key: null, headers: { [name]: 'my-own-id-1' } });
      expect(answer.headers['x-litellm-call-id']).toBe('my-own-id-1');
    }
    // An id that could break a line of a log or a header is not kept.
    const strange = await gateway.call(CHAT, { key: null, headers: { 'x-request-id': 'a b' } });
    expect(strange.headers['x-litellm-call-id']).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('does no harm: a good key and the master key are served, and nothing of the refused was metered', async () => {
    for (const key of [KEY, MASTER_KEY, ONE_MODEL, KNOWN_RULE, HERE])
      expect((await gateway.call(CHAT, { key })).status).toBe(200);
    const settled = await gateway.settled(5);
    expect(settled.map(({ token }) => token)).toEqual([
      keyDigest(KEY),
      'litellm_proxy_master_key',
      keyDigest(ONE_MODEL),
      keyDigest(KNOWN_RULE),
      keyDigest(HERE),
    ]);
  });
});

describe('a key that changes while a request comes in', () => {
  leavesNothingOpen();

  it('is refused when it was blocked, or its fence ran out, before the body was complete', async () => {
    const gateway = await startGateway({ keys: { 'sk-slow-0123456789': {} } });
    const body = JSON.stringify(CHAT);
    const send = async (change: () => void) => {
      await using connection = await connectRaw({ port: gateway.port });
      // Too large for the front, which waits for a whole body before it looks at the key.
      await connection.write(
        'POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer sk-slow-0123456789\r\n' +
          `content-type: application/json\r\ncontent-length: ${body.length + 70_000}\r\n\r\n${body.slice(0, 1)}`,
      );
      // Longer than the time for which a caller stays identified.
      await delay(150);
      change();
      await connection.write(' '.repeat(70_000) + body.slice(1));
      return await connection.answer();
    };
    expect((await send(() => {})).status).toBe(200);
    const stale = await send(() => {
      gateway.knowledgeAgeMs = 25 * 60 * 60_000;
    });
    expectError(stale, 'stale_knowledge');
    gateway.knowledgeAgeMs = 0;
    expectError(await send(() => gateway.changeKey('sk-slow-0123456789', { blocked: true })), 'blocked_key');
    await gateway.stop();
  });
});

describe('an instance that can not know', () => {
  leavesNothingOpen();

  it('answers 503 with retry-after, never 401, while it has no snapshot', async () => {
    const gateway = await startGateway({ snapshot: false });
    for (const key of [KEY, NEW_KEY, 'sk-nobody-0123456789', 'not-a-virtual-key']) {
      expectError(await gateway.call(CHAT, { key }), 'no_usable_snapshot');
    }
    // What needs no knowledge is still told as it is.
    expectError(await gateway.call(CHAT, { key: null }), 'no_api_key');
    expect((await gateway.call(CHAT, { key: MASTER_KEY })).status).toBe(200);
    await gateway.stop();
  });

  it('answers 503 for a well-formed key that may be newer than what it knows, and 401 for noise', async () => {
    const gateway = await startGateway({ deletedKeys: [DELETED] });
    gateway.knowledgeAgeMs = 60_000;
    expectError(await gateway.call(CHAT, { key: NEW_KEY }), 'key_not_known_here');
    expectError(await gateway.call(CHAT, { key: 'sk-a-custom-key-0123456789' }), 'key_not_known_here');
    expectError(await gateway.call(CHAT, { key: NOISE }), 'unknown_key');
    expectError(await gateway.call(CHAT, { key: DELETED }), 'deleted_key');
    expectError(await gateway.call(CHAT, { key: 'not-a-virtual-key' }), 'not_a_virtual_key');
    expect((await gateway.call(CHAT, { key: KEY })).status).toBe(200);

    gateway.knowledgeAgeMs = 1_000;
    expectError(await gateway.call(CHAT, { key: NEW_KEY }), 'unknown_key');
    await gateway.stop();
  });
});
