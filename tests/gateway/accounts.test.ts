import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memberId } from '../../src/domain/account.ts';
import type { JsonObject } from '../../src/domain/virtual-key.ts';
import { accountOf } from '../support/accounts.ts';
import {
  type CallOptions,
  type GatewayHarness,
  MASTER_KEY,
  modelEntry,
  startGateway,
} from '../support/gateway-harness.ts';

const TEAM_KEY = 'sk-team-key-0123456789';
const OWN_KEY = 'sk-own-key-0123456789';
const ORG_KEY = 'sk-org-key-0123456789';
const TAGGED_KEY = 'sk-tagged-key-0123456789';
const ALL_TEAM_KEY = 'sk-all-team-key-0123456789';

let gateway: GatewayHarness;

beforeAll(async () => {
  gateway = await startGateway({
    models: ['a', 'b', 'c'].map((name) => modelEntry(name, { model: 'fake/gpt' })),
    generalSettings: {
      user_header_name: 'X-Last',
      user_header_mappings: [
        { header_name: 'X-Customer', litellm_user_role: 'customer' },
        { header_name: 'X-Nobody', litellm_user_role: 'internal_user' },
      ],
    },
    keys: {
      [TEAM_KEY]: { teamId: 't', userId: 'u' },
      [OWN_KEY]: { userId: 'u' },
      [ORG_KEY]: { organizationId: 'o' },
      [TAGGED_KEY]: { tags: ['of-key'] },
      [ALL_TEAM_KEY]: { teamId: 't', models: ['all-team-models'] },
    },
  });
});
afterAll(() => gateway.stop());

interface Outcome {
  readonly status: number;
  readonly type: string;
  readonly message: string;
}

async function ask(key: string, body: JsonObject = {}, options: CallOptions = {}): Promise<Outcome> {
  const answer = await gateway.call(
    { model: 'a', messages: [{ role: 'user', content: 'hi' }], ...body },
    { key, ...options },
  );
  const error = answer.json().error as { type: string; message: string } | undefined;
  return { status: answer.status, type: error?.type ?? '', message: error?.message ?? '' };
}

async function modelsOf(key: string): Promise<string[]> {
  const answer = await gateway.call('', { path: '/v1/models', method: 'GET', key });
  return (answer.json().data as { id: string }[]).map(({ id }) => id);
}

/** While `work` runs there is this account. */
async function withAccount(account: ReturnType<typeof accountOf>, work: () => Promise<void>): Promise<void> {
  gateway.changeAccount(account.kind, account.id, account);
  try {
    await work();
  } finally {
    gateway.changeAccount(account.kind, account.id, null);
  }
}

describe('a blocked account', () => {
  it('of a team refuses its keys with 401, on every route that needs a key, and no others', async () => {
    await withAccount(accountOf('team', 't', { blocked: true }), async () => {
      expect(await ask(TEAM_KEY)).toMatchObject({
        status: 401,
        type: 'auth_error',
        message: expect.stringContaining('Team=t is blocked'),
      });
      const models = await gateway.call('', { path: '/v1/models', method: 'GET', key: TEAM_KEY });
      expect(models.status).toBe(401);
      expect((await ask(OWN_KEY)).status).toBe(200);
    });
    expect((await ask(TEAM_KEY)).status).toBe(200);
  });

  it('of a user refuses all keys of the user, of teams as well', async () => {
    await withAccount(accountOf('user', 'u', { blocked: true }), async () => {
      for (const key of [OWN_KEY, TEAM_KEY]) {
        expect(await ask(key)).toMatchObject({ status: 401, message: expect.stringContaining('User=u is blocked') });
      }
      expect((await ask(ORG_KEY)).status).toBe(200);
    });
  });

  it('of an organization refuses its keys, and those of its teams', async () => {
    await withAccount(accountOf('team', 't', { organizationId: 'o' }), async () => {
      await withAccount(accountOf('organization', 'o', { blocked: true }), async () => {
        for (const key of [ORG_KEY, TEAM_KEY]) {
          expect(await ask(key)).toMatchObject({
            status: 401,
            message: expect.stringContaining('Organization=o is blocked'),
          });
        }
        expect((await ask(OWN_KEY)).status).toBe(200);
      });
    });
  });

  it('of a customer refuses the calls that are made for it, with any key', async () => {
    await withAccount(accountOf('customer', 'c', { blocked: true }), async () => {
      for (const key of [OWN_KEY, MASTER_KEY]) {
        expect(await ask(key, { user: 'c' })).toMatchObject({
          status: 401,
          message: expect.stringContaining('User blocked from making LLM API Calls. User=c'),
        });
      }
      expect((await ask(OWN_KEY, { user: 'd' })).status).toBe(200);
      expect((await ask(OWN_KEY)).status).toBe(200);
    });
  });

  it('of a tag refuses calls and keys that carry it', async () => {
    await withAccount(accountOf('tag', 'of-key', { blocked: true }), async () => {
      expect(await ask(TAGGED_KEY)).toMatchObject({ status: 401, message: expect.stringContaining('Tag=of-key') });
      expect((await ask(OWN_KEY, { metadata: { tags: ['of-key'] } })).status).toBe(401);
      expect((await ask(OWN_KEY)).status).toBe(200);
    });
  });

  it('does not reach the master key, whatever its user is called', async () => {
    await withAccount(accountOf('user', 'default_user_id', { blocked: true }), async () => {
      expect((await ask(MASTER_KEY)).status).toBe(200);
    });
  });
});

