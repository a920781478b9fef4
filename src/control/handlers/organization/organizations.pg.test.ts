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

const call = (method: 'PATCH' | 'DELETE', path: string, body: object, key?: string) =>
  control.call(method, path, { body, ...(key === undefined ? {} : { key }) });
const info = async (id: string) => (await get(`/organization/info?organization_id=${id}`)).json;

describe('an organization', () => {
  it('keeps every field, and has a budget object of its own', async () => {
    const fields = {
      organization_alias: 'ACME',
      models: ['gpt-4o', 'openai/*'],
      blocked: true,
      object_permission: { models: ['m'] },
      allowed_regions: ['eu-west-1'],
    };
    const budget = {
      max_budget: 100,
      soft_budget: 50,
      tpm_limit: 9,
      rpm_limit: 8,
      max_parallel_requests: 7,
      budget_duration: '30d',
    };
    const made = await ok('/organization/new', {
      organization_id: 'every',
      ...fields,
      ...budget,
      metadata: { a: 1 },
      model_rpm_limit: { m: 1 },
    });
    const shown = await info('every');
    for (const row of [made, shown]) {
      expect(row).toMatchObject({ ...fields, metadata: { a: 1, model_rpm_limit: { m: 1 } }, spend: 0 });
      expect(row.litellm_budget_table).toMatchObject({ budget_id: row.budget_id, ...budget });
    }
    expect(shown).toMatchObject({ members: [], teams: [], users: [] });
    expect((await ok('/organization/new', { organization_alias: 'plain' })).litellm_budget_table.max_budget).toBeNull();
  });

  it('is refused with an id that is taken, without an alias, or with a budget that does not exist', async () => {
    const cases: [object, number][] = [
      [{ organization_id: 'every' }, 400],
      [{ organization_alias: undefined }, 422],
      [{ budget_id: 'no-such-budget' }, 400],
      [{ max_budget: -1 }, 400],
    ];
    for (const [body, expected] of cases) {
      const { status } = await post('/organization/new', { organization_alias: 'x', ...body });
      expect([body, status]).toEqual([body, expected]);
    }
  });

  it('is changed, its budget with it', async () => {
    await ok('/organization/new', { organization_id: 'change', organization_alias: 'C', max_budget: 1 });
    const { status, json } = await call('PATCH', '/organization/update', {
      organization_id: 'change',
      organization_alias: 'D',
      rpm_limit: 5,
      blocked: true,
    });
    expect([status, json]).toMatchObject([
      200,
      { organization_alias: 'D', blocked: true, litellm_budget_table: { max_budget: 1, rpm_limit: 5 }, teams: [] },
    ]);
    expect((await call('PATCH', '/organization/update', { organization_id: 'no-such' })).status).toBe(404);
  });

  it('bounds what its teams may have', async () => {
    await ok('/organization/new', {
      organization_id: 'bound',
      organization_alias: 'B',
      models: ['a', 'b/*'],
      max_budget: 10,
      rpm_limit: 100,
    });
    await ok('/team/new', { team_id: 'inside', organization_id: 'bound', models: ['a', 'b/x'], max_budget: 10 });
    for (const more of [{ max_budget: 11 }, { rpm_limit: 101 }, { models: ['c'] }]) {
      const { status, json } = await post('/team/new', { organization_id: 'bound', ...more });
      expect([more, status, json.error.message]).toEqual([more, 403, expect.stringContaining('organization bound')]);
      expect((await post('/team/update', { team_id: 'inside', ...more })).status).toBe(403);
    }
    expect((await info('bound')).teams).toMatchObject([{ team_id: 'inside' }]);
    expect((await get('/v2/team/list?organization_id=bound')).json.total).toBe(1);
  });

  it('bounds what keys of its teams are guaranteed', async () => {
    const guaranteed = { team_id: 'inside', rpm_limit_type: 'guaranteed_throughput' };
    expect((await post('/key/generate', { ...guaranteed, rpm_limit: 101 })).json.error.message).toContain(
      'organization bound',
    );
    const direct = { organization_id: 'bound', rpm_limit_type: 'guaranteed_throughput' };
    await ok('/key/generate', { ...direct, rpm_limit: 60 });
    expect((await post('/key/generate', { ...direct, rpm_limit: 41 })).status).toBe(400);
  });

  it('is deleted with teams, their keys and memberships', async () => {
    await ok('/organization/new', { organization_id: 'doomed', organization_alias: 'D' });
    await ok('/team/new', { team_id: 'doomed-team', organization_id: 'doomed' });
    await ok('/organization/member_add', {
      organization_id: 'doomed',
      member: { role: 'internal_user', user_id: 'stays' },
    });
    const { key } = await ok('/key/generate', { team_id: 'doomed-team' });
    const direct = (await ok('/key/generate', { organization_id: 'doomed' })).key;
    const { status, json } = await call('DELETE', '/organization/delete', { organization_ids: ['doomed'] });
    expect([status, json]).toMatchObject([
      200,
      [{ organization_id: 'doomed', members: [{ user_id: 'stays' }], teams: [{ team_id: 'doomed-team' }] }],
    ]);
    expect((await get('/key/info', key)).status).toBe(401);
    expect((await get('/key/info', direct)).status).toBe(401);
    expect((await get('/team/info?team_id=doomed-team')).status).toBe(404);
    expect((await get('/user/info?user_id=stays')).status).toBe(200);
    expect((await call('DELETE', '/organization/delete', { organization_ids: ['doomed'] })).status).toBe(404);
  });
});

