import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  startControlPlane,
  TEST_SEALING_KEY,
  type TestControlPlane,
} from '../../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../../tests/support/test-database.ts';
import { openModel } from '../../../domain/open-model.ts';
import {
  DATABASE_MODELS_MAX,
  STORED_MODEL_BYTES_MAX,
  type StoredModel,
  storedModelFrom,
} from '../../../domain/stored-model.ts';
import { allModels, insertModel } from '../../../storage/repositories/models.ts';
import { unseal } from '../../../util/sealed-value.ts';

const CANARY = 'sk-canary-of-the-model-tests-0123456789';

let database: TestDatabase;
let control: TestControlPlane;
let number = 0;
let id: string;

beforeAll(async () => {
  database = await createTestDatabase();
  control = await startControlPlane({
    database,
    config: {
      models: [
        {
          modelName: 'of-the-file',
          litellmParams: { model: 'openai/gpt-4o', api_key: CANARY, api_base: 'https://file.test/v1' },
          writtenParams: { model: 'openai/gpt-4o', api_key: 'os.environ/FILE_KEY', api_base: 'https://file.test/v1' },
          modelInfo: { id: 'file-1' },
        },
        { modelName: 'open', litellmParams: { model: 'fake/gpt', api_key: CANARY }, modelInfo: { id: 'file-2' } },
      ],
    },
  });
});
afterAll(async () => {
  await control?.stop();
  await database?.drop();
});
beforeEach(() => {
  number += 1;
  id = `model-${number}`;
});

const post = (path: string, body: unknown, key?: string) =>
  control.call('POST', path, { body, ...(key === undefined ? {} : { key }) });
const params = { model: 'openai/gpt-4o', api_base: 'https://models.test/v1', api_key: CANARY };
const add = (fields: object = {}) =>
  post('/model/new', { model_name: 'm', litellm_params: params, model_info: { id }, ...fields });
const info = async (wanted = id) =>
  (await control.call('GET', `/model/info?litellm_model_id=${wanted}`)).json.data?.find(
    (model: { model_info: { db_model: boolean } }) => model.model_info.db_model,
  );
const rows = () => control.db.read(allModels);
const stored = async (wanted = id): Promise<StoredModel> =>
  storedModelFrom((await rows()).find(({ model }) => model.model_id === wanted)!.model);
const opened = async (wanted = id) => {
  const result = openModel(await stored(wanted), {
    envValue: (name) => `value of ${name}`,
    unseal: (sealed, context) => unseal(sealed, TEST_SEALING_KEY, context),
  });
  if (!result.ok) throw new Error(result.problem);
  return result.entry;
};
const everythingStored = async () =>
  JSON.stringify(
    [await rows(), await control.db.read((tx) => tx.selectFrom('claviger.change_log').selectAll().execute())],
    (_, value) => (typeof value === 'bigint' ? String(value) : value),
  );

