import { describe, expect, it } from 'vitest';
import { classify, decide, type InstanceFlags, llmEndpoint, methodStatus, routeAllowedForKey } from './route-class.ts';
import { routeTable } from './route-table.ts';

const STANDALONE: InstanceFlags = {
  disableLlmApiEndpoints: false,
  disableAdminEndpoints: false,
  disableAdminUi: false,
};
const ADMIN: InstanceFlags = { ...STANDALONE, disableLlmApiEndpoints: true };
const WORKER: InstanceFlags = { ...STANDALONE, disableAdminEndpoints: true, disableAdminUi: true };
const ALL_OFF: InstanceFlags = { disableLlmApiEndpoints: true, disableAdminEndpoints: true, disableAdminUi: true };

const concrete = (path: string): string =>
  path
    .replace(/\{[^}]+:path\}/g, 'some/thing')
    .replace(/\{[^}]+\}/g, 'thing')
    .replace(/\/\*$/, '/below');

describe('classify', () => {
  it('finds each row of the table under a concrete path, with its class and methods', () => {
    for (const row of routeTable()) {
      const route = classify(concrete(row.path));
      expect(route.class, row.path).toBe(row.class);
      for (const method of row.methods) {
        expect(methodStatus(route, method), `${method} ${row.path}`).toBe(row.served ? 'served' : 'known');
      }
    }
  });

  it('has one class and one status per method for each path', () => {
    const seen = new Map<string, { class: string; methods: Set<string> }>();
    for (const row of routeTable()) {
      const before = seen.get(row.path) ?? { class: row.class, methods: new Set<string>() };
      expect(before.class, row.path).toBe(row.class);
      for (const method of row.methods) {
        expect(before.methods.has(method), `${method} ${row.path} twice`).toBe(false);
        before.methods.add(method);
      }
      seen.set(row.path, before);
    }
  });

  it.each([
    '/key/generate/azure',
    '/KEY/generate',
    '/v1/key/generate',
    '/nowhere',
    '/azurex/chat',
    '/x/chat/completions',
    '/key%2Fgenerate',
  ])('%s is in no row and counts as administrative', (path) => {
    const route = classify(path);
    expect(methodStatus(route, 'POST')).toBe('unknown_route');
    expect(decide(route, WORKER)).toBe('disabled_management');
  });

  it('does not take a pass-through prefix in the middle of a path for an LLM route', () => {
    expect(classify('/team/azure/member/openai/reset_spend').class).toBe('management');
    expect(classify('/spend/logs/bedrock').class).toBe('management');
  });

  it('tells deployments from the pass-through prefix they share', () => {
    expect(classify('/openai/deployments/gpt-4o/chat/completions').class).toBe('llm');
    expect(classify('/openai/v1/conversations').class).toBe('pass_through');
    expect(classify('/openai').class).toBe('pass_through');
    expect(classify('/mcp').class).toBe('llm');
  });
});

describe('decide', () => {
  it.each([
    // path, standalone, admin, worker, everything off
    ['/chat/completions', 'allowed', 'disabled_llm', 'allowed', 'disabled_llm'],
    ['/v1/embeddings', 'allowed', 'disabled_llm', 'allowed', 'disabled_llm'],
    ['/engines/gpt-4/completions', 'allowed', 'disabled_llm', 'allowed', 'disabled_llm'],
    ['/vertex_ai/v1/projects/x', 'allowed', 'disabled_llm', 'allowed', 'disabled_llm'],
    ['/models', 'allowed', 'allowed', 'allowed', 'allowed'],
    ['/v1/models', 'allowed', 'allowed', 'allowed', 'allowed'],
    ['/models/gpt-4o', 'allowed', 'disabled_llm', 'allowed', 'disabled_llm'],
    ['/key/generate', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/key/info', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/model/info', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/v1/model/info', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/v1/mcp/server/abc', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/organization/new', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/customer/info', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/global/spend/report', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/config/yaml', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/ui', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/sso/callback', 'allowed', 'allowed', 'disabled_management', 'disabled_management'],
    ['/health', 'allowed', 'allowed', 'allowed', 'allowed'],
    ['/health/readiness', 'allowed', 'allowed', 'allowed', 'allowed'],
    ['/metrics', 'allowed', 'allowed', 'allowed', 'allowed'],
    ['/routes', 'allowed', 'allowed', 'allowed', 'allowed'],
  ])('%s: standalone %s, admin %s, worker %s, all flags %s', (path, standalone, admin, worker, allOff) => {
    const route = classify(path);
    const decisions = [STANDALONE, ADMIN, WORKER, ALL_OFF].map((flags) => decide(route, flags));
    expect(decisions).toEqual([standalone, admin, worker, allOff]);
  });

  it('closes every management row of the table on a worker and every LLM row on an admin', () => {
    for (const row of routeTable()) {
      const route = classify(concrete(row.path));
      if (row.class === 'management' || row.class === 'ui')
        expect(decide(route, WORKER), row.path).toBe('disabled_management');
      if (row.class === 'llm' || row.class === 'pass_through') {
        expect(decide(route, ADMIN), row.path).toBe('disabled_llm');
        expect(decide(route, WORKER), row.path).toBe('allowed');
      }
    }
  });
});

