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

const EVERY_FIELD = {
  max_budget: 10.5,
  soft_budget: 5,
  budget_duration: '7d',
  budget_limits: [{ budget_duration: '1h', max_budget: 1 }],
  model_max_budget: { m: { budget_limit: 1, time_period: '1d' } },
  max_parallel_requests: 3,
  rpm_limit: 10,
  tpm_limit: 100,
  allowed_models: ['m'],
  metadata: { offline_overdraft_usd: 0.5 },
};

describe('a budget object', () => {
  it('keeps every field, from new to info', async () => {
    const made = await ok('/budget/new', { budget_id: 'every', ...EVERY_FIELD });
    const [shown] = (await post('/budget/info', { budgets: ['every', 'no-such-budget'] })).json;
    expect(shown).toEqual(made);
    expect(shown).toMatchObject({ budget_id: 'every', ...EVERY_FIELD, created_by: 'default_user_id' });
    expect(new Date(shown.budget_reset_at).getUTCDay()).toBe(1);
    const given = await ok('/budget/new', { budget_reset_at: '2030-01-01T00:00:00+02:00' });
    expect(given.budget_reset_at).toBe('2029-12-31T22:00:00.000Z');
    expect(given.budget_id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('is changed by id, and null clears', async () => {
    await ok('/budget/new', { budget_id: 'change', max_budget: 1, rpm_limit: 1 });
    expect(await ok('/budget/update', { budget_id: 'change', max_budget: null })).toMatchObject({
      max_budget: null,
      rpm_limit: 1,
    });
    expect((await post('/budget/update', { max_budget: 1 })).status).toBe(400);
    expect((await post('/budget/update', { budget_id: 'no-such-budget' })).status).toBe(404);
  });

  it('is refused with an id that is taken or values that mean nothing', async () => {
    await ok('/budget/new', { budget_id: 'taken' });
    const cases: [object, number][] = [
      [{ budget_id: 'taken' }, 400],
      [{ max_budget: -1 }, 400],
      [{ max_budget: 'Infinity' }, 422],
      [{ budget_duration: 'soon' }, 400],
      [{ budget_reset_at: 'tomorrow' }, 422],
    ];
    for (const [body, expected] of cases) {
      expect([body, (await post('/budget/new', body)).status]).toEqual([body, expected]);
    }
    expect((await control.call('POST', '/budget/new', { body: '{"max_budget": 1e999}' })).status).toBe(422);
    expect((await post('/budget/info', { budgets: [] })).status).toBe(400);
  });

  it('is deleted only when nobody takes terms from it', async () => {
    await ok('/budget/new', { budget_id: 'used' });
    await ok('/customer/new', { user_id: 'user-of-it', budget_id: 'used' });
    const refused = await post('/budget/delete', { id: 'used' });
    expect([refused.status, refused.json.error.message]).toEqual([409, expect.stringContaining('customer user-of-it')]);
    await ok('/customer/update', { user_id: 'user-of-it', budget_id: null });
    expect((await ok('/budget/delete', { id: 'used' })).budget_id).toBe('used');
    expect((await post('/budget/delete', { id: 'used' })).status).toBe(404);
  });

  it('is listed and described, for admins', async () => {
    const { key } = await ok('/key/generate', {});
    const viewer = (await ok('/user/new', { user_role: 'proxy_admin_viewer' })).key;
    const listed = (await get('/budget/list', viewer)).json as { budget_id: string }[];
    expect(listed.map(({ budget_id }) => budget_id)).toContain('every');
    expect((await get('/budget/list', key)).status).toBe(400);
    expect((await post('/budget/delete', { id: 'every' }, key)).status).toBe(400);
    expect((await post('/budget/new', {}, key)).status).toBe(401);
    const settings = (await get('/budget/settings?budget_id=every')).json;
    expect(settings).toContainEqual(expect.objectContaining({ field_name: 'max_budget', field_value: 10.5 }));
    expect((await get('/budget/settings?budget_id=no-such-budget')).status).toBe(404);
  });

  it('of a key is shown with the key', async () => {
    const { key } = await ok('/key/generate', { budget_id: 'every' });
    expect((await get('/key/info', key)).json.info.litellm_budget_table).toMatchObject({ max_budget: 10.5 });
  });
});
