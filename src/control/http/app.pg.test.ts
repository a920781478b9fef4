import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  startControlPlane,
  TEST_MASTER_KEY,
  type TestControlPlane,
} from '../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';
import { MANAGEMENT_ROUTES } from '../../contract/routes/all.ts';

let database: TestDatabase;
let control: TestControlPlane;
let worker: TestControlPlane;
let own: { key: string; token: string };
let foreign: { key: string; token: string };

beforeAll(async () => {
  database = await createTestDatabase();
  control = await startControlPlane({ database });
  worker = await startControlPlane({
    database,
    settings: {
      serverRootPath: '/gw',
      flags: { disableAdminEndpoints: true, disableAdminUi: true, disableLlmApiEndpoints: false },
    },
  });
  own = (await control.call('POST', '/key/generate', { body: {} })).json;
  foreign = (await control.call('POST', '/key/generate', { body: { user_id: 'somebody' } })).json;
});
afterAll(async () => {
  await Promise.all([control.stop(), worker.stop()]);
  await database.drop();
});

describe('who may call what', () => {
  it('takes the key from each of its places', async () => {
    const places: Record<string, string>[] = [
      { authorization: `Bearer ${TEST_MASTER_KEY}` },
      { authorization: `bearer ${TEST_MASTER_KEY}` },
      { authorization: `Basic ${TEST_MASTER_KEY}` },
      {
        authorization: `AWS4-HMAC-SHA256 Credential=${TEST_MASTER_KEY}/20260101/us-east-1/bedrock/aws4_request, Signature=x`,
      },
      { 'x-litellm-api-key': TEST_MASTER_KEY },
      { 'x-litellm-api-key': `Bearer ${TEST_MASTER_KEY}` },
      { 'api-key': TEST_MASTER_KEY },
      { 'x-api-key': TEST_MASTER_KEY },
      { 'x-goog-api-key': TEST_MASTER_KEY },
      { 'ocp-apim-subscription-key': TEST_MASTER_KEY },
    ];
    for (const headers of places) {
      expect([headers, (await control.call('GET', '/key/list', { key: null, headers })).status]).toEqual([
        headers,
        200,
      ]);
    }
  });

  it.each([
    ['no key', {}, 'auth_error', 'Authentication Error, No api key passed in.'],
    ['no scheme', { authorization: 'sk-x' }, 'auth_error', 'Ensure Key has `Bearer ` prefix'],
    [
      'no sk-',
      { authorization: 'Bearer abcdefghijklmnop' },
      'auth_error',
      "LiteLLM Virtual Key expected. Received=abcd****mnop, expected to start with 'sk-'",
    ],
    [
      'an unknown key',
      { authorization: 'Bearer sk-unknown-key' },
      'token_not_found_in_db',
      'Authentication Error, Invalid proxy server token passed',
    ],
  ])('answers 401 to %s', async (_what, headers, type, text) => {
    const { status, json } = await control.call('POST', '/key/generate', { key: null, headers, body: {} });
    expect([status, json.error.type, json.error.code]).toEqual([401, type, '401']);
    expect(json.error.message).toContain(text);
    expect(JSON.stringify(json)).not.toContain('sk-unknown-key');
  });

  it('answers 401 to a key that has expired', async () => {
    const { json: made } = await control.call('POST', '/key/generate', { body: { duration: '1h' } });
    await control.db.write((tx) =>
      sql`update claviger.virtual_key set expires = now() - interval '1 second' where token = ${made.token}`.execute(
        tx,
      ),
    );
    const { status, json } = await control.call('GET', '/key/info', { key: made.key });
    expect([status, json.error.type, json.error.param]).toEqual([401, 'expired_key', made.token]);
  });

  it('lets a key of somebody without a role write nothing, and tells it the same of keys that do not exist', async () => {
    const named = (key: string): [string, object][] => [
      ['/key/update', { key }],
      ['/key/delete', { keys: [key] }],
      ['/key/block', { key }],
      ['/key/unblock', { key }],
    ];
    const calls = [own.token, foreign.token, '0'.repeat(64)].flatMap(named);
    for (const [path, body] of [['/key/generate', {}] as const, ...calls]) {
      const { status, json } = await control.call('POST', path, { key: own.key, body });
      expect([path, status]).toEqual([path, 401]);
      expect(json.error.message).toMatch(
        /^Only proxy admin can be used to generate, delete, update info for new keys\/users\/teams/,
      );
    }
  });

  it('shows a key itself, and answers the same for a key of somebody else as for one that does not exist', async () => {
    const self = await control.call('GET', '/key/info', { key: own.key });
    expect([self.status, self.json.key]).toEqual([200, own.token]);
    expect((await control.call('GET', `/key/info?key=${own.token}`, { key: own.key })).status).toBe(200);
    const others = await control.call('GET', `/key/info?key=${foreign.token}`, { key: own.key });
    const nobodys = await control.call('GET', `/key/info?key=${'0'.repeat(64)}`, { key: own.key });
    expect(others.status).toBe(403);
    expect([nobodys.status, nobodys.json]).toEqual([others.status, others.json]);
    expect((await control.call('GET', '/key/list', { key: own.key })).json.keys).toEqual([own.token]);
  });

  it('keeps a key to its allowed routes', async () => {
    const { json: made } = await control.call('POST', '/key/generate', { body: { key_type: 'llm_api' } });
    const { status, json } = await control.call('GET', '/key/info', { key: made.key });
    expect(status).toBe(403);
    expect(json.error.message).toBe(
      "Virtual key is not allowed to call this route. Only allowed to call routes: ['llm_api_routes']. Tried to call route: /key/info",
    );
    const { json: reader } = await control.call('POST', '/key/generate', { body: { key_type: 'read_only' } });
    expect((await control.call('GET', '/key/info', { key: reader.key })).status).toBe(200);
  });
});

