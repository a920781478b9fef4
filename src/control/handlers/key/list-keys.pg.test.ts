import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startControlPlane, type TestControlPlane } from '../../../../tests/support/test-control-plane.ts';

let control: TestControlPlane;
const made = new Map<string, { key: string; token: string }>();

/** Ten keys of two users and three teams, the tenth expired, the ninth of a browser session. */
beforeAll(async () => {
  control = await startControlPlane();
  for (let n = 1; n <= 10; n++) {
    const body = {
      key_alias: `alias-${String(n).padStart(2, '0')}`,
      user_id: n % 2 === 0 ? 'even' : 'odd',
      team_id: n === 9 ? 'litellm-dashboard' : `team-${n % 3}`,
      organization_id: n <= 5 ? 'org-low' : 'org-high',
      project_id: `project-${n}`,
      agent_id: `agent-${n}`,
      access_group_ids: [`group-${n % 4}`],
      max_budget: n === 1 ? null : 11 - n,
      spend: n / 10,
      duration: '1h',
    };
    const { json } = await control.call('POST', '/key/generate', { body });
    made.set(body.key_alias, { key: json.key, token: json.token });
  }
  await control.db.write((tx) =>
    sql`update claviger.virtual_key set expires = now() - interval '1 minute' where key_alias = 'alias-10'`.execute(tx),
  );
});
afterAll(() => control.stop());

const list = async (query: string, key?: string) =>
  control.call('GET', `/key/list?${query}`, key === undefined ? {} : { key });

async function aliases(query: string, key?: string): Promise<string[]> {
  const { json } = await list(`return_full_object=true&size=100&${query}`, key);
  return json.keys.map((item: { key_alias: string }) => item.key_alias.slice(-2));
}

describe('GET /key/list', () => {
  it('answers hashes, newest first, ten to a page, without keys of browser sessions', async () => {
    const { json } = await list('size=4');
    expect(json).toEqual({
      keys: ['alias-10', 'alias-08', 'alias-07', 'alias-06'].map((alias) => made.get(alias)!.token),
      total_count: 9,
      current_page: 1,
      total_pages: 3,
    });
  });

  it('shows every key on exactly one page, whatever the order', async () => {
    for (const order of ['spend', 'max_budget', 'created_at', 'updated_at', 'token', 'key_alias']) {
      const seen: string[] = [];
      for (let page = 1; page <= 3; page++)
        seen.push(...(await list(`size=4&page=${page}&sort_by=${order}`)).json.keys);
      expect(new Set(seen).size).toBe(9);
      expect(seen).toHaveLength(9);
    }
    expect((await list('page=7')).json).toMatchObject({ keys: [], total_count: 9, total_pages: 1 });
  });

  it('sorts both ways, with what has no value last', async () => {
    expect(await aliases('sort_by=spend&sort_order=asc')).toEqual([
      '01',
      '02',
      '03',
      '04',
      '05',
      '06',
      '07',
      '08',
      '10',
    ]);
    expect(await aliases('sort_by=max_budget&sort_order=desc')).toEqual([
      '02',
      '03',
      '04',
      '05',
      '06',
      '07',
      '08',
      '10',
      '01',
    ]);
    expect(await aliases('sort_by=max_budget&sort_order=asc')).toEqual([
      '10',
      '08',
      '07',
      '06',
      '05',
      '04',
      '03',
      '02',
      '01',
    ]);
  });

  it.each([
    ['user_id=odd', ['07', '05', '03', '01']],
    ['team_id=team-1', ['10', '07', '04', '01']],
    ['organization_id=org-low&user_id=even', ['04', '02']],
    ['project_id=project-3', ['03']],
    ['agent_id=agent-4', ['04']],
    ['access_group_id=group-2', ['10', '06', '02']],
    ['key_alias=alias-05', ['05']],
    ['key_alias=alias-0', []],
    ['key_alias=IAS-0&substring_matching=true&user_id=VE', ['08', '06', '04', '02']],
    ['expires=expired', ['10']],
    ['expires=active&user_id=even', ['08', '06', '04', '02']],
    ['key_alias=%25&substring_matching=true', []],
  ])('filters by %s', async (query, expected) => {
    expect(await aliases(query)).toEqual(expected);
  });

  it('filters by key or by hash', async () => {
    const { key, token } = made.get('alias-03')!;
    expect((await list(`key_hash=${token}`)).json.keys).toEqual([token]);
    expect((await list(`key_hash=${key}`)).json.keys).toEqual([token]);
    expect((await list('key_hash=nonsense')).json.keys).toEqual([]);
  });

  it('shows whole objects on request, and no key', async () => {
    const { json } = await list('return_full_object=true&key_alias=alias-05');
    expect(json.keys[0]).toMatchObject({
      key_alias: 'alias-05',
      spend: 0.5,
      max_budget: 6,
      token: made.get('alias-05')!.token,
    });
    expect(JSON.stringify(json)).not.toContain(made.get('alias-05')!.key);
  });

  it('says what is wrong with a parameter', async () => {
    for (const query of ['sort_by=secret', 'sort_order=up', 'status=gone', 'expires=soon']) {
      expect([query, (await list(query)).status]).toEqual([query, 400]);
    }
    for (const query of ['page=0', 'size=0', 'size=101', 'page=x', 'return_full_object=maybe']) {
      expect([query, (await list(query)).status]).toEqual([query, 422]);
    }
  });

  it('shows a key of a user the keys of that user, and refuses to show others', async () => {
    const { key } = made.get('alias-03')!;
    expect(await aliases('', key)).toEqual(['07', '05', '03', '01']);
    expect(await aliases('user_id=odd', key)).toEqual(['07', '05', '03', '01']);
    const others = [
      'user_id=even',
      'team_id=team-1',
      'organization_id=org-high',
      `key_hash=${made.get('alias-02')!.token}`,
    ];
    for (const query of others) expect([query, (await list(query, key)).status]).toEqual([query, 403]);
  });
});
