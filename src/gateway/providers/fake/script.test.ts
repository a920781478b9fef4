import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DEFAULT_SCRIPT, FakeScriptError, readScript } from './script.ts';

const page = readFileSync(new URL('../../../../docs/reference/fake-provider.md', import.meta.url), 'utf8');
const [wordTable = '', failureTable = ''] = page.split('| `fail` | What happens |');
const words = firstColumn(wordTable);
const failures = firstColumn(failureTable);

describe('the script of the fake provider', () => {
  it('reads a model without a script, with or without the provider prefix', () => {
    expect(readScript('fake/gpt', undefined)).toEqual({ model: 'gpt', script: DEFAULT_SCRIPT });
    expect(readScript('gpt', null)).toEqual({ model: 'gpt', script: DEFAULT_SCRIPT });
  });

  it('knows exactly the words that its page explains', () => {
    const sample = (word: string): string => (word === 'usage' ? 'false' : word === 'fail' ? 'hang' : '3');
    for (const word of words) {
      expect(readScript(`gpt?${word}=${sample(word)}`, undefined).script, word).not.toEqual(DEFAULT_SCRIPT);
    }
    expect(words).toHaveLength(Object.keys(DEFAULT_SCRIPT).length);
  });

  it('knows exactly the failures that its page explains', () => {
    for (const name of failures) expect(readScript(`gpt?fail=${name}`, undefined).script.fail).toBe(name);
    const said = catchError(() => readScript('gpt?fail=nonsense', undefined)).message;
    expect(said.split('one of ')[1]?.replace('.', '').split(', ').sort()).toEqual([...failures].sort());
  });

  it.each([
    ['gpt?tokens=1.5', undefined],
    ['gpt?latency_ms=99999999999', undefined],
    ['gpt?fail=200', undefined],
    ['gpt?usage=maybe', undefined],
    ['gpt', { latency_ms: '-1' }],
    ['gpt', ['latency_ms']],
    ['gpt', 'latency_ms=5'],
    ['gpt', { __proto__constructor: 1 }],
  ])('refuses %s with field %j', (model, field) => {
    expect(() => readScript(model, field)).toThrow(FakeScriptError);
  });
});

function firstColumn(table: string): string[] {
  return [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1] ?? '');
}

function catchError(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('nothing was thrown');
}
