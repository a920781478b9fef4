import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fillWildcards, literalLength, matchWildcard } from './wildcard.ts';

describe('matchWildcard', () => {
  it.each([
    ['openai/*', 'openai/gpt-4o', ['gpt-4o']],
    ['openai/*', 'openai/', ['']],
    ['*', 'anything/at.all', ['anything/at.all']],
    ['gpt-4*', 'gpt-4', ['']],
    ['bedrock/us.*', 'bedrock/usx', null],
    ['openai/*', 'azure/openai/x', null],
    ['*/chat-*', 'a/chat-b', ['a', 'b']],
    ['a*a', 'a', null],
    ['plain', 'plain', []],
    ['plain', 'plains', null],
  ])('%s on %s is %j', (pattern, text, expected) => {
    expect(matchWildcard(pattern, text)).toEqual(expected);
  });

  it('gives captures that rebuild the text', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '*'), maxLength: 8 });
    fc.assert(
      fc.property(text, text, (pattern, name) => {
        const captures = matchWildcard(pattern, name);
        if (captures !== null) expect(fillWildcards(pattern, captures)).toBe(name);
      }),
    );
  });

  it('matches exactly what the regular expression matches', () => {
    const part = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 3 });
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 1, maxLength: 4 }),
        fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 }),
        (parts, name) => {
          expect(matchWildcard(parts.join('*'), name) !== null).toBe(new RegExp(`^${parts.join('.*')}$`).test(name));
        },
      ),
    );
  });

  it('stays fast on a pattern made to be slow', () => {
    expect(matchWildcard(`${'a*'.repeat(200)}b`, 'a'.repeat(20_000))).toBeNull();
  });
});

it('measures how specific a pattern is by what is no star', () => {
  expect(literalLength('openai/gpt-*')).toBe(11);
  expect(literalLength('*')).toBe(0);
});
