import { createHash, createHmac } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startControlPlane, type TestControlPlane } from '../../../../tests/support/test-control-plane.ts';

let control: TestControlPlane;

beforeAll(async () => {
  control = await startControlPlane();
});
afterAll(() => control.stop());

const hashOf = (key: string) => createHash('sha256').update(key).digest('hex');

async function generate(body: object = {}) {
  const answer = await control.call('POST', '/key/generate', { body });
  expect(answer.json).not.toHaveProperty('error');
  return answer.json;
}

async function info(key: string) {
  const answer = await control.call('GET', `/key/info?key=${key}`);
  expect(answer.status).toBe(200);
  return answer.json.info;
}

/** A value for every field of a request, none of them a default. */
const EVERY_FIELD = {
  models: ['gpt-4o', 'openai/*'],
  aliases: { 'my-gpt': 'gpt-4o' },
  config: { region: 'eu', depth: { n: 1.5 } },
  spend: 1.25,
  max_budget: 10.5,
  soft_budget: 5,
  budget_duration: '7d',
  budget_id: 'budget-1',
  budget_limits: [{ budget_duration: '1h', max_budget: 1 }],
  model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1d' } },
  budget_fallbacks: { 'gpt-4o': ['gpt-4o-mini'] },
  user_id: 'user-1',
  team_id: 'team-1',
  organization_id: 'org-1',
  project_id: 'project-1',
  agent_id: 'agent-1',
  max_parallel_requests: 3,
  rpm_limit: 100,
  tpm_limit: 9_007_199_254_740_991,
  permissions: { get_spend_routes: true },
  allowed_routes: ['/chat/completions', 'info_routes'],
  allowed_cache_controls: ['no-cache'],
  policies: ['p1'],
  access_group_ids: ['g1'],
  object_permission: { mcp_servers: ['m'], models: ['x'], mcp_tool_search_enabled: true },
  router_settings: { num_retries: 2, fallbacks: [{ a: ['b'] }] },
  auto_rotate: true,
  rotation_interval: '90d',
  allowed_regions: ['eu-west-1', 'us'],
  fence: 'strict',
};

const METADATA_FIELDS = {
  model_rpm_limit: { 'gpt-4o': 5 },
  model_tpm_limit: { 'gpt-4o': 500 },
  rpm_limit_type: 'best_effort_throughput',
  tpm_limit_type: 'dynamic',
  enforced_params: ['user', 'metadata.generation_name'],
  allowed_vector_store_indexes: [{ index_name: 'i', index_permissions: ['read'] }],
  enforced_batch_output_expires_after: { seconds: 1 },
  enforced_file_expires_after: { seconds: 2 },
  guardrails: ['g'],
  tags: ['blue', 'green'],
  prompts: ['p'],
  allowed_passthrough_routes: ['/azure'],
  default_estimated_output_tokens: 100,
  default_estimated_output_tokens_per_model: { 'gpt-4o': 200 },
};