describe('POST /model/new', () => {
  it('answers the row in the names of LiteLLM, and the revision', async () => {
    const { status, headers, json } = await add({ model_info: { id, regions: ['eu'], mode: 'chat', tier: 'paid' } });
    expect(status).toBe(200);
    expect(Number(headers.get('x-claviger-rev'))).toBeGreaterThan(0);
    expect(headers.get('x-claviger-outcome')).toBe('created');
    expect(json).toEqual({
      model_id: id,
      model_name: 'm',
      litellm_params: { ...params, api_key: 'sk-c****6789' },
      model_info: { id, regions: ['eu'], mode: 'chat', tier: 'paid', db_model: true },
      created_at: expect.any(String),
      created_by: 'default_user_id',
      updated_at: json.created_at,
      updated_by: 'default_user_id',
    });
    expect((await opened()).litellmParams).toEqual(params);
  });

  it('makes an id when none is given', async () => {
    const { json } = await add({ model_info: null });
    expect(json.model_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(json.model_info.id).toBe(json.model_id);
  });

  it('keeps no secret in clear, neither in the row nor in the change log, and each bound to its place', async () => {
    const secrets = {
      aws_secret_access_key: `${CANARY}-aws`,
      azure_ad_token: `${CANARY}-azure`,
      client_secret: `${CANARY}-client`,
      vertex_credentials: { type: 'service_account', private_key: `${CANARY}-vertex` },
      extra_headers: { authorization: `Bearer ${CANARY}-header`, 'x-tenant': 'acme' },
      extra_body: { nested: [{ api_key: `${CANARY}-body` }] },
    };
    const { json } = await add({ litellm_params: { ...params, ...secrets } });
    expect(JSON.stringify(json)).not.toContain(CANARY);
    expect(await everythingStored()).not.toContain(CANARY);
    expect(json.litellm_params.extra_headers['x-tenant']).toBe('acme');
    expect((await opened()).litellmParams).toEqual({
      ...params,
      ...secrets,
      vertex_credentials: JSON.stringify(secrets.vertex_credentials),
    });
    const moved = { ...(await stored()), id: 'another' };
    const result = openModel(moved, {
      envValue: () => undefined,
      unseal: (sealed, context) => unseal(sealed, TEST_SEALING_KEY, context),
    });
    expect(result).toMatchObject({ ok: false, problem: expect.stringContaining('moved here from another place') });
  });

  it('keeps references to the environment as they are', async () => {
    const given = {
      model: 'openai/x',
      api_key: 'os.environ/EU_KEY',
      api_base: 'os.environ/EU_BASE',
      rpm: 'os.environ/RPM',
    };
    const { status, json } = await add({ litellm_params: given });
    expect(status).toBe(200);
    expect(json.litellm_params).toEqual(given);
    expect((await stored()).litellmParams).toEqual(given);
  });

  it.each([
    ['an unknown provider', { litellm_params: { model: 'nobody/x' } }, /nobody is not a known provider/],
    ['a provider of a later version', { litellm_params: { model: 'anthropic/x' } }, /provider anthropic is not served/],
    ['no model', { litellm_params: { api_key: 'x' } }, /names no model/],
    ['an empty name', { model_name: '' }, /model_name must not be empty/],
    [
      'a wrong address',
      { litellm_params: { model: 'openai/x', api_base: 'nowhere' } },
      /nowhere is not an http or https URL/,
    ],
    [
      'a password in the address',
      { litellm_params: { model: 'openai/x', api_base: 'https://me:secret-1@h/v1' } },
      /user name or password/,
    ],
    [
      'a text for a number',
      { litellm_params: { ...params, rpm: 'many' } },
      /litellm_params\.rpm must be an integer, but it is a text\./,
    ],
    [
      'a map for a text',
      { litellm_params: { ...params, api_key: {} } },
      /litellm_params\.api_key must be a text, but it is a map\./,
    ],
    [
      'a reference for the model',
      { litellm_params: { model: 'os.environ/MODEL' } },
      /litellm_params\.model must be written out/,
    ],
    ['a price that is none', { litellm_params: { ...params, input_cost_per_token: -1 } }, /-1 is not a usable price/],
    [
      'the form of sealed secrets',
      { litellm_params: { ...params, x: { $sealed: 'c1', shown: '' } } },
      /\$sealed is reserved/,
    ],
    [
      'regions that are no list',
      { model_info: { regions: 'eu' } },
      /model_info\.regions must be a list, but it is a text\./,
    ],
    [
      'a region that is no name',
      { model_info: { regions: ['eu', 'a b'] } },
      /"a b", which is not the name of a region/,
    ],
    [
      'too many regions',
      { model_info: { regions: Array.from({ length: 101 }, (_, n) => `r${n}`) } },
      /101 regions; 100 are the most/,
    ],
    ['a team', { model_info: { team_id: 'team-1' } }, /models of one team are not served/],
    ['an id for no header', { model_info: { id: 'a b' } }, /visible ASCII/],
    [
      'a credential by name',
      { litellm_params: { model: 'openai/x', litellm_credential_name: 'c' } },
      /litellm_credential_name/,
    ],
    [
      'too much',
      { litellm_params: { ...params, extra_body: { text: 'x'.repeat(STORED_MODEL_BYTES_MAX) } } },
      /32768 are the most/,
    ],
  ])('refuses %s with a sentence, and changes nothing', async (_what, fields, sentence) => {
    const before = (await rows()).length;
    const { status, json } = await add(fields);
    expect(json.error).toMatchObject({
      type: 'auth_error',
      param: 'None',
      code: '400',
      message: expect.stringMatching(sentence),
    });
    expect(status).toBe(400);
    expect(JSON.stringify(json)).not.toContain('secret-1');
    expect((await rows()).length).toBe(before);
  });

  it('refuses what has not the form of a request with 422', async () => {
    for (const body of [
      {},
      { model_name: 'm' },
      { model_name: 'm', litellm_params: [] },
      { model_name: 1, litellm_params: {} },
    ])
      expect((await post('/model/new', body)).status).toBe(422);
  });

  it('refuses an id that is taken', async () => {
    await add();
    expect((await add()).json.error).toMatchObject({
      code: '400',
      message: expect.stringMatching(/already exists in db/),
    });
  });

  it('is for admins', async () => {
    const { json } = await control.call('POST', '/key/generate', { body: {} });
    const refused = await post('/model/new', { model_name: 'm', litellm_params: params }, json.key);
    expect(refused.status).toBe(403);
    expect(refused.json.error.message).toMatch(/only make model calls if you are a PROXY_ADMIN/);
  });

  it('says what it would do with dry_run, and does not', async () => {
    const { headers, json } = await control.call('POST', '/model/new?dry_run=true', {
      body: { model_name: 'm', litellm_params: params, model_info: { id } },
    });
    expect(json.model_id).toBe(id);
    expect(headers.get('x-claviger-outcome')).toBe('created');
    expect((await rows()).some(({ model }) => model.model_id === id)).toBe(false);
    const wrong = { model_name: 'm', litellm_params: { model: 'nobody/x' } };
    expect((await control.call('POST', '/model/new?dry_run=true', { body: wrong })).status).toBe(400);
  });
});

describe('POST /model/update', () => {
  it('replaces the fields that are given, and keeps the others with their secrets', async () => {
    await add({ litellm_params: { ...params, rpm: 10, weight: 2 } });
    const { json, headers } = await post('/model/update', {
      model_name: 'renamed',
      litellm_params: { rpm: 20, weight: null },
      model_info: { id, tier: 'free' },
    });
    expect(headers.get('x-claviger-outcome')).toBe('updated');
    expect(json).toMatchObject({
      model_name: 'renamed',
      litellm_params: { rpm: 20, weight: 2, api_key: 'sk-c****6789' },
      model_info: { id, tier: 'free' },
    });
    expect((await opened()).litellmParams.api_key).toBe(CANARY);
  });

  it('keeps a secret that is sent back as it was shown, and seals a new one', async () => {
    const { json } = await add();
    await post('/model/update', { litellm_params: { ...json.litellm_params, rpm: 1 }, model_info: json.model_info });
    expect((await opened()).litellmParams).toMatchObject({ api_key: CANARY, rpm: 1 });
    await post('/model/update', { litellm_params: { api_key: 'sk-the-next-one-of-them' }, model_info: { id } });
    expect((await opened()).litellmParams.api_key).toBe('sk-the-next-one-of-them');
    expect(await everythingStored()).not.toContain('sk-the-next-one');
  });

  it('makes no revision when nothing changes, whatever was sent to say so', async () => {
    const made = await add({ model_info: { id, regions: ['eu', 'us'], mode: 'chat' } });
    const again = await post('/model/update?replace=true', {
      model_name: 'm',
      litellm_params: params,
      model_info: { mode: 'chat', regions: ['eu', 'us'], id },
    });
    expect(again.headers.get('x-claviger-outcome')).toBe('unchanged');
    expect(again.headers.get('x-claviger-rev')).toBe(made.headers.get('x-claviger-rev'));
    const shown = await info();
    const back = await post('/model/update', shown);
    expect(back.headers.get('x-claviger-outcome')).toBe('unchanged');
  });

  it('replaces everything with replace', async () => {
    await add({ litellm_params: { ...params, rpm: 10 }, model_info: { id, tier: 'paid' } });
    const body = { litellm_params: params, model_info: { id } };
    const dry = await control.call('POST', '/model/update?replace=true&dry_run=true', { body });
    expect(dry.headers.get('x-claviger-outcome')).toBe('updated');
    expect((await opened()).litellmParams).toHaveProperty('rpm');
    await control.call('POST', '/model/update?replace=true', { body });
    expect(await opened()).toMatchObject({ litellmParams: params, modelInfo: { id } });
    expect((await opened()).modelInfo).not.toHaveProperty('tier');
  });

  it('validates the whole of what it would be', async () => {
    await add();
    const { json } = await post('/model/update', { litellm_params: { model: 'nobody/x' }, model_info: { id } });
    expect(json.error.message).toMatch(/nobody is not a known provider/);
    expect((await opened()).litellmParams.model).toBe('openai/gpt-4o');
  });

  it('says which models are not here, and where those of the file are', async () => {
    const missing = await post('/model/update', { litellm_params: {}, model_info: { id: 'nobody' } });
    expect(missing).toMatchObject({
      status: 400,
      json: { error: { message: 'Model with id=nobody not found in db' } },
    });
    const ofFile = await post('/model/update', { litellm_params: {}, model_info: { id: 'file-1' } });
    expect(ofFile.status).toBe(400);
    expect(ofFile.json.error.message).toMatch(/file-1 is a config model.*cannot be edited/);
    expect((await post('/model/update', { litellm_params: {} })).json.error.message).toMatch(
      /model_info\.id is missing/,
    );
  });
});

it('PATCH /model/{model_id}/update changes some fields, and is 404 for a model that is not there', async () => {
  await add();
  const path = `/model/${id}/update`;
  const { status, json } = await control.call('PATCH', path, { body: { model_info: { regions: ['us'] } } });
  expect(status).toBe(200);
  expect(json.model_info).toEqual({ id, regions: ['us'], db_model: true });
  expect((await opened()).litellmParams).toEqual(params);
  expect((await control.call('PATCH', '/model/nobody/update', { body: {} })).status).toBe(404);
});

describe('POST /model/delete', () => {
  it('deletes, and the log keeps what was there', async () => {
    await add();
    const { json, headers } = await post('/model/delete', { id });
    expect(json).toEqual({ message: `Model: ${id} deleted successfully` });
    expect(Number(headers.get('x-claviger-rev'))).toBeGreaterThan(0);
    expect(await info()).toBeUndefined();
    const log = await control.db.read((tx) =>
      tx
        .selectFrom('claviger.change_log')
        .select(['op', 'lane', 'kind', 'object_rev'])
        .where('object_id', '=', id)
        .orderBy('rev')
        .execute(),
    );
    expect(log).toEqual([
      { op: 'created', lane: 'guarded', kind: 'model', object_rev: 1n },
      { op: 'deleted', lane: 'guarded', kind: 'model', object_rev: 2n },
    ]);
  });

  it('is 400 for a model that is not there', async () => {
    expect(await post('/model/delete', { id: 'nobody' })).toMatchObject({
      status: 400,
      json: { error: { message: 'Model with id=nobody not found in db', type: 'auth_error' } },
    });
  });
});

describe('GET /model/info', () => {
  it('has the models of the file and of the database, and tells them apart', async () => {
    await add({ model_info: { id, max_tokens: 100 }, litellm_params: { ...params, input_cost_per_token: 2e-6 } });
    for (const path of ['/model/info', '/v1/model/info']) {
      const { json } = await control.call('GET', path);
      const byId = new Map(json.data.map((model: { model_info: { id: string } }) => [model.model_info.id, model]));
      expect(byId.get('file-1')).toMatchObject({
        model_name: 'of-the-file',
        litellm_params: { model: 'openai/gpt-4o', api_key: 'os.environ/FILE_KEY' },
        model_info: { id: 'file-1', db_model: false, mode: 'chat', litellm_provider: 'openai', key: 'gpt-4o' },
      });
      expect(byId.get('file-2')).toMatchObject({ litellm_params: { model: 'fake/gpt', api_key: 'sk-c****6789' } });
      expect(byId.get(id)).toMatchObject({
        model_info: { db_model: true, max_tokens: 100, input_cost_per_token: 2e-6, output_cost_per_token: null },
      });
      expect(JSON.stringify(json)).not.toContain(CANARY);
    }
  });

  it('shows one by its id, and is 400 for one that is not there', async () => {
    const { json } = await control.call('GET', '/model/info?litellm_model_id=file-1');
    expect(json.data).toHaveLength(1);
    const missing = await control.call('GET', '/model/info?litellm_model_id=nobody');
    expect(missing).toMatchObject({
      status: 400,
      json: { error: { message: 'Model id = nobody not found on litellm proxy' } },
    });
  });

  it('shows a key what it may use, without secrets and addresses', async () => {
    await add({ model_name: `only-${number}` });
    const { key } = (await control.call('POST', '/key/generate', { body: { models: [`only-${number}`] } })).json;
    const { json } = await control.call('GET', '/model/info', { key });
    expect(json.data).toEqual([
      {
        model_name: `only-${number}`,
        litellm_params: { model: 'openai/gpt-4o' },
        model_info: expect.objectContaining({ id }),
      },
    ]);
  });

  it('says that the file stands in place of a model of the database', async () => {
    await add({ model_info: { id: 'file-2' }, litellm_params: { model: 'fake/other' } });
    const { json } = await control.call('GET', '/model/info?litellm_model_id=file-2');
    expect(json.data.map((model: { model_info: object }) => model.model_info)).toEqual([
      expect.objectContaining({ db_model: false, overrides_db_model: true }),
      expect.objectContaining({ db_model: true }),
    ]);
  });

  it('comes in pages, filtered and ordered', async () => {
    await add({ model_name: `page-b-${number}`, model_info: { id: `${id}-b` } });
    await add({ model_name: `page-a-${number}`, model_info: { id: `${id}-a` } });
    const page = (query: string) => control.call('GET', `/v2/model/info?search=PAGE-&${query}`);
    const { json } = await page('sortBy=model_name&size=1&page=2');
    expect(json).toMatchObject({ total_count: 2, total_pages: 2, current_page: 2, size: 1 });
    expect(json.data[0].model_name).toBe(`page-b-${number}`);
    expect((await page('sortBy=model_name&sortOrder=desc')).json.data[0].model_name).toBe(`page-b-${number}`);
    expect((await page('sortBy=nothing')).status).toBe(400);
    expect((await control.call('GET', `/v2/model/info?modelId=${id}-a`)).json.total_count).toBe(1);
  });
});

it('models can be neither written nor seen where they are not kept in the database', async () => {
  const off = await startControlPlane({ database, settings: { storeModelInDb: false } });
  try {
    for (const [method, path, body] of [
      ['POST', '/model/new', { model_name: 'm', litellm_params: params }],
      ['POST', '/model/update', { model_info: { id } }],
      ['PATCH', '/model/x/update', {}],
      ['POST', '/model/delete', { id: 'x' }],
    ] as const) {
      const { status, json } = await off.call(method, path, { body });
      expect(status).toBe(500);
      expect(json.error).toMatchObject({ type: 'auth_error', param: 'None', code: '500' });
      expect(json.error.message).toContain("Set `STORE_MODEL_IN_DB='True'` in your env to enable this feature");
    }
    expect((await off.call('GET', '/model/info')).json.data).toEqual([]);
  } finally {
    await off.stop();
  }
});

it('refuses one more than the most, and writers at the same time do not get around it', async () => {
  await control.db.write(async (tx) => {
    const now = new Date().toISOString();
    const count = DATABASE_MODELS_MAX - 2 - (await allModels(tx)).length;
    for (let n = 0; n < count; n++) {
      const model = {
        model_id: `fill-${n}`,
        model_name: 'fill',
        litellm_params: { model: 'fake/gpt' },
        model_info: { id: `fill-${n}` },
        created_at: now,
        created_by: null,
        updated_at: now,
        updated_by: null,
      };
      await insertModel(tx, model, 1);
    }
  });
  const answers = await Promise.all(
    Array.from({ length: 5 }, (_, n) =>
      add({ model_info: { id: `last-${n}` }, litellm_params: { model: 'fake/gpt' } }),
    ),
  );
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 400, 400, 400]);
  const refused = answers.find(({ status }) => status === 400)!;
  expect(refused.json.error.message).toMatch(/There are 2000 models in the database; 2000 are the most\./);
  expect(await rows()).toHaveLength(DATABASE_MODELS_MAX);
}, 60_000);
