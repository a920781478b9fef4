import { sql } from 'kysely';
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

const keyOf = async (body: object) => (await ok('/key/generate', body)).key as string;
const keyOfUser = async (user_id: string, fields: object = {}) =>
  (await ok('/user/new', { user_id, ...fields })).key as string;

/** A value for every field of a request, none of them a default. */
const EVERY_FIELD = {
  team_alias: 'blue',
  models: ['gpt-4o', 'openai/*'],
  model_aliases: { mine: 'gpt-4o' },
  max_budget: 100.5,
  soft_budget: 50,
  budget_duration: '1d',
  budget_limits: [{ budget_duration: '1h', max_budget: 1 }],
  model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1d' } },
  max_parallel_requests: 3,
  rpm_limit: 100,
  tpm_limit: 9_007_199_254_740_991,
  blocked: true,
  team_member_permissions: ['/key/info', '/key/generate'],
  default_team_member_models: ['gpt-4o'],
  router_settings: { num_retries: 2 },
  access_group_ids: ['g'],
  policies: ['p'],
  object_permission: { mcp_servers: ['m'] },
  allowed_regions: ['eu-west-1'],
};
const METADATA_FIELDS = {
  model_rpm_limit: { 'gpt-4o': 5 },
  model_tpm_limit: { 'gpt-4o': 500 },
  rpm_limit_type: 'best_effort_throughput',
  tpm_limit_type: 'dynamic',
  guardrails: ['g'],
  tags: ['t'],
  prompts: ['p'],
};

describe('a team', () => {
  it('keeps every field, from new to info', async () => {
    const made = await ok('/team/new', {
      team_id: 'every',
      ...EVERY_FIELD,
      ...METADATA_FIELDS,
      metadata: { budget_mode: 'strict', own: [1, null] },
      spend: 1.5,
    });
    const { status, json } = await get('/team/info?team_id=every');
    expect(status).toBe(200);
    for (const shown of [made, json.team_info]) {
      expect(shown).toMatchObject({ ...EVERY_FIELD, spend: 1.5, created_by: 'default_user_id' });
      expect(shown.metadata).toEqual({ budget_mode: 'strict', own: [1, null], ...METADATA_FIELDS });
      expect(Date.parse(shown.budget_reset_at)).toBeGreaterThan(Date.now());
      expect(shown.members_with_roles).toEqual([{ role: 'admin', user_id: 'default_user_id', user_email: null }]);
    }
  });

  it('is changed field by field, and null clears', async () => {
    await ok('/team/new', { team_id: 'changing', ...EVERY_FIELD, metadata: { a: 1 } });
    const { data, team_id } = await ok('/team/update', {
      team_id: 'changing',
      max_budget: null,
      models: null,
      tags: ['x'],
    });
    expect(team_id).toBe('changing');
    expect(data).toMatchObject({ ...EVERY_FIELD, max_budget: null, models: [], metadata: { a: 1, tags: ['x'] } });
    const patched = await control.call('PATCH', '/team/changing', { body: { metadata: { a: null, b: { c: 1 } } } });
    expect(patched.json.metadata).toEqual({ tags: ['x'], b: { c: 1 } });
    expect((await post('/team/update', { team_id: 'nobody' })).status).toBe(404);
    expect((await post('/team/new', { team_id: 'changing' })).status).toBe(400);
  });

  it('refuses what means nothing, and says which field it was', async () => {
    const cases: [object, number][] = [
      [{ max_budget: -1 }, 400],
      [{ max_budget: 'NaN' }, 422],
      [{ max_budget: 'much' }, 422],
      [{ rpm_limit: 1.5 }, 422],
      [{ rpm_limit: -1 }, 400],
      [{ budget_duration: '10x' }, 400],
      [{ budget_duration: 'soon' }, 400],
      [{ budget_limits: [{ budget_duration: '1h', max_budget: -1 }] }, 400],
      [
        {
          budget_limits: [
            { budget_duration: '1h', max_budget: 1 },
            { budget_duration: '1h', max_budget: 2 },
          ],
        },
        400,
      ],
      [{ model_max_budget: { m: 'much' } }, 400],
      [{ model_max_budget: { m: { budget_limit: 1, time_period: 5 } } }, 400],
      [{ metadata: { budget_mode: 'lax' } }, 400],
      [{ metadata: { offline_reserve: '5 minutes' } }, 400],
      [{ metadata: { offline_overdraft_usd: -1 } }, 400],
      [{ allowed_regions: ['not a region'] }, 422],
      [{ team_member_permissions: ['/team/delete'] }, 400],
      [{ models: Array.from({ length: 4_000 }, (_, index) => `model-${index}`) }, 400],
      [{ organization_id: 'no-such-organization' }, 400],
    ];
    for (const [body, expected] of cases) {
      const { status, json } = await post('/team/new', { team_id: 'refused', ...body });
      expect([body, status]).toEqual([body, expected]);
      expect(json.error?.message ?? JSON.stringify(json.detail)).toBeTruthy();
    }
    expect((await get('/team/info?team_id=refused')).status).toBe(404);
    await ok('/team/new', { team_id: 'absurd', max_budget: 1e12 });
    expect((await get('/team/info?team_id=absurd')).json.team_info.max_budget).toBe(1e12);
  });

  it('stores secrets of callbacks sealed and shows them masked', async () => {
    const logging = [{ callback_name: 'langfuse', callback_vars: { langfuse_secret_key: 'very-secret-value' } }];
    const made = await ok('/team/new', { team_id: 'secretive', logging });
    expect(JSON.stringify(made)).not.toContain('very-secret-value');
    const rows = await control.db.read(async (tx) => [
      (await sql`select metadata::text from claviger.team`.execute(tx)).rows,
      (await sql`select after::text from claviger.change_log`.execute(tx)).rows,
    ]);
    expect(JSON.stringify(rows)).not.toContain('very-secret-value');
  });

  it('is in the audit log with each change, and a write waits for its receipt', async () => {
    await ok('/team/new', { team_id: 'audited' });
    const blocked = await control.call('POST', '/team/block?wait=all', { body: { team_id: 'audited' } });
    expect(blocked.json).toMatchObject({ blocked: true, receipt: {} });
    await ok('/team/unblock', { team_id: 'audited' });
    const deleted = await control.call('POST', '/team/delete?wait=all', { body: { team_ids: ['audited'] } });
    expect(deleted.json.result).toMatchObject([{ team_id: 'audited' }]);
    expect(deleted.json.receipt).toBeDefined();
    const { rows } = await control.db.read((tx) =>
      sql<{ op: string; object_rev: bigint; lane: string }>`
        select op, object_rev, lane from claviger.change_log where kind = 'team' and object_id = 'audited' order by rev
      `.execute(tx),
    );
    expect(rows.map(({ op, object_rev, lane }) => [op, Number(object_rev), lane])).toEqual([
      ['created', 1, 'fast'],
      ['blocked', 2, 'fast'],
      ['unblocked', 3, 'fast'],
      ['deleted', 4, 'fast'],
    ]);
  });
});

