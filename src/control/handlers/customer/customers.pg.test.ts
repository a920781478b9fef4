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

describe('a customer', () => {
  it('keeps every field, under both names of the routes', async () => {
    const fields = {
      alias: 'ACME',
      blocked: true,
      allowed_model_region: 'eu',
      default_model: 'gpt-4o',
      object_permission: { models: ['m'] },
      metadata: { a: 1 },
    };
    const made = await ok('/customer/new', {
      user_id: 'every',
      ...fields,
      spend: 1.5,
      max_budget: 5,
      rpm_limit: 7,
      budget_duration: '1d',
    });
    const { json } = await get('/end_user/info?end_user_id=every');
    expect(json).toEqual(made);
    expect(json).toMatchObject({ user_id: 'every', ...fields, spend: 1.5, object_permission_id: null });
    expect(json.litellm_budget_table).toMatchObject({
      budget_id: json.budget_id,
      max_budget: 5,
      rpm_limit: 7,
      budget_duration: '1d',
    });
    expect((await ok('/end_user/new', { user_id: 'other-name' })).budget_id).toBeNull();
  });

  it('has a budget or a budget object, not both', async () => {
    await ok('/budget/new', { budget_id: 'shared', max_budget: 1 });
    const cases: [object, number][] = [
      [{ budget_id: 'shared', max_budget: 2 }, 400],
      [{ budget_id: 'no-such-budget' }, 400],
      [{ max_budget: -2 }, 400],
      [{ allowed_model_region: 'moon' }, 422],
      [{ user_id: 'every' }, 400],
    ];
    for (const [body, expected] of cases) {
      expect([body, (await post('/customer/new', { user_id: 'refused', ...body })).status]).toEqual([body, expected]);
    }
    expect((await post('/customer/new', {})).status).toBe(422);
    expect((await get('/customer/info?end_user_id=refused')).status).toBe(404);
  });

  it('whose budget is changed leaves the budget of others as it is', async () => {
    await ok('/customer/new', { user_id: 'one', budget_id: 'shared' });
    await ok('/customer/new', { user_id: 'two', budget_id: 'shared' });
    const changed = await ok('/customer/update', { user_id: 'one', max_budget: 9 });
    expect(changed.budget_id).not.toBe('shared');
    expect(changed.litellm_budget_table.max_budget).toBe(9);
    expect((await get('/customer/info?end_user_id=two')).json.litellm_budget_table.max_budget).toBe(1);
    const alone = await ok('/customer/update', { user_id: 'one', rpm_limit: 4 });
    expect(alone.budget_id).toBe(changed.budget_id);
    expect(alone.litellm_budget_table).toMatchObject({ max_budget: 9, rpm_limit: 4 });
    expect((await post('/customer/update', { user_id: 'no-such-customer' })).status).toBe(404);
  });

  it('is blocked before its first call too, and the answer to an unblock names who still is', async () => {
    const blocked = await ok('/customer/block', { user_ids: ['two', 'not-seen-yet'] });
    expect(blocked.blocked_users.map(({ user_id }: { user_id: string }) => user_id)).toEqual(['two', 'not-seen-yet']);
    const left = await ok('/customer/unblock', { user_ids: ['two', 'never-heard-of'] });
    expect(left.blocked_users).toEqual(['every', 'not-seen-yet']);
    expect((await get('/customer/info?end_user_id=never-heard-of')).status).toBe(404);
  });

  it('is listed, deleted, and all of it is for admins', async () => {
    const { key } = await ok('/key/generate', {});
    expect((await get('/customer/list')).json.length).toBeGreaterThan(3);
    expect((await get('/customer/list', key)).status).toBe(401);
    expect((await post('/customer/block', { user_ids: ['two'] }, key)).status).toBe(401);
    expect((await post('/customer/delete', { user_ids: ['one', 'no-such-customer'] })).status).toBe(404);
    const deleted = await control.call('POST', '/customer/delete?wait=all', { body: { user_ids: ['one', 'two'] } });
    expect(deleted.json).toMatchObject({ deleted_customers: 2, receipt: {} });
    expect((await get('/customer/info?end_user_id=one')).status).toBe(404);
  });
});
