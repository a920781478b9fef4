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

const EVERY_FIELD = {
  user_alias: 'Ann',
  user_email: 'Ann@example.org',
  user_role: 'internal_user',
  sso_user_id: 'sso-1',
  organization_id: 'org-1',
  models: ['gpt-4o'],
  max_budget: 10.5,
  soft_budget: 5,
  budget_duration: '30d',
  budget_limits: [{ budget_duration: '1h', max_budget: 1 }],
  model_max_budget: { m: { budget_limit: 1, time_period: '1d' } },
  max_parallel_requests: 3,
  rpm_limit: 10,
  tpm_limit: 9_007_199_254_740_991,
  allowed_cache_controls: ['no-cache'],
  policies: ['p'],
  object_permission: { models: ['m'] },
};

describe('a user', () => {
  it('keeps every field, gets a key, and the key is shown once', async () => {
    const made = await ok('/user/new', {
      user_id: 'every',
      ...EVERY_FIELD,
      model_rpm_limit: { m: 1 },
      metadata: { limit_scope: 'global' },
      spend: 2.5,
      key_alias: 'ann-key',
      duration: '1d',
    });
    expect(made.key).toMatch(/^sk-/);
    const { json } = await get('/user/info?user_id=every');
    const flat = (await get('/v2/user/info?user_id=every')).json;
    for (const shown of [made, json.user_info, flat]) {
      expect(shown).toMatchObject({ ...EVERY_FIELD, user_id: 'every', spend: 2.5, blocked: false, teams: [] });
      expect(shown.metadata).toEqual({ limit_scope: 'global', model_rpm_limit: { m: 1 } });
      expect(new Date(shown.budget_reset_at).getUTCDate()).toBe(1);
    }
    expect(json.keys).toMatchObject([{ token: made.token, key_alias: 'ann-key', user_id: 'every' }]);
    expect(JSON.stringify(json)).not.toContain(made.key);
    expect((await get('/key/info', made.key)).json.info.key_alias).toBe('ann-key');
  });

  it('has no key when none was asked for, and an id of its own', async () => {
    const made = await ok('/user/new', { auto_create_key: false });
    expect(made).toMatchObject({ key: null, token: null, user_role: null });
    expect((await get(`/user/info?user_id=${made.user_id}`)).json.keys).toEqual([]);
  });

  it('has an id and an address that nobody else has, in any case', async () => {
    await ok('/user/new', { user_id: 'first', user_email: 'First@example.org' });
    expect((await post('/user/new', { user_id: 'first' })).status).toBe(409);
    const taken = await post('/user/new', { user_email: 'first@EXAMPLE.org' });
    expect([taken.status, taken.json.error.message]).toEqual([400, 'User with email first@EXAMPLE.org already exists']);
    await ok('/user/new', { user_email: '' });
    await ok('/user/new', { user_email: '' });
  });

  it('is put into teams and organizations at once', async () => {
    await ok('/team/new', { team_id: 'team-a' });
    await ok('/team/new', { team_id: 'team-b' });
    await ok('/organization/new', { organization_id: 'org-a', organization_alias: 'A' });
    const made = await ok('/user/new', {
      user_id: 'joiner',
      teams: ['team-a', { team_id: 'team-b', max_budget_in_team: 3, user_role: 'admin' }],
      organizations: ['org-a'],
    });
    expect(made.teams).toEqual(['team-a', 'team-b']);
    const teamB = (await get('/team/info?team_id=team-b')).json;
    expect(teamB.team_memberships[1]).toMatchObject({ role: 'admin', litellm_budget_table: { max_budget: 3 } });
    expect((await get('/organization/info?organization_id=org-a')).json.members).toMatchObject([{ user_id: 'joiner' }]);
    expect((await post('/user/new', { user_id: 'nowhere', teams: ['no-such-team'] })).status).toBe(404);
    expect((await get('/user/info?user_id=nowhere')).status).toBe(404);
  });

  it('is refused with values that mean nothing', async () => {
    const cases: [object, number][] = [
      [{ max_budget: -1 }, 400],
      [{ tpm_limit: -1 }, 400],
      [{ budget_duration: 'soon' }, 400],
      [{ user_role: 'king' }, 422],
      [{ password: 'short' }, 422],
      [{ model_rpm_limit: { m: 'x' } }, 422],
      [{ metadata: { model_rpm_limit: { m: 1.5 } } }, 400],
      [{ user_id: 'x'.repeat(600) }, 422],
    ];
    for (const [body, expected] of cases) {
      expect([body, (await post('/user/new', body)).status]).toEqual([body, expected]);
    }
  });

  it('has a password of which neither answers nor the change log hold anything', async () => {
    await ok('/user/new', { user_id: 'secret', password: 'correct horse battery' });
    const { rows } = await control.db.read((tx) =>
      sql<{ password_hash: string }>`select password_hash from claviger.internal_user where user_id = 'secret'`.execute(
        tx,
      ),
    );
    expect(rows[0]!.password_hash).toMatch(/^scrypt\$16384\$8\$1\$[\w-]{22}\$[\w-]{43}$/);
    const log = await control.db.read((tx) => sql`select after::text from claviger.change_log`.execute(tx));
    expect(JSON.stringify([log.rows, (await get('/user/info?user_id=secret')).json])).not.toMatch(/horse|scrypt/);
  });
});