describe('model access', () => {
  it('needs key, team and member to allow the model, and names who does not', async () => {
    await withAccount(accountOf('team', 't', { models: ['a', 'b'] }), async () => {
      expect((await ask(TEAM_KEY)).status).toBe(200);
      expect(await ask(TEAM_KEY, { model: 'c' })).toEqual({
        status: 403,
        type: 'team_model_access_denied',
        message: "team not allowed to access model. This team can only access models=['a', 'b']. Tried to access c",
      });
      await withAccount(accountOf('team_member', memberId('t', 'u'), { models: ['b'] }), async () => {
        expect(await ask(TEAM_KEY)).toMatchObject({ status: 403, message: expect.stringMatching(/^team member not/) });
        expect(await modelsOf(TEAM_KEY)).toEqual(['b']);
      });
      expect(await modelsOf(TEAM_KEY)).toEqual(['a', 'b']);
      expect(await modelsOf(OWN_KEY)).toEqual(['a', 'b', 'c']);
      expect((await gateway.call('', { path: '/v1/models/c', method: 'GET', key: TEAM_KEY })).status).toBe(404);
    });
  });

  it('of a user is asked for personal keys only, and no-default-models is none', async () => {
    await withAccount(accountOf('user', 'u', { models: ['no-default-models'] }), async () => {
      expect(await ask(OWN_KEY)).toMatchObject({ status: 403, type: 'user_model_access_denied' });
      expect(await modelsOf(OWN_KEY)).toEqual([]);
      expect((await ask(TEAM_KEY)).status).toBe(200);
    });
  });

  it('of an organization is asked last', async () => {
    await withAccount(accountOf('organization', 'o', { models: ['b'] }), async () => {
      expect(await ask(ORG_KEY)).toMatchObject({ status: 403, type: 'org_model_access_denied' });
      expect((await ask(ORG_KEY, { model: 'b' })).status).toBe(200);
    });
  });

  it('of a key with all-team-models is that of its team, and nothing without one', async () => {
    expect((await ask(ALL_TEAM_KEY)).status).toBe(403);
    await withAccount(accountOf('team', 't', { models: ['b'] }), async () => {
      expect(await modelsOf(ALL_TEAM_KEY)).toEqual(['b']);
    });
    await withAccount(accountOf('team', 't'), async () => {
      expect((await ask(ALL_TEAM_KEY)).status).toBe(200);
    });
  });

  it('of a customer comes from its budget object', async () => {
    await withAccount(accountOf('budget', 'cheap', { models: ['b'] }), async () => {
      await withAccount(accountOf('customer', 'c', { budgetId: 'cheap' }), async () => {
        expect(await ask(OWN_KEY, { user: 'c' })).toMatchObject({
          status: 403,
          message: expect.stringMatching(/^customer not/),
        });
        expect((await ask(OWN_KEY, { user: 'c', model: 'b' })).status).toBe(200);
      });
    });
  });

  it('knows the aliases of a team, behind those of the key', async () => {
    await withAccount(accountOf('team', 't', { modelAliases: { fast: 'b', c: 'a' } }), async () => {
      expect((await ask(TEAM_KEY, { model: 'fast' })).status).toBe(200);
      expect((await ask(OWN_KEY, { model: 'fast' })).status).toBe(400);
      expect(await modelsOf(TEAM_KEY)).toContain('fast');
    });
  });
});