describe('paths', () => {
  it('answers as the web framework of LiteLLM to unknown paths and wrong methods', async () => {
    const unknown = await control.call('GET', '/key/nonsense', { key: null });
    expect([unknown.status, unknown.json.detail]).toEqual([404, 'Not Found']);
    const wrong = await control.call('GET', '/key/generate', { key: null });
    expect([wrong.status, wrong.json.detail]).toEqual([405, 'Method Not Allowed']);
  });

  it('says so when a route of LiteLLM is not served yet, after asking for a key', async () => {
    expect((await control.call('GET', '/team/metadata_schema', { key: null })).status).toBe(401);
    const { status, json } = await control.call('GET', '/team/metadata_schema');
    expect(status).toBe(404);
    expect(json.error.message).toContain('/team/metadata_schema');
  });

  it('reads a path in one way', async () => {
    expect((await control.call('GET', '//key//list/')).status).toBe(200);
    expect((await control.call('GET', '/KEY/list')).status).toBe(404);
    expect((await control.call('GET', '/key%2Flist')).status).toBe(404);
    expect((await control.call('GET', '/key/%252e%252e/list')).status).toBe(400);
  });

  it('switches administration off after authentication, also what it does not know', async () => {
    for (const path of ['/gw/key/list', '/gw/team/list', '/gw/nobody/knows']) {
      expect([path, (await worker.call('GET', path, { key: null })).status]).toEqual([path, 401]);
      for (const key of [TEST_MASTER_KEY, own.key]) {
        const { status, json } = await worker.call('GET', path, { key });
        expect([path, status]).toEqual([path, 403]);
        expect(json.detail).toBe('Management routes are disabled for this instance.');
        expect(json.error.message).toBe(json.detail);
      }
    }
    expect((await worker.call('GET', '/key/list')).status).toBe(404);
  });

  it('describes itself without a key', async () => {
    const { status, json } = await control.call('GET', '/openapi.json', { key: null });
    expect(status).toBe(200);
    expect(Object.keys(json.paths).sort()).toEqual([...new Set(MANAGEMENT_ROUTES.map(({ path }) => path))].sort());
    expect(json.paths['/fleet/changes/{rev}'].get.parameters[0]).toMatchObject({
      name: 'rev',
      in: 'path',
      required: true,
    });
    const parameters = (path: string, method: string): string[] =>
      json.paths[path][method].parameters.map(({ name }: { name: string }) => name);
    expect(parameters('/key/block', 'post')).toEqual(['wait', 'timeout']);
    expect(parameters('/key/info', 'get')).toEqual(['key']);
    const fields = json.paths['/key/generate'].post.requestBody.content['application/json'].schema.properties;
    expect(fields.max_budget).toEqual({ type: ['number', 'null'] });
    expect(Object.keys(fields).length).toBeGreaterThan(45);
  });
});