describe('changing users', () => {
  it('changes what is given by id or address, and null clears', async () => {
    await ok('/user/new', { user_id: 'change', user_email: 'change@example.org', max_budget: 5, rpm_limit: 5 });
    const { data } = await ok('/user/update', { user_email: 'CHANGE@example.org', max_budget: null, spend: 1.5 });
    expect(data).toMatchObject({ user_id: 'change', max_budget: null, rpm_limit: 5, spend: 1.5 });
    await ok('/team/member_add', { team_id: 'team-a', member: { user_id: 'change' } });
    await ok('/user/update', { user_id: 'change', user_email: 'moved@example.org' });
    expect((await get('/team/info?team_id=team-a')).json.team_info.members_with_roles).toContainEqual({
      role: 'user',
      user_id: 'change',
      user_email: 'moved@example.org',
    });
    expect((await post('/user/update', { user_id: 'no-such-user' })).status).toBe(404);
    expect((await post('/user/update', {})).status).toBe(400);
    const made = await ok('/user/update', { user_email: 'unknown@example.org', user_alias: 'New' });
    expect(made.data).toMatchObject({ user_email: 'unknown@example.org', user_alias: 'New' });
  });

  it('in bulk says of each how it went', async () => {
    await ok('/user/new', { user_id: 'bulk-1' });
    const answer = await ok('/user/bulk_update', {
      users: [
        { user_id: 'bulk-1', max_budget: 7 },
        { user_id: 'no-such-user', max_budget: 7 },
        { user_id: 'bulk-1', max_budget: -7 },
      ],
    });
    expect(answer).toMatchObject({ total_requested: 3, successful_updates: 1, failed_updates: 2 });
    expect(answer.results.map(({ success }: { success: boolean }) => success)).toEqual([true, false, false]);
    expect((await get('/v2/user/info?user_id=bulk-1')).json.max_budget).toBe(7);
    expect((await post('/user/bulk_update', {})).status).toBe(400);
  });
});

describe('deleting users', () => {
  it('deletes their keys and memberships in the same transaction, and says how many', async () => {
    await ok('/team/new', { team_id: 'left-behind' });
    const { key } = await ok('/user/new', { user_id: 'gone', teams: ['left-behind'] });
    const inTeam = (await ok('/key/generate', { user_id: 'gone', team_id: 'left-behind' })).key;
    expect((await post('/user/delete', { user_ids: ['gone', 'no-such-user'] })).status).toBe(404);
    expect((await get('/key/info', key)).status).toBe(200);
    const { json, headers } = await post('/user/delete', { user_ids: ['gone', 'gone'] });
    expect(json).toBe(1);
    expect(Number(headers.get('x-claviger-rev'))).toBeGreaterThan(0);
    for (const dead of [key, inTeam]) expect((await get('/key/info', dead)).status).toBe(401);
    expect((await get('/team/info?team_id=left-behind')).json.team_info.members).toEqual(['default_user_id']);
    const { rows } = await control.db.read((tx) =>
      sql<{ kind: string }>`
        select kind from claviger.change_log where op = 'deleted' and request_id =
          (select request_id from claviger.change_log where kind = 'user' and object_id = 'gone' and op = 'deleted')
      `.execute(tx),
    );
    expect(rows.map(({ kind }) => kind).sort()).toEqual(['key', 'key', 'team_member', 'user']);
  });
});

