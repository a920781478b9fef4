import { expect, it } from 'vitest';
import { principalFromKey } from './principal-from-key.ts';
import type { KeyDigest, VirtualKey } from './virtual-key.ts';

const key = {
  token: 'a'.repeat(64) as KeyDigest,
  key_name: 'sk-...abcd',
  key_alias: 'app',
  expires: '2026-11-22T10:00:00.000Z',
  models: ['gpt-4o'],
  aliases: { fast: 'gpt-4o', odd: 5 },
  allowed_routes: ['llm_api_routes'],
  user_id: 'u',
  team_id: null,
  organization_id: null,
  project_id: null,
  max_budget: 1.5,
  rpm_limit: 10,
  tpm_limit: null,
  max_parallel_requests: 2,
  metadata: { tags: ['a', 7, 'b'], secret: 'not for the gateway' },
  blocked: false,
  allowed_regions: ['eu-west-1'],
  fence: 'strict',
} as unknown as VirtualKey;

it('keeps what a gateway decides with, and nothing else of the key', () => {
  expect(principalFromKey(key)).toEqual({
    token: key.token,
    keyName: 'sk-...abcd',
    keyAlias: 'app',
    expiresAtMs: Date.UTC(2026, 10, 22, 10),
    blocked: false,
    models: ['gpt-4o'],
    aliases: { fast: 'gpt-4o' },
    allowedRoutes: ['llm_api_routes'],
    userId: 'u',
    teamId: null,
    organizationId: null,
    projectId: null,
    maxBudget: 1.5,
    rpmLimit: 10,
    tpmLimit: null,
    maxParallelRequests: 2,
    tags: ['a', 'b'],
    allowedRegions: ['eu-west-1'],
    fence: 'strict',
    crit: ['allowedRegions', 'fence'],
  });
});

it('never expires without an expiry, and has no tags without a list of them', () => {
  const principal = principalFromKey({ ...key, expires: null, metadata: { tags: 'a' } });
  expect([principal.expiresAtMs, principal.tags]).toEqual([null, []]);
});

it('has expired when its expiry can not be read', () => {
  expect(principalFromKey({ ...key, expires: 'soon' }).expiresAtMs).toBe(0);
});

it('may be used everywhere, with the normal fence, when its entry in the change log is of a version without both', () => {
  const { allowed_regions: _, fence: __, ...older } = key;
  const principal = principalFromKey(older as VirtualKey);
  expect([principal.allowedRegions, principal.fence]).toEqual([[], 'normal']);
});
