import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startControlPlane, type TestControlPlane } from '../../../../tests/support/test-control-plane.ts';
import type { Pricing } from '../../../domain/deployment.ts';
import { allModels } from '../../../storage/repositories/models.ts';

let control: TestControlPlane;
let number = 0;
let id: string;

beforeAll(async () => {
  control = await startControlPlane({
    prices: {
      find: (_provider, model) =>
        model === 'listed' ? ({ input: 2_500_000, output: 10_000_000 } as unknown as Pricing) : null,
    },
    config: {
      models: [
        {
          modelName: 'of-the-file',
          litellmParams: { model: 'openai/gpt-4o', api_key: 'sk-of-the-file' },
          modelInfo: { id: 'file-1' },
        },
        { modelName: 'open', litellmParams: { model: 'fake/gpt' }, modelInfo: { id: 'file-2' } },
        {
          modelName: 'blocked-in-the-file',
          litellmParams: { model: 'fake/gpt' },
          modelInfo: { id: 'file-3', blocked: true },
        },
      ],
    },
  });
});
afterAll(async () => {
  await control?.stop();
});
beforeEach(() => {
  number += 1;
  id = `model-${number}`;
});

const post = (path: string, body: unknown, key?: string) =>
  control.call('POST', path, { body, ...(key === undefined ? {} : { key }) });
const params = { model: 'openai/gpt-4o', api_base: 'https://models.test/v1', api_key: 'sk-of-the-tests' };
const add = (fields: object = {}) =>
  post('/model/new', { model_name: 'm', litellm_params: params, model_info: { id }, ...fields });
const info = async () => (await control.call('GET', `/model/info?litellm_model_id=${id}`)).json.data[0];
const rows = () => control.db.read(allModels);

describe('prices of the price list', () => {
  it('are shown for a model that has none of its own, and give way to what it says', async () => {
    const listed = { ...params, model: 'openai/listed' };
    await add({ litellm_params: listed });
    expect((await info()).model_info).toMatchObject({ input_cost_per_token: 2.5e-6, output_cost_per_token: 1e-5 });
    await post('/model/update', { model_info: { id }, litellm_params: { input_cost_per_token: 0 } });
    expect((await info()).model_info.input_cost_per_token).toBe(0);
    // What is shown is not stored.
    expect(JSON.stringify((await rows()).find(({ model }) => model.model_id === id))).not.toContain('output_cost');
  });
});

describe('a group of models', () => {
  const groups = async (name: string, key?: string) =>
    (await control.call('GET', `/model_group/info?model_group=${name}`, key === undefined ? {} : { key })).json.data;

  it('has of its deployments what they have in common', async () => {
    const group = `group-${number}`;
    const given = [
      [
        { ...params, model: 'openai/listed', rpm: 10 },
        { max_input_tokens: 1_000, supports_vision: true },
      ],
      [
        { ...params, model: 'groq/llama', rpm: 5, input_cost_per_token: 1e-6 },
        { max_input_tokens: 2_000, mode: 'chat' },
      ],
    ];
    for (const [litellm_params, model_info] of given)
      await post('/model/new', { model_name: group, litellm_params, model_info });
    expect(await groups(group)).toEqual([
      {
        model_group: group,
        providers: ['openai', 'groq'],
        mode: 'chat',
        max_input_tokens: 2_000,
        max_output_tokens: null,
        input_cost_per_token: 2.5e-6,
        output_cost_per_token: 1e-5,
        rpm: 15,
        tpm: null,
        supports_function_calling: false,
        supports_parallel_function_calling: false,
        supports_reasoning: false,
        supports_vision: true,
        supports_web_search: false,
        supported_openai_params: null,
        is_public_model_group: false,
        health_status: null,
      },
    ]);
    const names = (await control.call('GET', '/model_group/info')).json.data.map(
      ({ model_group }: { model_group: string }) => model_group,
    );
    expect(names.sort()).toEqual([group, 'm', 'of-the-file', 'open']);
    expect(await groups('nobody-has-it')).toEqual([]);
  });

  it('is shown to a key that may use it, and to no other', async () => {
    const { key } = (await post('/key/generate', { models: ['open'] })).json;
    expect(await groups('open', key)).toHaveLength(1);
    expect(await groups('of-the-file', key)).toEqual([]);
  });
});

describe('a blocked model', () => {
  const groupNames = async () =>
    (await control.call('GET', '/model_group/info')).json.data.map(
      ({ model_group }: { model_group: string }) => model_group,
    );

  it('is kept and not used until it is unblocked, and a file that is applied leaves it so', async () => {
    await add({ model_name: `blocked-${number}` });
    const blocked = await post('/model/block', { model_id: id });
    expect([blocked.status, blocked.json.model_id, blocked.json.model_info.blocked]).toEqual([200, id, true]);
    expect((await info()).model_info).toMatchObject({ blocked: true, key: null });
    expect(await groupNames()).not.toContain(`blocked-${number}`);
    const rev = Number(blocked.headers.get('x-claviger-rev'));
    expect((await control.call('GET', `/fleet/changes/${rev}`)).json.differences).toMatchObject([
      { field: 'model_info.blocked', after: true },
    ]);
    const again = await post('/model/block', { model_id: id });
    expect(again.headers.get('x-claviger-outcome')).toBe('unchanged');
    await post('/model/update?replace=true', { litellm_params: params, model_info: { id } });
    expect((await info()).model_info.blocked).toBe(true);
    expect((await post('/model/unblock', { model_id: id })).status).toBe(200);
    expect(await groupNames()).toContain(`blocked-${number}`);
  });

  it('is one of the database, and blocked by an admin', async () => {
    const file = await post('/model/block', { model_id: 'file-1' });
    expect([file.status, file.json.error.message]).toEqual([400, expect.stringContaining('config model')]);
    expect((await post('/model/block', { model_id: 'nobody' })).status).toBe(400);
    const { key } = (await post('/key/generate', {})).json;
    expect((await post('/model/block', { model_id: id }, key)).status).toBe(403);
  });
});