describe('deleting a team', () => {
  it('deletes its keys and memberships with it, in one transaction', async () => {
    await ok('/team/new', { team_id: 'doomed', members_with_roles: [{ role: 'user', user_id: 'd-user' }] });
    const key = await keyOf({ team_id: 'doomed' });
    const other = await keyOf({ team_id: 'not-doomed' });
    const missing = await post('/team/delete', { team_ids: ['doomed', 'no-such-team'] });
    expect(missing.status).toBe(404);
    expect((await get(`/key/info?key=${key}`)).status).toBe(200);
    const deleted = await ok('/team/delete', { team_ids: ['doomed'] });
    expect(deleted).toMatchObject([{ team_id: 'doomed', members: ['d-user', 'default_user_id'] }]);
    expect((await get(`/key/info?key=${key}`)).status).toBe(404);
    expect((await get('/key/info', key)).status).toBe(401);
    expect((await get(`/key/info?key=${other}`)).status).toBe(200);
    expect((await get('/user/info?user_id=d-user')).json.teams).toEqual([]);
    const page = (await get('/v2/team/list?status=deleted')).json;
    expect(page.teams[0]).toMatchObject({ team_id: 'doomed', deleted_by: 'default_user_id' });
    expect((await get('/key/list?status=deleted&team_id=doomed')).json.total_count).toBe(1);
  });
});