describe('POST /key/generate', () => {
  it('gives a key with a check, stores only its hash, and shows it never again', async () => {
    const made = await generate();
    expect(made.key).toMatch(/^sk-c1[A-Za-z0-9_-]{28}$/);
    expect(made.token).toBe(hashOf(made.key));
    expect(made.token_id).toBe(made.token);
    expect(made.key_name).toBe(`sk-...${made.key.slice(-4)}`);
    expect(made.expires).toBeNull();
    const rows = await control.db.read(async (tx) =>
      JSON.stringify(
        [
          (await sql`select * from claviger.virtual_key where token = ${made.token}`.execute(tx)).rows,
          (await sql`select * from claviger.change_log`.execute(tx)).rows,
        ],
        (_name, value) => (typeof value === 'bigint' ? String(value) : value),
      ),
    );
    expect(rows).toContain(made.token);
    expect(rows).not.toContain(made.key);
    expect(JSON.stringify((await control.call('GET', `/key/info?key=${made.key}`)).json.info)).not.toContain(made.key);
  });

  it('makes the check with the fleet key that travels in the feed', async () => {
    const { key } = await generate();
    const sealed = await control.db.read((tx) =>
      sql<{ s: string }>`select fleet_key_sealed as s from claviger.installation`.execute(tx),
    );
    const { unseal } = await import('../../../util/sealed-value.ts');
    const { TEST_SEALING_KEY } = await import('../../../../tests/support/test-control-plane.ts');
    const fleetKey = Buffer.from(unseal(sealed.rows[0]!.s, TEST_SEALING_KEY, 'installation/fleet_key'), 'base64');
    const check = createHmac('sha256', fleetKey).update(key.slice(0, -6)).digest('base64url').slice(0, 6);
    expect(key.slice(-6)).toBe(check);
  });

  it('keeps every field, from generate to info', async () => {
    const metadata = { team: 'blue', nested: [1, null, { a: 'ü' }] };
    const made = await generate({
      ...EVERY_FIELD,
      ...METADATA_FIELDS,
      metadata,
      key_alias: 'every-field',
      duration: '30d',
    });
    const shown = await info(made.key);
    expect(shown).toMatchObject({ ...EVERY_FIELD, key_alias: 'every-field', blocked: false });
    expect(shown.metadata).toEqual({ ...metadata, ...METADATA_FIELDS, policies: ['p1'] });
    expect(made).toMatchObject({ ...EVERY_FIELD, ...METADATA_FIELDS, duration: '30d' });
    const lifetime = Date.parse(shown.expires) - Date.parse(shown.created_at);
    expect(lifetime).toBe(30 * 86_400_000);
    expect(new Date(shown.budget_reset_at).getUTCDay()).toBe(1);
    expect(shown.created_by).toBe('default_user_id');
    expect(shown).not.toHaveProperty('token');
  });

  it('takes a custom key, and refuses what can not be one', async () => {
    const made = await generate({ key: 'sk-my-own-key' });
    expect(made.key).toBe('sk-my-own-key');
    expect(made.token).toBe(hashOf('sk-my-own-key'));
    for (const key of ['my-key', 'sk-c1abc', 'sk-', 'sk-a b c', 'sk-käse', 'sk-my-own-key', 'sk-master-of-the-tests']) {
      const { status, json } = await control.call('POST', '/key/generate', { body: { key } });
      expect([key, status, json.error?.code, json.error?.param]).toEqual([key, 400, '400', 'key']);
    }
  });

  it('refuses an alias that is taken', async () => {
    await generate({ key_alias: 'taken' });
    const { status, json } = await control.call('POST', '/key/generate', { body: { key_alias: 'taken' } });
    expect(status).toBe(400);
    expect(json.error).toEqual({
      message: "Key with alias 'taken' already exists",
      type: 'bad_request_error',
      param: 'key_alias',
      code: '400',
    });
  });

  it('is served everywhere with the normal fence unless something else is said, and null goes back to that', async () => {
    const made = await generate({});
    expect(made).toMatchObject({ allowed_regions: [], fence: 'normal' });
    const changed = await control.call('POST', '/key/update', {
      body: { key: made.key, allowed_regions: ['eu'], fence: 'strict' },
    });
    expect(changed.json).toMatchObject({ allowed_regions: ['eu'], fence: 'strict' });
    await control.call('POST', '/key/update', { body: { key: made.key, key_alias: 'of-eu' } });
    expect(await info(made.key)).toMatchObject({ allowed_regions: ['eu'], fence: 'strict' });
    const logged = await control.db.read((tx) =>
      sql<{ before: object; after: object }>`
        select before, after from claviger.change_log where object_id = ${made.token} order by rev`.execute(tx),
    );
    expect(logged.rows[1]).toMatchObject({
      before: { allowed_regions: [], fence: 'normal' },
      after: { allowed_regions: ['eu'], fence: 'strict' },
    });
    await control.call('POST', '/key/update', { body: { key: made.key, allowed_regions: null, fence: null } });
    expect(await info(made.key)).toMatchObject({ allowed_regions: [], fence: 'normal' });
  });

  it('shows the region and the fence of a deleted key', async () => {
    const made = await generate({ allowed_regions: ['eu'], fence: 'strict' });
    await control.call('POST', '/key/delete', { body: { keys: [made.key] } });
    const { json } = await control.call(
      'GET',
      `/key/list?status=deleted&return_full_object=true&key_hash=${made.token}`,
    );
    expect(json.keys).toEqual([expect.objectContaining({ allowed_regions: ['eu'], fence: 'strict' })]);
  });

  it.each([
    { fence: 'loose' },
    { fence: '' },
    { allowed_regions: 'eu' },
    { allowed_regions: [''] },
    { allowed_regions: ['eu west'] },
    { allowed_regions: Array.from({ length: 101 }, (_, n) => `r${n}`) },
  ])('refuses %j, which can not be kept as it is meant', async (body) => {
    expect((await control.call('POST', '/key/generate', { body })).status).toBe(422);
  });

  it('sets the routes of a key type', async () => {
    expect((await generate({ key_type: 'llm_api' })).allowed_routes).toEqual(['llm_api_routes']);
    expect((await generate({ key_type: 'management' })).allowed_routes).toEqual(['management_routes']);
    expect((await generate({ key_type: 'read_only' })).allowed_routes).toEqual(['info_routes']);
    expect((await generate({ key_type: 'default' })).allowed_routes).toEqual([]);
  });

  it('reads durations: -1 and null never expire, months end on the same day, nonsense is a 400', async () => {
    expect((await generate({ duration: '-1' })).expires).toBeNull();
    expect((await generate({ duration: null })).expires).toBeNull();
    expect((await generate({ duration: '1mo' })).expires).toMatch(/^\d{4}-\d{2}-\d{2}T/);
    for (const body of [
      { duration: '30' },
      { duration: '3 fortnights' },
      { budget_duration: '7x' },
      { duration: '999999999mo' },
    ]) {
      expect((await control.call('POST', '/key/generate', { body })).status).toBe(400);
    }
  });

  it('reads an empty budget as none and refuses a negative one', async () => {
    expect((await generate({ max_budget: '' })).max_budget).toBeNull();
    expect((await generate({ max_budget: 0 })).max_budget).toBe(0);
    expect((await generate({ max_budget: '2.5' })).max_budget).toBe(2.5);
    const { status, json } = await control.call('POST', '/key/generate', { body: { max_budget: -1 } });
    expect([status, json.error.param]).toEqual([400, 'max_budget']);
  });

  it('lists every wrong field in a 422', async () => {
    const body = { models: 'gpt-4o', rpm_limit: 'many', blocked: 'perhaps', key_type: 'god', metadata: [] };
    const { status, json } = await control.call('POST', '/key/generate', { body });
    expect(status).toBe(422);
    expect(
      json.detail.map((entry: { loc: string[]; type: string }) => [entry.loc.join('.'), entry.type]).sort(),
    ).toEqual([
      ['body.blocked', 'bool_parsing'],
      ['body.key_type', 'enum'],
      ['body.metadata', 'dict_type'],
      ['body.models', 'list_type'],
      ['body.rpm_limit', 'int_parsing'],
    ]);
  });

  it.each([
    ['no body', ''],
    ['broken JSON', '{"models": ['],
    ['a list', '[]'],
    ['NUL in a value', '{"metadata": {"a": "\\u0000"}}'],
    ['half a surrogate pair', '{"user_id": "\\ud800"}'],
    ['deep nesting', `{"metadata": {"a": ${'['.repeat(100)}${']'.repeat(100)}}}`],
    ['a number beyond all', '{"max_budget": 1e999}'],
    ['a long alias', `{"key_alias": "${'a'.repeat(600)}"}`],
  ])('answers 422 to %s', async (_what, body) => {
    const { status, json } = await control.call('POST', '/key/generate', { body });
    expect(status).toBe(422);
    expect(json.detail[0]).toMatchObject({ loc: expect.arrayContaining(['body']), msg: expect.any(String) });
  });

  it('refuses a body over the limit', async () => {
    const body = { metadata: { a: 'x'.repeat(5 * 1024 * 1024) } };
    expect((await control.call('POST', '/key/generate', { body })).status).toBe(413);
  });
});

