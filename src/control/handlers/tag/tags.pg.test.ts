import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startControlPlane, type TestControlPlane } from '../../../../tests/support/test-control-plane.ts';

let control: TestControlPlane;

beforeAll(async () => {
  control = await startControlPlane();
});
afterAll(() => control.stop());

const post = (path: string, body: object, key?: string) =>
  control.call('POST', path, { body, ...(key === undefined ? {} : { key }) });
const get = (path: string, key?: string) => control.call('GET', path, key === undefined ? {} : { key });

async function ok(path: string, body: object, key?: string) {
  const answer = await post(path, body, key);
  expect([path, answer.status, answer.json]).toEqual([path, 200, answer.json]);
  return answer.json;
}

describe('a tag', () => {
  it('keeps every field, and its budget is a budget object', async () => {
    const fields = {
      description: 'Paid',
      models: ['m'],
      model_info: { m: { a: 1 } },
      metadata: { budget_mode: 'strict' },
    };
    const { tag } = await ok('/tag/new', {
      name: 'paid',
      ...fields,
      max_budget: 5,
      budget_duration: '1d',
      tpm_limit: 9,
    });
    expect(tag).toMatchObject({ name: 'paid', ...fields, spend: 0 });
    expect(tag.litellm_budget_table).toMatchObject({ max_budget: 5, tpm_limit: 9, budget_duration: '1d' });
    expect((await ok('/tag/info', { names: ['paid'] })).paid).toEqual(tag);
    expect((await get('/tag/list')).json).toEqual([tag]);
  });

  it('is changed by name, and null clears', async () => {
    const { tag } = await ok('/tag/update', { name: 'paid', description: null, max_budget: 6 });
    expect(tag).toMatchObject({
      description: null,
      models: ['m'],
      litellm_budget_table: { max_budget: 6, tpm_limit: 9 },
    });
  });

  it('is refused when the name is taken, unknown, or a value means nothing', async () => {
    expect((await post('/tag/new', { name: 'paid' })).status).toBe(400);
    expect((await post('/tag/new', { name: 'x', max_budget: -1 })).status).toBe(400);
    expect((await post('/tag/new', {})).status).toBe(422);
    expect((await post('/tag/update', { name: 'no-such-tag' })).status).toBe(404);
    expect((await post('/tag/info', { names: ['paid', 'no-such-tag'] })).status).toBe(404);
    expect((await post('/tag/delete', { name: 'no-such-tag' })).status).toBe(404);
  });

  it('is deleted, by admins only', async () => {
    const { key } = await ok('/key/generate', {});
    expect((await post('/tag/delete', { name: 'paid' }, key)).status).toBe(401);
    await ok('/tag/delete', { name: 'paid' });
    expect((await get('/tag/list')).json).toEqual([]);
  });
});