describe('members of a team', () => {
  it('are added by id or address, made when unknown, changed and taken out with their keys', async () => {
    await ok('/team/new', { team_id: 'crew', team_member_budget: 5, team_member_rpm_limit: 9 });
    const added = await ok('/team/member_add', {
      team_id: 'crew',
      member: [
        { role: 'user', user_email: 'Ann@Example.org' },
        { role: 'admin', user_id: 'bob' },
      ],
      max_budget_in_team: 2,
    });
    expect(added.updated_users).toHaveLength(2);
    expect(added.updated_team_memberships).toMatchObject([
      { spend: 0, litellm_budget_table: { max_budget: 2, rpm_limit: 9 } },
      { user_id: 'bob', role: 'admin' },
    ]);
    const again = await post('/team/member_add', {
      team_id: 'crew',
      member: { role: 'user', user_email: 'ann@example.org' },
    });
    expect(again.status).toBe(400);
    expect(again.json.error.type).toBe('team_member_already_in_team');

    const updated = await ok('/team/member_update', {
      team_id: 'crew',
      user_email: 'ann@example.org',
      max_budget_in_team: 7.5,
      tpm_limit: 70,
      rpm_limit: 7,
      role: 'admin',
      allowed_models: ['gpt-4o'],
    });
    expect(updated).toMatchObject({
      team_id: 'crew',
      max_budget_in_team: 7.5,
      tpm_limit: 70,
      rpm_limit: 7,
      role: 'admin',
    });
    const annId = updated.user_id as string;
    const info = (await get('/team/info?team_id=crew')).json;
    expect(info.team_info.team_member_budget_table).toMatchObject({ max_budget: 5, rpm_limit: 9 });
    expect(info.team_memberships.find(({ user_id }: { user_id: string }) => user_id === annId)).toMatchObject({
      litellm_budget_table: { max_budget: 7.5, tpm_limit: 70, rpm_limit: 7, allowed_models: ['gpt-4o'] },
    });

    const inTeam = await keyOf({ team_id: 'crew', user_id: annId });
    const personal = await keyOf({ user_id: annId });
    const left = await ok('/team/member_delete', { team_id: 'crew', user_id: annId });
    expect(left.members).not.toContain(annId);
    expect((await get('/key/info', inTeam)).status).toBe(401);
    expect((await get('/key/info', personal)).status).toBe(200);
    expect((await post('/team/member_delete', { team_id: 'crew', user_id: annId })).status).toBe(400);
  });

  it('get the budget of the team when it is set later, unless they have one', async () => {
    await ok('/team/new', { team_id: 'late' });
    await ok('/team/member_add', { team_id: 'late', member: { role: 'user', user_id: 'late-1' } });
    await ok('/team/member_add', {
      team_id: 'late',
      member: { role: 'user', user_id: 'late-2' },
      max_budget_in_team: 1,
    });
    const { data } = await ok('/team/update', { team_id: 'late', team_member_budget: 3 });
    const budgetId = data.metadata.team_member_budget_id;
    const { team_memberships } = (await get('/team/info?team_id=late')).json;
    const of = (id: string) => team_memberships.find(({ user_id }: { user_id: string }) => user_id === id);
    expect(of('late-1')).toMatchObject({ budget_id: budgetId, litellm_budget_table: { max_budget: 3 } });
    expect(of('late-2')).toMatchObject({ budget_id: null, litellm_budget_table: { max_budget: 1 } });
    await ok('/team/update', { team_id: 'late', team_member_budget: 4, metadata: {} });
    expect((await post('/budget/info', { budgets: [budgetId] })).json).toMatchObject([{ max_budget: 4 }]);
  });

  it('are added in bulk, and who is one already is reported', async () => {
    await ok('/team/new', { team_id: 'bulk', members: ['one'] });
    const answer = await ok('/team/bulk_member_add', {
      team_id: 'bulk',
      members: [{ user_id: 'one' }, { user_id: 'two', role: 'user' }],
    });
    expect(answer).toMatchObject({ total_requested: 2, successful_additions: 1, failed_additions: 1 });
    expect(answer.updated_team.members).toContain('two');
  });

  it('have a spend that is set back, never up and not by themselves', async () => {
    const key = await keyOfUser('spender');
    await ok('/team/new', { team_id: 'spending', admins: ['spender'] });
    await control.db.write((tx) =>
      sql`update claviger.account_spend set spend_nano = 2500000000 where kind = 'team_member' and id = 'spending/spender'`.execute(
        tx,
      ),
    );
    const path = '/team/spending/member/spender/reset_spend';
    expect((await post(path, { reset_to: 1 }, key)).status).toBe(403);
    expect((await post(path, { reset_to: 3 })).status).toBe(400);
    expect(await ok(path, { reset_to: 1 })).toMatchObject({ spend: 1, previous_spend: 2.5 });
    const me = await get('/team/spending/members/me', key);
    expect(me.json).toMatchObject({ user_id: 'spender', spend: 1 });
    expect((await get('/team/spending/members/me')).status).toBe(200);
    expect((await get('/team/crew/members/me', key)).status).toBe(404);
  });
});