describe('POST /key/update', () => {
  it('changes each field, leaves the others, and null clears', async () => {
    const made = await generate({ metadata: { keep: 1 }, tags: ['old'] });
    for (const [field, value] of Object.entries(EVERY_FIELD)) {
      const before = await info(made.key);
      const { status, json } = await control.call('POST', '/key/update', { body: { key: made.key, [field]: value } });
      expect([field, status]).toEqual([field, 200]);
      const after = await info(made.key);
      expect(json).toEqual({ ...after, token: made.token, key: made.key });
      expect(after[field]).toEqual(value);
      const side = new Set([field, 'updated_at', 'updated_by', 'budget_reset_at', 'metadata']);
      for (const name of Object.keys(before))
        if (!side.has(name)) expect([field, name, after[name]]).toEqual([field, name, before[name]]);
    }
    expect((await info(made.key)).metadata).toEqual({ keep: 1, tags: ['old'], policies: ['p1'] });
    const nulls = Object.fromEntries(
      Object.keys(EVERY_FIELD)
        .filter((name) => name !== 'spend')
        .map((name) => [name, null]),
    );
    await control.call('POST', '/key/update', { body: { key: made.key, ...nulls, tags: null } });
    const cleared = await info(made.key);
    expect(cleared).toMatchObject({
      models: [],
      aliases: {},
      max_budget: null,
      budget_reset_at: null,
      router_settings: null,
      auto_rotate: false,
    });
    expect(cleared.metadata).toEqual({ keep: 1 });
  });

  it('accepts the hash, and says 404 for a key that is not there', async () => {
    const made = await generate();
    expect(
      (await control.call('POST', '/key/update', { body: { key: made.token, rpm_limit: 5 } })).json.rpm_limit,
    ).toBe(5);
    for (const key of ['sk-nobody', 'f'.repeat(64), 'nonsense']) {
      const { status, json } = await control.call('POST', '/key/update', { body: { key, rpm_limit: 5 } });
      expect([status, json.error.message]).toEqual([404, 'Key not found in database']);
    }
  });

  it('lets a key never expire with null or -1, and moves the expiry otherwise', async () => {
    const made = await generate({ duration: '1d' });
    for (const duration of [null, '-1']) {
      await control.call('POST', '/key/update', { body: { key: made.key, duration: '1h' } });
      expect((await info(made.key)).expires).not.toBeNull();
      await control.call('POST', '/key/update', { body: { key: made.key, duration } });
      expect((await info(made.key)).expires).toBeNull();
    }
  });

  it('wants both halves of a temporary budget increase', async () => {
    const made = await generate();
    const half = await control.call('POST', '/key/update', { body: { key: made.key, temp_budget_increase: 5 } });
    expect(half.status).toBe(400);
    const body = { key: made.key, temp_budget_increase: 5, temp_budget_expiry: '2030-01-01' };
    expect((await control.call('POST', '/key/update', { body })).status).toBe(200);
    expect((await info(made.key)).metadata).toEqual({ temp_budget_increase: 5, temp_budget_expiry: '2030-01-01' });
  });

  it('keeps an alias unique, but lets a key keep its own', async () => {
    await generate({ key_alias: 'first' });
    const second = await generate({ key_alias: 'second' });
    const taken = await control.call('POST', '/key/update', { body: { key: second.key, key_alias: 'first' } });
    expect([taken.status, taken.json.error.param]).toEqual([400, 'key_alias']);
    const same = await control.call('POST', '/key/update', { body: { key: second.key, key_alias: 'second' } });
    expect(same.status).toBe(200);
  });
});