describe('members of an organization', () => {
  it('are added, changed and taken out, with a budget of their own', async () => {
    await ok('/organization/new', { organization_id: 'club', organization_alias: 'Club' });
    const added = await ok('/organization/member_add', {
      organization_id: 'club',
      member: [{ role: 'internal_user', user_email: 'm@example.org' }],
      max_budget_in_organization: 5,
    });
    expect(added.updated_users).toMatchObject([{ user_email: 'm@example.org' }]);
    const [membership] = added.updated_organization_memberships;
    expect((await info('club')).members).toMatchObject([{ litellm_budget_table: { max_budget: 5 } }]);
    const again = await post('/organization/member_add', {
      organization_id: 'club',
      member: { role: 'org_admin', user_id: membership.user_id },
    });
    expect(again.status).toBe(400);
    const changed = await call('PATCH', '/organization/member_update', {
      organization_id: 'club',
      user_email: 'M@example.org',
      role: 'org_admin',
      max_budget_in_organization: 6,
    });
    expect(changed.json).toMatchObject({ user_role: 'org_admin', budget_id: membership.budget_id });
    expect((await info('club')).members).toMatchObject([{ litellm_budget_table: { max_budget: 6 } }]);
    const named = { organization_id: 'club', user_id: membership.user_id };
    expect((await call('DELETE', '/organization/member_delete', named)).status).toBe(200);
    expect((await call('DELETE', '/organization/member_delete', named)).status).toBe(404);
    expect((await info('club')).members).toEqual([]);
  });

  it('see their organization, admins change its members and nothing else of weight', async () => {
    const member = (await ok('/user/new', { user_id: 'club-member', organizations: ['club'] })).key;
    const lead = (await ok('/user/new', { user_id: 'club-lead' })).key;
    await ok('/organization/member_add', {
      organization_id: 'club',
      member: { role: 'org_admin', user_id: 'club-lead' },
    });
    expect((await get('/organization/info?organization_id=club', member)).status).toBe(200);
    expect((await get('/organization/info?organization_id=every', member)).status).toBe(403);
    const listed = (await get('/organization/list', member)).json as { organization_id: string }[];
    expect(listed.map(({ organization_id }) => organization_id)).toEqual(['club']);
    const add = { organization_id: 'club', member: { role: 'internal_user', user_id: 'third' } };
    expect((await post('/organization/member_add', add, member)).status).toBe(403);
    expect((await post('/organization/member_add', add, lead)).status).toBe(200);
    const update = (fields: object) =>
      call('PATCH', '/organization/update', { organization_id: 'club', ...fields }, lead);
    expect((await update({ organization_alias: 'Our club' })).status).toBe(200);
    expect((await update({ max_budget: 1_000 })).status).toBe(403);
    expect((await post('/organization/new', { organization_alias: 'x' }, lead)).status).toBe(401);
    const filtered = (await get('/organization/list?org_alias=OUR')).json as { organization_id: string }[];
    expect(filtered.map(({ organization_id }) => organization_id)).toEqual(['club']);
    expect((await post('/organization/info', { organizations: ['club'] })).json).toMatchObject([
      { organization_alias: 'Our club' },
    ]);
  });
});