describe('rights', () => {
  it('of a team admin are its team, without giving it more', async () => {
    const key = await keyOfUser('lead');
    await ok('/team/new', { team_id: 'led', admins: ['lead'], max_budget: 10, rpm_limit: 10 });
    await ok('/team/new', { team_id: 'foreign' });
    expect((await post('/team/update', { team_id: 'led', team_alias: 'mine', max_budget: 5 }, key)).status).toBe(200);
    for (const raise of [
      { max_budget: 20 },
      { max_budget: null },
      { rpm_limit: 11 },
      { blocked: true },
      { team_member_budget: 9 },
    ]) {
      const { status } = await post('/team/update', { team_id: 'led', ...raise }, key);
      expect([raise, status]).toEqual([raise, 403]);
    }
    expect((await post('/team/member_add', { team_id: 'led', member: { user_id: 'new-one' } }, key)).status).toBe(200);
    for (const path of ['/team/update', '/team/member_add']) {
      const body = { team_id: 'foreign', member: { user_id: 'x' } };
      expect([path, (await post(path, body, key)).status]).toEqual([path, 403]);
    }
    expect((await post('/team/delete', { team_ids: ['led', 'foreign'] }, key)).status).toBe(403);
    expect((await post('/team/new', { team_id: 'own' }, key)).status).toBe(403);
    expect((await post('/team/block', { team_id: 'led' }, key)).status).toBe(401);
    expect((await get('/team/info?team_id=foreign', key)).status).toBe(403);
    const listed = (await get('/team/list', key)).json as { team_id: string }[];
    expect(listed.map(({ team_id }) => team_id)).toEqual(['led']);
    expect((await get('/team/list?user_id=somebody', key)).status).toBe(401);
  });

  it('of a proxy admin are all, and of a viewer to look', async () => {
    const admin = await keyOfUser('boss', { user_role: 'proxy_admin' });
    const viewer = await keyOfUser('watcher', { user_role: 'proxy_admin_viewer' });
    expect((await post('/team/new', { team_id: 'made-by-boss' }, admin)).status).toBe(200);
    expect((await get('/team/info?team_id=made-by-boss', viewer)).status).toBe(200);
    expect((await post('/team/update', { team_id: 'made-by-boss' }, viewer)).status).toBe(403);
    expect((await get('/v2/team/list?status=deleted', viewer)).status).toBe(200);
  });

  it('of a team admin are to see the keys of its team, of a member not', async () => {
    const lead = await keyOfUser('key-lead');
    const member = await keyOfUser('key-member');
    await ok('/team/new', { team_id: 'keyed', admins: ['key-lead'], members: ['key-member'] });
    const key = await keyOf({ team_id: 'keyed', user_id: 'key-member' });
    const service = await keyOf({ team_id: 'keyed' });
    const count = async (query: string, as: string) => (await get(`/key/list${query}`, as)).json.total_count;
    expect((await get(`/key/info?key=${service}`, lead)).status).toBe(200);
    expect((await get(`/key/info?key=${service}`, member)).status).toBe(403);
    expect(await count('?team_id=keyed', lead)).toBe(2);
    expect(await count('?include_team_keys=true', lead)).toBe(3);
    expect(await count('', lead)).toBe(1);
    expect((await get('/key/list?team_id=keyed', member)).status).toBe(403);
    expect(await count('', key)).toBe(2);
  });

  it('to write keys are those of an admin for its team, and of a member as the team permits', async () => {
    const lead = await keyOfUser('w-lead');
    const member = await keyOfUser('w-member');
    await ok('/team/new', { team_id: 'writing', admins: ['w-lead'], members: ['w-member'] });
    const made = await ok('/key/generate', { team_id: 'writing', user_id: 'w-member' }, lead);
    const service = await ok('/key/generate', { team_id: 'writing' }, lead);
    expect(service.user_id).toBe('w-lead');
    expect((await post('/key/generate', { team_id: 'writing', user_id: 'stranger' }, lead)).status).toBe(403);
    expect((await post('/key/generate', { team_id: 'foreign' }, lead)).status).toBe(401);
    expect((await post('/key/update', { key: made.key, max_budget: 5 }, lead)).status).toBe(200);
    expect((await post('/key/block', { key: made.key }, lead)).status).toBe(200);
    for (const only of [{ spend: 0 }, { user_id: 'w-lead' }, { organization_id: 'o' }]) {
      expect([only, (await post('/key/update', { key: made.key, ...only }, lead)).status]).toEqual([only, 403]);
    }
    expect((await post('/key/unblock', { key: made.key }, member)).status).toBe(401);
    expect((await post('/key/generate', { team_id: 'writing' }, member)).status).toBe(401);
    expect((await post('/key/update', { key: made.key, team_id: null }, member)).status).toBe(401);
    await ok('/team/permissions_update', {
      team_id: 'writing',
      team_member_permissions: ['/key/generate', '/key/update'],
    });
    expect((await post('/key/generate', { team_id: 'writing' }, member)).status).toBe(200);
    expect((await post('/key/update', { key: made.key, blocked: false }, member)).status).toBe(401);
    expect((await post('/key/delete', { keys: [service.key] }, member)).status).toBe(401);
    expect((await post('/key/delete', { keys: [made.key] }, member)).status).toBe(200);
  });

  it('to write keys are those of a user with the role for its own personal ones', async () => {
    const key = await keyOfUser('w-self', { user_role: 'internal_user' });
    const viewer = await keyOfUser('w-viewer', { user_role: 'internal_user_viewer' });
    const made = await ok('/key/generate', { max_budget: 1 }, key);
    expect(made.user_id).toBe('w-self');
    expect((await post('/key/generate', { user_id: 'w-viewer' }, key)).status).toBe(403);
    expect((await post('/key/generate', { spend: 1 }, key)).status).toBe(403);
    expect((await post('/key/generate', { organization_id: 'o' }, key)).status).toBe(403);
    expect((await post('/key/update', { key: made.key, key_alias: 'w-alias' }, key)).status).toBe(200);
    expect((await post('/key/update', { key: made.key, team_id: 'foreign' }, key)).status).toBe(401);
    expect((await post('/key/block', { key: made.key }, key)).status).toBe(401);
    expect((await post('/key/generate', {}, viewer)).status).toBe(401);
    expect((await post('/key/delete', { keys: [made.key, viewer] }, key)).status).toBe(401);
    expect((await post('/key/delete', { keys: [made.key] }, key)).status).toBe(200);
  });

  it('end with a block of the team or of the user', async () => {
    await ok('/team/new', { team_id: 'closing' });
    const teamKey = await keyOf({ team_id: 'closing' });
    const userKey = await keyOfUser('leaving');
    await ok('/team/block', { team_id: 'closing' });
    await ok('/user/update', { user_id: 'leaving', blocked: true });
    expect((await get('/key/info', teamKey)).json.error.message).toContain('Team=closing is blocked');
    expect((await get('/key/info', userKey)).json.error.message).toContain('User=leaving is blocked');
    await ok('/team/unblock', { team_id: 'closing' });
    expect((await get('/key/info', teamKey)).status).toBe(200);
  });
});