describe('methodStatus', () => {
  it('tells served, known, wrong method and unknown route apart', () => {
    expect(methodStatus(classify('/v1/chat/completions'), 'POST')).toBe('served');
    expect(methodStatus(classify('/v1/models'), 'HEAD')).toBe('served');
    expect(methodStatus(classify('/v1/chat/completions'), 'GET')).toBe('wrong_method');
    expect(methodStatus(classify('/project/new'), 'POST')).toBe('known');
    expect(methodStatus(classify('/models/gemini:generateContent'), 'POST')).toBe('known');
    expect(methodStatus(classify('/nope'), 'GET')).toBe('unknown_route');
  });
});

describe('routeAllowedForKey', () => {
  it.each([
    [[], '/key/generate', true],
    [['/chat/completions'], '/chat/completions', true],
    [['/chat/completions'], '/v1/chat/completions', false],
    [['/chat'], '/chat/completions', true],
    [['/chat'], '/chatter', false],
    [['/chat*'], '/chatter', true],
    [['*'], '/key/generate', true],
    [['llm_api_routes'], '/v1/chat/completions', true],
    [['llm_api_routes'], '/engines/a/b/chat/completions', true],
    [['llm_api_routes'], '/key/generate', false],
    [['llm_api_routes'], '/model/info', true],
    [['llm_api_routes'], '/bedrock/model/x/converse', true],
    [['info_routes'], '/key/info', true],
    [['info_routes'], '/key/generate', false],
    [['management_routes'], '/key/generate', true],
    [['management_routes'], '/chat/completions', false],
    [['spend_tracking_routes'], '/spend/logs', true],
    [['openai_routes'], '/v1/messages', false],
    [['anthropic_routes'], '/v1/messages', true],
    [[''], '/key/generate', false],
    [['nonsense'], '/chat/completions', false],
  ])('%j, %s: %s', (allowed, path, expected) => {
    expect(routeAllowedForKey(allowed, path)).toBe(expected);
  });
});

describe('llmEndpoint', () => {
  it.each([
    ['/chat/completions', 'chat', null],
    ['/v1/completions', 'completions', null],
    ['/v1/embeddings', 'embeddings', null],
    ['/engines/gpt-4/completions', 'completions', 'gpt-4'],
    ['/engines/gpt-4/chat/completions', 'chat', 'gpt-4'],
    ['/engines/openai%2Fgpt-4o/embeddings', 'embeddings', 'openai/gpt-4o'],
    ['/openai/deployments/openai/gpt-4o/chat/completions', 'chat', 'openai/gpt-4o'],
    ['/openai/deployments/my%20model/completions', 'completions', 'my model'],
  ])('%s is %s of %s', (path, kind, pathModel) => {
    expect(llmEndpoint(path)).toEqual({ kind, pathModel });
  });

  it.each([
    '/chat',
    '/engines/completions',
    '/engines//completions',
    '/openai/deployments/x/images',
    '/engines/%ff/completions',
    '/v1/engines/x/completions',
  ])('%s is none', (path) => {
    expect(llmEndpoint(path)).toBeNull();
  });

  it('answers for the same paths as the table says are served POST routes of these kinds', () => {
    for (const row of routeTable()) {
      if (row.class === 'llm' && row.served && row.methods.includes('POST')) {
        expect(llmEndpoint(concrete(row.path)), row.path).not.toBeNull();
      }
    }
  });
});