describe('secrets inside a key', () => {
  const secret = 'ls-secret-value-0123456789';
  const logging = [
    { callback_name: 'langfuse', callback_vars: { langfuse_secret_key: secret, langfuse_host: 'https://lf' } },
  ];

  it('are sealed in the database and in the change log, and masked in answers', async () => {
    const made = await generate({ metadata: { logging }, config: { api_key: secret } });
    const shown = JSON.stringify([made, await info(made.key)]);
    expect(shown).not.toContain(secret);
    expect(shown).toContain('https://lf');
    const stored = await control.db.read(async (tx) => {
      const key = await sql<{
        t: string;
      }>`select to_jsonb(k)::text as t from claviger.virtual_key k where token = ${made.token}`.execute(tx);
      const log = await sql<{
        t: string;
      }>`select to_jsonb(c)::text as t from claviger.change_log c where object_id = ${made.token}`.execute(tx);
      return [key.rows[0]!.t, log.rows[0]!.t];
    });
    for (const text of stored) {
      expect(text).not.toContain(secret);
      expect(text).toMatch(/"fingerprint": "[0-9a-f]{32}"/);
      expect(text).toContain('c1:');
    }
  });

  it('survive an update that sends back what an answer showed', async () => {
    const made = await generate({ metadata: { logging } });
    const shown = (await info(made.key)).metadata;
    const sealedText = () =>
      control.db.read(async (tx) => {
        const { rows } = await sql<{
          m: string;
        }>`select metadata #>> '{logging,0,callback_vars,langfuse_secret_key}' as m
          from claviger.virtual_key where token = ${made.token}`.execute(tx);
        return rows[0]!.m;
      });
    const before = await sealedText();
    await control.call('POST', '/key/update', { body: { key: made.key, metadata: { ...shown, note: 'new' } } });
    expect(await sealedText()).toBe(before);
    expect((await info(made.key)).metadata.note).toBe('new');
    const other = [{ callback_name: 'langfuse', callback_vars: { langfuse_secret_key: 'another-secret-987654' } }];
    await control.call('POST', '/key/update', { body: { key: made.key, metadata: { logging: other } } });
    expect(await sealedText()).not.toBe(before);
  });
});