describe('lists of teams', () => {
  it('are paged, filtered and sorted, and pages do not overlap', async () => {
    for (const index of [1, 2, 3, 4, 5])
      await ok('/team/new', { team_id: `page-${index}`, team_alias: 'Paged', max_budget: index });
    const page = async (query: string) => (await get(`/v2/team/list?team_alias=paged&${query}`)).json;
    const ids = ({ teams }: { teams: { team_id: string }[] }) => teams.map(({ team_id }) => team_id);
    const first = await page('page_size=2&sort_by=max_budget&sort_order=desc');
    expect(first).toMatchObject({ total: 5, page: 1, page_size: 2, total_pages: 3 });
    expect(ids(first)).toEqual(['page-5', 'page-4']);
    expect(ids(await page('page=3&page_size=2&sort_by=max_budget&sort_order=desc'))).toEqual(['page-1']);
    expect(ids(await page('sort_by=team_id'))).toEqual([1, 2, 3, 4, 5].map((index) => `page-${index}`));
    expect(ids((await get('/v2/team/list?search=PAGE-3')).json)).toEqual(['page-3']);
    expect((await get('/v2/team/list?sort_by=nothing')).status).toBe(400);
    expect((await get('/v2/team/list?status=odd')).status).toBe(400);
    expect((await get('/v2/team/list?page_size=101')).status).toBe(422);
    expect((await get('/team/filter/ui?team_id=page-4')).json).toEqual([{ team_id: 'page-4', team_alias: 'Paged' }]);
  });
});

