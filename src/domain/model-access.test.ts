import { describe, expect, it } from 'vitest';
import { compileModelAccess, mayUse } from './model-access.ts';

const group = (name: string, accessGroups: string[] = [], impliedNames: string[] = []) => ({
  name,
  accessGroups,
  impliedNames,
});

describe('mayUse', () => {
  it.each([
    [[], group('anything'), true],
    [['*'], group('anything'), true],
    [['all-proxy-models'], group('anything'), true],
    [['gpt-4o', '*'], group('anything'), true],
    [['gpt-4o'], group('gpt-4o'), true],
    [['gpt-4o'], group('gpt-4o-mini'), false],
    [['beta'], group('gpt-4o', ['beta', 'x']), true],
    [['beta'], group('gpt-4o', ['x']), false],
    [['openai/*'], group('openai/gpt-4o'), true],
    [['openai/*'], group('azure/gpt-4o'), false],
    [['openai/*'], group('gpt-4o', [], ['openai/gpt-4o']), true],
    [['openai/*'], group('gpt-4o'), false],
    [['gpt-4*'], group('gpt-4o-mini'), true],
    [['bedrock/us.*'], group('bedrock/us.anthropic.claude'), true],
    [['no-default-models'], group('gpt-4o'), false],
    [['no-default-models', 'gpt-4o'], group('gpt-4o'), true],
    [['GPT-4o'], group('gpt-4o'), false],
  ])('%j may use %j: %s', (models, target, expected) => {
    expect(mayUse(models, target)).toBe(expected);
  });

  it('reads all-team-models as what the team may use', () => {
    expect(mayUse(['all-team-models'], group('gpt-4o'), ['gpt-4o'])).toBe(true);
    expect(mayUse(['all-team-models'], group('o3'), ['gpt-4o'])).toBe(false);
    expect(mayUse(['all-team-models'], group('o3'), [])).toBe(true);
    expect(mayUse(['all-team-models', 'o3'], group('o3'), ['gpt-4o'])).toBe(true);
  });

  it('allows nothing by all-team-models without a team', () => {
    expect(mayUse(['all-team-models'], group('gpt-4o'))).toBe(false);
  });
});

describe('compileModelAccess', () => {
  it('says when there is no restriction at all', () => {
    expect(compileModelAccess([]).everything).toBe(true);
    expect(compileModelAccess(['gpt-4o']).everything).toBe(false);
  });
});
