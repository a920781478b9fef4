/** An admin and a worker in each of two regions: what is said of a team or a user on the admin holds on every worker. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/until.ts';
import {
  fakeModels,
  type SharedDatabase,
  type SharedFleet,
  startSharedDatabase,
  startSharedFleet,
} from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-accounts';
const REGIONS = ['eu', 'us'] as const;

let database: SharedDatabase;
let fleet: SharedFleet;

beforeAll(async () => {
  database = await startSharedDatabase();
  fleet = await startSharedFleet(database, MASTER_KEY, (member) =>
    member === 'admin' ? {} : { args: ['--config', fakeModels()] },
  );
});
afterAll(async () => {
  await fleet?.stop();
  await database?.stop();
});

const manage = async (path: string, body: object) => {
  const answer = await fleet.admin.api('POST', path, body);
  const json = answer.json();
  expect([path, answer.status, answer.status === 200 ? '' : JSON.stringify(json)]).toEqual([path, 200, '']);
  return json;
};

/** What each region answers to a call with this key. */
const ask = (key: string, body: object = {}) =>
  Promise.all(
    REGIONS.map(async (region) => {
      const call = { model: 'alpha', messages: [{ role: 'user', content: 'Hi' }], ...body };
      const answer = await fleet[region].api('POST', '/v1/chat/completions', call, key);
      return { status: answer.status, message: (answer.json().error?.message ?? '') as string };
    }),
  );

const untilServed = (key: string) =>
  until('both regions serve the key', async () =>
    (await ask(key)).every(({ status }) => status === 200) ? true : null,
  );

const keyOf = async (fields: object): Promise<string> => {
  const { key } = await manage('/key/generate', fields);
  await untilServed(key);
  return key;
};

/** All three gateway processes are connected, so that a receipt names them. */
const untilAllLive = () =>
  until('all are live', async () => {
    const { workers } = (await fleet.admin.api('GET', '/fleet/workers')).json();
    return workers.filter(({ state }: { state: string }) => state === 'live').length === 3 ? true : null;
  });

describe('a blocked team', () => {
  it('is refused by every worker when the receipt says that all have applied it', async () => {
    await untilAllLive();
    await manage('/team/new', { team_id: 'blockers', team_alias: 'Blockers' });
    const [first, second] = [await keyOf({ team_id: 'blockers' }), await keyOf({ team_id: 'blockers' })];
    const other = await keyOf({});
    for (let round = 0; round < 3; round++) {
      const { receipt } = await manage('/team/block?wait=all&timeout=10s', { team_id: 'blockers' });
      expect(receipt.applied).toHaveLength(3);
      expect(receipt.pending).toEqual([]);
      for (const key of [first, second]) {
        for (const { status, message } of await ask(key)) {
          expect([status, message]).toEqual([401, expect.stringContaining('Team=blockers is blocked')]);
        }
      }
      expect((await ask(other)).map(({ status }) => status)).toEqual([200, 200]);
      await manage('/team/unblock?wait=all&timeout=10s', { team_id: 'blockers' });
      expect((await ask(first)).map(({ status }) => status)).toEqual([200, 200]);
    }
  });

  it('is refused after the workers were killed, before they have heard of anything', async () => {
    await manage('/team/new', { team_id: 'kept' });
    const key = await keyOf({ team_id: 'kept' });
    await manage('/team/block?wait=all&timeout=10s', { team_id: 'kept' });
    fleet.eu.kill('gateway');
    await until('the worker answers again', async () => {
      const status = (await ask(key).catch(() => null))?.[0]?.status;
      return status === 401 ? true : status === 200 ? Promise.reject(new Error('a blocked team was served')) : null;
    });
  });
});

describe('a blocked user', () => {
  it('is refused by every worker, with keys of teams as well', async () => {
    await untilAllLive();
    await manage('/user/new', { user_id: 'leaver', auto_create_key: false });
    await manage('/team/new', { team_id: 'of-leaver', members_with_roles: [{ role: 'user', user_id: 'leaver' }] });
    const keys = [await keyOf({ user_id: 'leaver' }), await keyOf({ user_id: 'leaver', team_id: 'of-leaver' })];
    const { receipt } = await manage('/user/update?wait=all&timeout=10s', { user_id: 'leaver', blocked: true });
    expect(receipt.applied).toHaveLength(3);
    for (const key of keys) {
      for (const { status, message } of await ask(key)) {
        expect([status, message]).toEqual([401, expect.stringContaining('User=leaver is blocked')]);
      }
    }
  });
});

describe('allowed_regions of a team', () => {
  it('are served there only, with the regions named elsewhere', async () => {
    await manage('/team/new', { team_id: 'europe' });
    const key = await keyOf({ team_id: 'europe' });
    await manage('/team/update?wait=all&timeout=10s', { team_id: 'europe', allowed_regions: ['eu'] });
    const [eu, us] = await ask(key);
    expect(eu?.status).toBe(200);
    expect([us?.status, us?.message]).toEqual([403, expect.stringMatching(/Team=europe .* us\. .*'eu'/)]);
  });
});