describe('models and permissions of a team', () => {
  it('are added and removed, the last model never', async () => {
    await ok('/team/new', { team_id: 'models', models: ['a'] });
    expect((await ok('/team/model/add', { team_id: 'models', models: ['b', 'a'] })).models).toEqual(['a', 'b']);
    expect((await ok('/team/model/delete', { team_id: 'models', models: ['a'] })).models).toEqual(['b']);
    expect((await post('/team/model/delete', { team_id: 'models', models: ['b'] })).status).toBe(400);
  });

  it('are listed, set, and set for many', async () => {
    await ok('/team/new', { team_id: 'permitted' });
    const list = async () => (await get('/team/permissions_list?team_id=permitted')).json;
    expect((await list()).team_member_permissions).toEqual(['/key/info', '/key/health']);
    await ok('/team/permissions_update', { team_id: 'permitted', team_member_permissions: ['/key/list'] });
    expect((await list()).team_member_permissions).toEqual(['/key/list']);
    await ok('/team/permissions_bulk_update', { team_ids: ['permitted'], permissions: ['/key/update'] });
    expect((await list()).team_member_permissions).toEqual(['/key/update']);
    expect((await post('/team/permissions_bulk_update', { permissions: [] })).status).toBe(400);
  });
});

describe('keys of a team', () => {
  it('use no models that the team may not', async () => {
    await ok('/team/new', { team_id: 'narrow', models: ['gpt-4o', 'openai/*'] });
    await keyOf({ team_id: 'narrow', models: ['gpt-4o', 'openai/x', 'all-team-models'] });
    const refused = await post('/key/generate', { team_id: 'narrow', models: ['claude'] });
    expect(refused.status).toBe(403);
    expect(refused.json.error.type).toBe('team_model_access_denied');
    const key = await keyOf({ models: ['claude'] });
    expect((await post('/key/update', { key, team_id: 'narrow' })).status).toBe(403);
  });

  it('that move into it bring no more than it has, and an owner who is in it', async () => {
    await ok('/team/new', { team_id: 'small', max_budget: 1 });
    const key = await keyOf({ max_budget: 2, user_id: 'mover' });
    expect((await post('/key/update', { key, team_id: 'small' })).status).toBe(403);
    expect((await post('/key/update', { key, team_id: 'small', max_budget: 1 })).json.error.message).toContain('mover');
    await ok('/team/member_add', { team_id: 'small', member: { user_id: 'mover' } });
    expect((await post('/key/update', { key, team_id: 'small', max_budget: 1 })).status).toBe(200);
  });

  it('are guaranteed together what the team has, and not more', async () => {
    await ok('/team/new', { team_id: 'sure', rpm_limit: 100, model_tpm_limit: { m: 1_000 } });
    const guaranteed = { team_id: 'sure', rpm_limit_type: 'guaranteed_throughput' };
    const first = await keyOf({ ...guaranteed, rpm_limit: 60 });
    expect((await post('/key/generate', { ...guaranteed, rpm_limit: 41 })).status).toBe(400);
    expect((await post('/key/update', { key: first, rpm_limit: 100 })).status).toBe(200);
    await ok('/key/update', { key: first, rpm_limit: 60 });
    await keyOf({ ...guaranteed, rpm_limit: 40 });
    await keyOf({ team_id: 'sure', rpm_limit: 100 });
    const perModel = { team_id: 'sure', tpm_limit_type: 'guaranteed_throughput' };
    await keyOf({ ...perModel, model_tpm_limit: { m: 600 } });
    expect((await post('/key/generate', { ...perModel, model_tpm_limit: { m: 401 } })).status).toBe(400);
    await keyOf({ ...perModel, model_tpm_limit: { m: 400, n: 5_000 } });
  });

  it('two at once are not both guaranteed the last of it', async () => {
    await ok('/team/new', { team_id: 'race', rpm_limit: 10 });
    const body = { team_id: 'race', rpm_limit_type: 'guaranteed_throughput', rpm_limit: 10 };
    const answers = await Promise.all([post('/key/generate', body), post('/key/generate', body)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
  });
});