describe('POST /key/block and /key/unblock', () => {
  it('answer with the row, by key or by hash', async () => {
    const made = await generate();
    const blocked = await control.call('POST', '/key/block', { body: { key: made.key } });
    expect([blocked.status, blocked.json.blocked, blocked.json.token]).toEqual([200, true, made.token]);
    expect((await control.call('GET', '/key/info', { key: made.key })).json.error.message).toMatch(/Key is blocked/);
    expect((await control.call('POST', '/key/unblock', { body: { key: made.token } })).json.blocked).toBe(false);
    expect((await control.call('GET', '/key/info', { key: made.key })).status).toBe(200);
  });

  it('say what is wrong with the key that was named', async () => {
    expect((await control.call('POST', '/key/block', { body: { key: 'nonsense' } })).status).toBe(400);
    expect((await control.call('POST', '/key/block', { body: { key: 'sk-nobody' } })).status).toBe(404);
    expect((await control.call('POST', '/key/block', { body: {} })).status).toBe(422);
  });
});

describe('POST /key/delete', () => {
  it('deletes by key, by hash and by alias, and says what it found as it was passed', async () => {
    const [a, b] = [await generate(), await generate()];
    const both = await control.call('POST', '/key/delete', { body: { keys: [a.key, b.token, 'sk-nobody'] } });
    expect(both.json).toEqual({ deleted_keys: [a.key, b.token] });
    await generate({ key_alias: 'delete-me-1' });
    await generate({ key_alias: 'delete-me-2' });
    const aliases = await control.call('POST', '/key/delete', {
      body: { key_aliases: ['delete-me-2', 'delete-me-1'] },
    });
    expect(aliases.json).toEqual({ deleted_keys: ['delete-me-2', 'delete-me-1'] });
  });

  it('keeps the deleted key with who deleted it, and frees its alias', async () => {
    const made = await generate({ key_alias: 'again', spend: 2 });
    await control.call('POST', '/key/delete', {
      body: { keys: [made.key] },
      headers: { 'litellm-changed-by': 'alice' },
    });
    const { json } = await control.call(
      'GET',
      `/key/list?status=deleted&return_full_object=true&key_hash=${made.token}`,
    );
    expect(json.keys).toEqual([
      expect.objectContaining({
        token: made.token,
        key_alias: 'again',
        spend: 2,
        deleted_by: 'default_user_id',
        deleted_by_api_key: 'litellm_proxy_master_key',
        litellm_changed_by: 'alice',
        deleted_at: expect.any(String),
      }),
    ]);
    expect((await control.call('GET', `/key/info?key=${made.key}`)).status).toBe(404);
    await generate({ key_alias: 'again' });
  });

  it('refuses both or neither of keys and aliases, unknown keys, and too many', async () => {
    expect((await control.call('POST', '/key/delete', { body: {} })).status).toBe(422);
    expect((await control.call('POST', '/key/delete', { body: { keys: ['a'], key_aliases: ['b'] } })).status).toBe(422);
    const missing = await control.call('POST', '/key/delete', { body: { keys: ['sk-nobody-at-all'] } });
    expect(missing.status).toBe(404);
    expect(JSON.stringify(missing.json)).not.toContain('sk-nobody-at-all');
    const many = Array.from({ length: 1_001 }, (_, n) => `sk-${n}`);
    expect((await control.call('POST', '/key/delete', { body: { keys: many } })).status).toBe(400);
  });
});
