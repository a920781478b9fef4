import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Claviger } from '../support/processes.ts';
import { temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { readFrames } from '../support/usage.ts';
import { expectInForce, freshCall, revisionOf } from './fresh-calls.ts';
import { dataDirIn, GATEWAYS, startCurrent } from './keyed-claviger.ts';

let dir: string;
let claviger: Claviger;

beforeAll(async () => {
  dir = await temporaryDirectory();
  claviger = await startCurrent(dir);
});
afterAll(async () => {
  await claviger?.stop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

const post = (path: string, body: object, key?: string) => claviger.api('POST', path, body, key);
const hashOf = (key: string) => createHash('sha256').update(key).digest('hex');
const infoOf = async (key: string) => (await claviger.api('GET', `/key/info?key=${key}`)).json().info;
const used = (write: Awaited<ReturnType<typeof post>>, key: string, status: number, call = {}) =>
  expectInForce(claviger, write, key, status, call);

describe('a generated key', () => {
  it('is in force in every gateway process as soon as it is answered', async () => {
    for (let round = 0; round < 5; round++) {
      const made = await post('/key/generate', {});
      const { key, token, key_name, expires, models, blocked, spend } = made.json();
      expect(key).toMatch(/^sk-c1[A-Za-z0-9_-]{28}$/);
      expect({ token, key_name, expires, models, blocked, spend }).toEqual({
        token: hashOf(key),
        key_name: `sk-...${key.slice(-4)}`,
        expires: null,
        models: [],
        blocked: false,
        spend: 0,
      });
      const answer = await used(made, key, 200);
      expect(answer.json().choices).toHaveLength(1);
    }
    // Both processes took part, or the check would say little.
    for (let slot = 0; slot < GATEWAYS; slot++)
      expect(readFrames(join(dataDirIn(dir), `gateway-${slot}`)).size).toBeGreaterThan(0);
  });

  it('keeps every field that it was made with', async () => {
    const fields = {
      key_alias: 'every field ä',
      duration: '30d',
      models: ['alpha', 'team/*'],
      aliases: { mine: 'alpha' },
      config: { region: 'eu' },
      spend: 1.25,
      // More than calls to models without a price reserve.
      max_budget: 1000.5,
      soft_budget: 5,
      budget_duration: '7d',
      budget_limits: [{ budget_duration: '1h', max_budget: 1000 }],
      model_max_budget: { alpha: { budget_limit: 1000, time_period: '1d' } },
      budget_fallbacks: { alpha: ['beta'] },
      user_id: 'user-1',
      team_id: 'team-1',
      organization_id: 'org-1',
      project_id: 'project-1',
      agent_id: 'agent-1',
      max_parallel_requests: 3,
      rpm_limit: 100_000,
      tpm_limit: 1_000_000,
      model_rpm_limit: { alpha: 5_000 },
      model_tpm_limit: { alpha: 500_000 },
      rpm_limit_type: 'best_effort_throughput',
      metadata: { cost_centre: 'ü', nested: [1, null] },
      permissions: { get_spend_routes: true },
      allowed_routes: ['llm_api_routes', '/key/info'],
      allowed_cache_controls: ['no-cache'],
      tags: ['blue'],
      enforced_params: ['user'],
      guardrails: ['g'],
      policies: ['p'],
      prompts: ['q'],
      access_group_ids: ['group-1'],
      object_permission: { mcp_servers: ['m'] },
      router_settings: { num_retries: 1 },
      auto_rotate: true,
      rotation_interval: '90d',
    };
    const made = await post('/key/generate', fields);
    const { key, ...shown } = made.json();
    expect(shown).toMatchObject({ ...fields, metadata: expect.objectContaining(fields.metadata) });
    const stored = await infoOf(key);
    const inMetadata = {
      model_rpm_limit: fields.model_rpm_limit,
      model_tpm_limit: fields.model_tpm_limit,
      rpm_limit_type: fields.rpm_limit_type,
      tags: fields.tags,
      enforced_params: fields.enforced_params,
      guardrails: fields.guardrails,
      prompts: fields.prompts,
    };
    expect(stored.metadata).toMatchObject({ ...fields.metadata, ...inMetadata });
    for (const [name, value] of Object.entries(fields)) {
      if (name in inMetadata || name === 'metadata' || name === 'duration') continue;
      expect({ [name]: stored[name] }).toEqual({ [name]: value });
    }
    expect(Date.parse(stored.expires) - Date.parse(stored.created_at)).toBe(30 * 86_400_000);
    expect(stored).not.toHaveProperty('token');

    const list = await claviger.api('GET', `/key/list?return_full_object=true&key_hash=${hashOf(key)}`);
    expect(list.json()).toMatchObject({ total_count: 1, current_page: 1, total_pages: 1 });
    expect(list.json().keys[0]).toMatchObject({ token: hashOf(key), key_alias: fields.key_alias });
    expect(list.text).not.toContain(key);

    await used(made, key, 200, { model: 'mine' });
  });

  it('with a value of the caller works like another', async () => {
    const custom = 'sk-my-own-value-0123456789';
    const made = await post('/key/generate', { key: custom });
    expect(made.json()).toMatchObject({ key: custom, token: hashOf(custom) });
    await used(made, custom, 200);
    const again = await post('/key/generate', { key: custom });
    expect([again.status, again.json().error]).toEqual([400, expect.objectContaining({ code: '400', param: 'key' })]);
  });

  it.each(['sk-c1', 'sk-c1-my-own-value-0123456789', 'my-own-value'])('can not be %s', async (custom) => {
    const refused = await post('/key/generate', { key: custom });
    expect(refused.status).toBe(400);
    expect(refused.json().error).toMatchObject({ type: 'bad_request_error', param: 'key', code: '400' });
    expect((await freshCall(claviger, custom)).status).toBe(401);
  });

  it('is refused with an alias that another one has', async () => {
    const key_alias = 'taken';
    await claviger.generateKey({ key_alias });
    const refused = await post('/key/generate', { key_alias });
    expect(refused.status).toBe(400);
    expect(refused.json().error).toMatchObject({
      message: "Key with alias 'taken' already exists",
      param: 'key_alias',
    });
  });

  it('may not make keys itself, and its hash is no credential', async () => {
    const key = await claviger.generateKey();
    expect((await post('/key/generate', {}, key)).status).toBe(401);
    const answer = await freshCall(claviger, hashOf(key));
    expect(answer.status).toBe(401);
    expect(answer.json().error.message).toContain("expected to start with 'sk-'");
  });
});

describe('a change of a key', () => {
  it('of its models is in force at once, either way', async () => {
    const key = await claviger.generateKey({ models: ['alpha'] });
    const refused = await freshCall(claviger, key, { model: 'beta' });
    expect(refused.json().error).toMatchObject({ code: '403', type: 'key_model_access_denied', param: 'model' });
    const widened = await post('/key/update', { key, models: ['beta', 'team/*'] });
    await used(widened, key, 200, { model: 'beta' });
    await used(widened, key, 200, { model: 'team/anything' });
    await used(widened, key, 403, { model: 'alpha' });
    const models = await freshCall(claviger, key, { method: 'GET', path: '/v1/models?return_wildcard_routes=true' });
    expect(models.json().data.map(({ id }: { id: string }) => id)).toEqual(['beta', 'team/*']);
    await used(await post('/key/update', { key, models: [] }), key, 200, { model: 'alpha' });
  });

  it('of its aliases for models is in force at once', async () => {
    const key = await claviger.generateKey();
    await used(await post('/key/update', { key, aliases: { mine: 'alpha' } }), key, 200, { model: 'mine' });
    await used(await post('/key/update', { key, aliases: {} }), key, 400, { model: 'mine' });
  });

  it('of its alias moves it in the list, and leaves the rest as it is', async () => {
    const key = await claviger.generateKey({ key_alias: 'before', models: ['alpha'], metadata: { a: 1 } });
    const answer = await post('/key/update', { key, key_alias: 'after' });
    expect(answer.json()).toMatchObject({ key, key_alias: 'after', models: ['alpha'], metadata: { a: 1 } });
    const count = async (alias: string) =>
      (await claviger.api('GET', `/key/list?key_alias=${alias}`)).json().total_count;
    expect([await count('before'), await count('after')]).toEqual([0, 1]);
  });

  it('of its lifetime ends it at that moment and not before, and gives it back', async () => {
    const key = await claviger.generateKey();
    const shortened = await post('/key/update', { key, duration: '2s' });
    const expiresAt = Date.parse(shortened.json().expires);
    await used(shortened, key, 200);
    await delay(expiresAt - Date.now() + 1);
    for (let call = 0; call < 4; call++) {
      const answer = await freshCall(claviger, key);
      expect(answer.json().error).toMatchObject({ type: 'expired_key', code: '401', param: hashOf(key) });
      expect(answer.json().error.message).toMatch(/^Authentication Error - Expired Key\. /);
    }
    expect((await claviger.api('GET', '/key/list?expires=expired')).json().keys).toContain(hashOf(key));
    await used(await post('/key/update', { key, duration: '-1' }), key, 200);
    expect((await infoOf(key)).expires).toBeNull();
  });

  it('can be made with the hash of the key, and names a key that is not there', async () => {
    const key = await claviger.generateKey();
    await used(await post('/key/update', { key: hashOf(key), models: ['beta'] }), key, 403);
    expect((await post('/key/update', { key: 'sk-nobody-0123456789', models: [] })).status).toBe(404);
  });

  it('has a revision of its own', async () => {
    const key = await claviger.generateKey();
    const revisions: number[] = [];
    for (const models of [['alpha'], ['beta'], []]) {
      revisions.push(revisionOf(await post('/key/update', { key, models })));
    }
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
    const read = await claviger.api('GET', `/key/info?key=${key}`);
    expect(revisionOf(read)).toBeGreaterThanOrEqual(revisions.at(-1) ?? 0);
  });
});

describe('a key that must not work any more', () => {
  it('is refused at once when it is blocked, and works again when it is unblocked', async () => {
    const key = await claviger.generateKey();
    for (const body of [{ key }, { key: hashOf(key) }]) {
      const blocked = await post('/key/block', body);
      expect(blocked.json().blocked).toBe(true);
      const answer = await used(blocked, key, 401);
      expect(answer.json().error.message).toContain('Key is blocked');
      const unblocked = await post('/key/unblock', body);
      expect(unblocked.json().blocked).toBe(false);
      await used(unblocked, key, 200);
    }
    await used(await post('/key/update', { key, blocked: true }), key, 401);
    expect((await infoOf(key)).blocked).toBe(true);
  });

  it('is refused at once when it is deleted: by itself, by its hash, by its alias', async () => {
    const names = ['deleted-1', 'deleted-2', 'deleted-3'];
    const [one, two, three] = await Promise.all(names.map((key_alias) => claviger.generateKey({ key_alias })));
    const bodies: [string, object, string[]][] = [
      [one!, { keys: [one] }, [one!]],
      [two!, { keys: [hashOf(two!)] }, [hashOf(two!)]],
      [three!, { key_aliases: [names[2]] }, [names[2]!]],
    ];
    for (const [key, body, deleted] of bodies) {
      const answer = await post('/key/delete', body);
      expect(answer.json()).toEqual({ deleted_keys: deleted });
      const refused = await used(answer, key, 401);
      expect(refused.json().error).toMatchObject({ type: 'token_not_found_in_db', code: '401' });
      expect((await claviger.api('GET', `/key/info?key=${key}`)).status).toBe(404);
      expect((await post('/key/delete', body)).status).toBe(404);
    }
    const gone = await claviger.api('GET', `/key/list?status=deleted&return_full_object=true&key_alias=${names[0]}`);
    expect(gone.json().keys).toMatchObject([{ token: hashOf(one!), deleted_by: 'default_user_id' }]);
  });

  it('leaves a stream that is under way alone', async () => {
    const key = await claviger.generateKey();
    const answer = await fetch(`${claviger.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'alpha',
        stream: true,
        messages: [{ role: 'user', content: 'x' }],
        fake: { chunks: 5, tokens: 5, chunk_ms: 200 },
      }),
    });
    await used(await post('/key/block', { key }), key, 401);
    expect(await answer.text()).toMatch(/data: \[DONE\]\n\n$/);
  });
});

describe('the routes of a key', () => {
  const chat = { model: 'alpha' };
  const models = { method: 'GET', path: '/v1/models' };
  const embeddings = { path: '/v1/embeddings', body: { model: 'vectors', input: 'x' } };
  const info = { method: 'GET', path: '/key/info' };
  const list = { method: 'GET', path: '/key/list' };
  const block = { path: '/key/block', body: { key: 'sk-nobody-0123456789' } };

  it.each([
    // What a key may not do at all as a key of no admin is 401; what its routes do not hold is 403.
    ['default', { chat: 200, models: 200, info: 200, list: 200, block: 401 }],
    ['llm_api', { chat: 200, models: 200, info: 403, list: 403, block: 403 }],
    ['management', { chat: 403, models: 403, info: 200, list: 200, block: 401 }],
    ['read_only', { chat: 403, models: 200, info: 200, list: 200, block: 403 }],
  ])('of the type %s', async (key_type, expected) => {
    const key = await claviger.generateKey({ key_type });
    const statuses: Record<string, number> = {};
    for (const [name, call] of Object.entries({ chat, models, info, list, block }))
      statuses[name] = (await freshCall(claviger, key, call)).status;
    expect(statuses).toEqual(expected);
  });

  it('are those in allowed_routes: a path, its continuation, a prefix with a star, a list; changed at once', async () => {
    const made = await post('/key/generate', { allowed_routes: ['/v1/embeddings'] });
    const { key } = made.json();
    await used(made, key, 200, embeddings);
    const refused = await used(made, key, 403, chat);
    expect(refused.json().error).toMatchObject({ type: 'auth_error', code: '403' });
    expect(refused.json().error.message).toMatch(
      /^Virtual key is not allowed to call this route\. Only allowed to call routes: \['\/v1\/embeddings'\]\. Tried to call route: \/v1\/chat\/completions$/,
    );
    for (const allowed of ['/v1/chat', '/v1/ch*', 'openai_routes', 'llm_api_routes']) {
      const changed = await post('/key/update', { key, allowed_routes: [allowed] });
      await used(changed, key, 200, chat);
      await used(changed, key, 403, info);
    }
    await used(await post('/key/update', { key, allowed_routes: [] }), key, 200, info);
  });
});

it('many keys made, changed and deleted at the same time each see their own changes at once', async () => {
  await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const made = await post('/key/generate', { models: [index % 2 === 0 ? 'alpha' : 'beta'] });
      const { key } = made.json();
      await used(made, key, index % 2 === 0 ? 200 : 403, { model: 'alpha' });
      await used(await post('/key/update', { key, models: ['alpha'] }), key, 200, { model: 'alpha' });
      await used(await post('/key/delete', { keys: [key] }), key, 401, { model: 'alpha' });
    }),
  );
});

it('both gateway processes report the revision of the last write', async () => {
  const rev = revisionOf(await post('/key/generate', {}));
  await until('both are at the newest revision', async () => {
    const { text } = await claviger.api('GET', '/metrics');
    const revisions = [...text.matchAll(/^claviger_config_rev\{[^}]*\} (\d+)$/gm)].map(([, value]) => Number(value));
    return revisions.length === GATEWAYS && revisions.every((value) => value === rev) ? true : null;
  });
});