describe('rights', () => {
  it('of a user are its own record and its harmless fields', async () => {
    const { key } = await ok('/user/new', { user_id: 'self', max_budget: 1 });
    await ok('/user/new', { user_id: 'other' });
    expect((await get('/user/info', key)).json).toMatchObject({ user_id: 'self', keys: [{ user_id: 'self' }] });
    expect((await get('/user/info?user_id=other', key)).status).toBe(403);
    expect((await get('/v2/user/info?user_id=no-such-user', key)).status).toBe(403);
    expect((await post('/user/update', { user_id: 'self', user_alias: 'Me' }, key)).status).toBe(200);
    for (const more of [{ max_budget: 100 }, { user_role: 'proxy_admin' }, { blocked: false }, { spend: 0 }]) {
      expect([more, (await post('/user/update', { user_id: 'self', ...more }, key)).status]).toEqual([more, 403]);
    }
    expect((await post('/user/update', { user_id: 'other', user_alias: 'x' }, key)).status).toBe(403);
    expect((await post('/user/update', { user_email: 'nobody@example.org' }, key)).status).toBe(403);
    expect((await post('/user/new', {}, key)).status).toBe(403);
    expect((await post('/user/delete', { user_ids: ['self'] }, key)).status).toBe(401);
    expect((await get('/user/list', key)).status).toBe(403);
  });

  it('of an organization admin are users in its organizations, without admin roles', async () => {
    await ok('/organization/new', { organization_id: 'org-r', organization_alias: 'R' });
    const { key } = await ok('/user/new', { user_id: 'org-lead' });
    await ok('/organization/member_add', {
      organization_id: 'org-r',
      member: { role: 'org_admin', user_id: 'org-lead' },
    });
    const made = await ok('/user/new', { user_id: 'org-child', organizations: ['org-r'] }, key);
    expect(made.user_id).toBe('org-child');
    expect((await post('/user/new', { organizations: ['org-a'] }, key)).status).toBe(403);
    expect((await post('/user/new', { organizations: ['org-r'], user_role: 'proxy_admin' }, key)).status).toBe(403);
    const listed = (await get('/user/list?sort_by=user_id', key)).json;
    expect(listed.users.map(({ user_id }: { user_id: string }) => user_id)).toEqual(['org-child', 'org-lead']);
    expect((await get('/user/list?organization_ids=org-a', key)).status).toBe(403);
    expect((await post('/user/new', { organizations: ['org-r'], teams: ['team-a'] }, key)).status).toBe(403);
    expect((await post('/user/new', { organizations: ['org-r'], user_id: 'default_user_id' }, key)).status).toBe(403);
    const team = await ok('/team/new', { team_id: 'org-team', organization_id: 'org-r' }, key);
    expect((await ok('/user/new', { organizations: ['org-r'], teams: ['org-team'] }, key)).teams).toEqual(['org-team']);
    for (const organization_id of ['org-a', null]) {
      expect((await post('/team/update', { team_id: 'org-team', organization_id }, key)).status).toBe(403);
    }
    expect(team.members_with_roles).toMatchObject([{ role: 'admin', user_id: 'org-lead' }]);
  });

  it('of a proxy admin are all, through every key of that user', async () => {
    const { key } = await ok('/user/new', { user_id: 'boss', user_role: 'proxy_admin' });
    expect((await post('/user/new', { user_id: 'made-by-boss' }, key)).status).toBe(200);
    expect((await post('/key/generate', {}, key)).status).toBe(200);
    await ok('/user/update', { user_id: 'boss', user_role: 'internal_user_viewer' });
    expect((await post('/key/generate', {}, key)).status).toBe(401);
  });
});

describe('lists of users', () => {
  it('are paged, filtered and sorted, with the number of keys', async () => {
    for (const index of [1, 2, 3]) {
      await ok('/user/new', { user_id: `paged-${index}`, user_email: `paged-${index}@example.net`, spend: index });
    }
    const page = async (query: string) => (await get(`/user/list?user_email=EXAMPLE.net&${query}`)).json;
    const first = await page('page_size=2&sort_by=spend&sort_order=desc');
    expect(first).toMatchObject({ total: 3, page: 1, page_size: 2, total_pages: 2 });
    expect(first.users.map(({ user_id }: { user_id: string }) => user_id)).toEqual(['paged-3', 'paged-2']);
    expect(first.users[0]).toMatchObject({ key_count: 1, spend: 3 });
    expect((await page('page=2&page_size=2&sort_by=spend&sort_order=desc')).users).toHaveLength(1);
    expect((await get('/user/list?user_ids=paged-1,paged-2')).json.total).toBe(2);
    expect((await get('/user/list?user_ids=AGED-1')).json.total).toBe(1);
    expect((await get('/user/list?role=proxy_admin')).json.total).toBe(0);
    expect((await get('/user/list?team=team-b')).json.total).toBe(2);
    expect((await get('/user/list?sso_user_ids=sso-1')).json.users[0].user_id).toBe('every');
    expect((await get('/user/list?sort_by=password')).status).toBe(400);
    expect((await get('/user/list?page_size=101')).status).toBe(422);
    expect((await get('/user/filter/ui?user_email=paged-1')).json).toEqual([
      { user_id: 'paged-1', user_email: 'paged-1@example.net', user_alias: null },
    ]);
  });

  it('count users and teams, and name the roles', async () => {
    const counts = (await get('/user/available_users')).json;
    expect(counts.total_users_used).toBeGreaterThan(10);
    expect(counts.total_users_remaining).toBeNull();
    expect(Object.keys((await get('/user/available_roles')).json)).toContain('internal_user');
  });
});