describe('every answer', () => {
  it('carries the versions, the revision and the call id that the client sent', async () => {
    for (const [path, key] of [
      ['/key/list', TEST_MASTER_KEY],
      ['/key/list', null],
      ['/nonsense', null],
    ] as const) {
      const { headers } = await control.call('GET', path, { key, headers: { 'x-request-id': 'my-id-1' } });
      expect(headers.get('x-litellm-call-id')).toBe('my-id-1');
      expect(headers.get('x-claviger-version')).toBe('0.0.0-test');
      expect(headers.get('x-litellm-version')).toBe('1.2.3');
      expect(Number(headers.get('x-claviger-rev'))).toBeGreaterThan(0);
    }
    for (const id of ['x'.repeat(201), 'a b', '']) {
      const { headers } = await control.call('GET', '/key/list', { headers: { 'x-litellm-call-id': id } });
      expect(headers.get('x-litellm-call-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it('to a write carries the revision of that write', async () => {
    const first = Number(
      (await control.call('POST', '/key/block', { body: { key: own.key } })).headers.get('x-claviger-rev'),
    );
    const second = Number(
      (await control.call('POST', '/key/unblock', { body: { key: own.key } })).headers.get('x-claviger-rev'),
    );
    expect(second).toBe(first + 1);
  });

  it('is in the audit log with actor, request and on whose behalf', async () => {
    const headers = { 'litellm-changed-by': 'alice', 'x-litellm-call-id': 'audit-me' };
    await control.call('POST', '/key/update', { body: { key: own.key, rpm_limit: 7 }, headers });
    const { rows } = await control.db.read((tx) =>
      sql<
        Record<string, unknown>
      >`select actor, actor_key, changed_by, op, lane, kind, object_id, before->>'rpm_limit' as old,
        after->>'rpm_limit' as new from claviger.change_log where request_id = 'audit-me'`.execute(tx),
    );
    expect(rows).toEqual([
      {
        actor: 'default_user_id',
        actor_key: 'litellm_proxy_master_key',
        changed_by: 'alice',
        op: 'updated',
        lane: 'fast',
        kind: 'key',
        object_id: own.token,
        old: null,
        new: '7',
      },
    ]);
  });
});

describe('rules of the configuration file', () => {
  it('replace the places of a key by one header', async () => {
    const other = await startControlPlane({
      database,
      config: { generalSettings: { litellm_key_header_name: 'X-My-Key' } },
    });
    const good = { 'x-my-key': `Bearer ${TEST_MASTER_KEY}` };
    expect((await other.call('GET', '/key/list', { key: null, headers: good })).status).toBe(200);
    expect((await other.call('GET', '/key/list')).status).toBe(401);
    await other.stop();
  });

  it('fill in defaults and refuse what is over a bound', async () => {
    const bounded = await startControlPlane({
      database,
      config: {
        litellmSettings: {
          default_key_generate_params: {
            max_budget: 3,
            models: ['gpt-4o'],
            metadata: { from: 'config' },
            team_id: 'core',
          },
          upperbound_key_generate_params: { max_budget: 10, duration: '30d', tpm_limit: 1000 },
          enable_key_alias_format_validation: true,
        },
      },
    });
    const generate = (body: object) => bounded.call('POST', '/key/generate', { body });
    const filled = (await generate({})).json;
    expect(filled).toMatchObject({
      max_budget: 3,
      models: ['gpt-4o'],
      metadata: { from: 'config' },
      team_id: 'core',
      tpm_limit: 1000,
    });
    expect(Date.parse(filled.expires) - Date.parse(filled.created_at)).toBe(30 * 86_400_000);
    expect((await generate({ max_budget: 10, duration: '1d' })).status).toBe(200);
    for (const [body, field] of [
      [{ max_budget: 11 }, 'max_budget'],
      [{ duration: '31d' }, 'duration'],
      [{ duration: '-1' }, 'duration'],
      [{ duration: null }, 'duration'],
      [{ tpm_limit: 1001 }, 'tpm_limit'],
    ] as const) {
      const { status, json } = await generate(body);
      expect([body, status]).toEqual([body, 400]);
      expect(json.error.message).toContain(`${field} is over max limit set in config`);
    }
    const update = await bounded.call('POST', '/key/update', { body: { key: own.key, max_budget: 11 } });
    expect(update.status).toBe(400);
    expect((await generate({ key_alias: '-bad-' })).status).toBe(400);
    expect((await generate({ key_alias: 'good.alias@1' })).status).toBe(200);
    await bounded.stop();
  });
});