describe('regions', () => {
  it('of team and organization are refused elsewhere, with those that serve it', async () => {
    await withAccount(accountOf('team', 't', { allowedRegions: ['eu', 'us'] }), async () => {
      expect(await ask(TEAM_KEY)).toEqual({
        status: 403,
        type: 'auth_error',
        message: "Team=t is not served in region test. Regions that serve it: ['eu', 'us']",
      });
      expect((await ask(OWN_KEY)).status).toBe(200);
    });
    await withAccount(accountOf('organization', 'o', { allowedRegions: ['eu'] }), async () => {
      expect((await ask(ORG_KEY)).status).toBe(403);
    });
    await withAccount(accountOf('organization', 'o', { allowedRegions: ['test'] }), async () => {
      expect((await ask(ORG_KEY)).status).toBe(200);
    });
  });
});

describe('order', () => {
  it('refuses a blocked team before a region, and a region before a model', async () => {
    const strict = { models: ['c'], allowedRegions: ['eu'] };
    await withAccount(accountOf('team', 't', { ...strict, blocked: true }), async () => {
      expect((await ask(TEAM_KEY)).status).toBe(401);
    });
    await withAccount(accountOf('team', 't', strict), async () => {
      expect((await ask(TEAM_KEY)).message).toContain('region');
    });
  });

  it('refuses a blocked customer before a model', async () => {
    await withAccount(accountOf('customer', 'c', { blocked: true }), async () => {
      expect((await ask(OWN_KEY, { user: 'c', model: 'no such model' })).status).toBe(401);
    });
  });
});

describe('an account with a rule that is not known here', () => {
  it('refuses its calls with 503 and the name of the rule', async () => {
    await withAccount(accountOf('team', 't', { crit: ['moonPhase'] }), async () => {
      expect(await ask(TEAM_KEY)).toMatchObject({ status: 503, message: expect.stringContaining('moonPhase') });
      expect((await ask(OWN_KEY)).status).toBe(200);
    });
    await withAccount(accountOf('customer', 'c', { crit: ['moonPhase'] }), async () => {
      expect((await ask(OWN_KEY, { user: 'c' })).status).toBe(503);
    });
  });
});

describe('usage rows', () => {
  it('hold customer, tags and organization as they were decided by', async () => {
    const before = gateway.usage().settled.length;
    await withAccount(accountOf('team', 't', { organizationId: 'o' }), async () => {
      await ask(
        TEAM_KEY,
        { user: 'late', tags: ['body'], metadata: { tags: ['meta', 'body'], user_id: 'later' } },
        { headers: { 'x-customer': 'early', 'x-litellm-tags': 'head, body' } },
      );
    });
    const [record] = await gateway.settledSince(before);
    expect(record).toMatchObject({ endUser: 'early', tags: ['body', 'meta', 'head'], organizationId: 'o' });
  });

  it('name the customer by the first place that has one', async () => {
    const places: readonly [JsonObject, Record<string, string>, string | null][] = [
      [{}, {}, null],
      [{ safety_identifier: 's' }, {}, 's'],
      [{ safety_identifier: 's', metadata: { user_id: 'm' } }, {}, 'm'],
      [{ metadata: { user_id: 'm' }, litellm_metadata: { user: 'l' } }, {}, 'l'],
      [{ litellm_metadata: { user: 'l' }, user: 'u' }, {}, 'u'],
      [{ user: 5 }, {}, '5'],
      [{ user: '' }, { 'x-nobody': 'n' }, null],
      [{ user: 'u' }, { 'x-last': 'h' }, 'h'],
      [{ user: 'u' }, { 'x-last': 'h', 'x-customer': 'c' }, 'c'],
      [{}, { 'x-customer': 'c', 'x-litellm-end-user-id': 'e' }, 'e'],
      [{}, { 'x-litellm-end-user-id': 'e', 'x-litellm-customer-id': 'x' }, 'x'],
    ];
    for (const [body, headers, customer] of places) {
      const before = gateway.usage().settled.length;
      await ask(OWN_KEY, body, { headers });
      const [record] = await gateway.settledSince(before);
      expect(record?.endUser, JSON.stringify([body, headers])).toBe(customer);
    }
  });
});
