import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normaliseTarget } from './normalise-path.ts';

function path(target: string, root = ''): string {
  const result = normaliseTarget(target, root);
  return result.ok ? result.path : `refused: ${result.refusal}`;
}

describe('normaliseTarget', () => {
  it.each([
    ['/key/generate', '/key/generate'],
    ['/', '/'],
    ['//', '/'],
    ['/./', '/'],
    ['//key/generate', '/key/generate'],
    ['/key//generate', '/key/generate'],
    ['/v1/../key/generate', '/key/generate'],
    ['/v1/%2e%2e/key/generate', '/key/generate'],
    ['/v1/%2E./key/generate', '/key/generate'],
    ['/%6bey/generate', '/key/generate'],
    ['/key/generate/', '/key/generate'],
    ['/key/generate/.', '/key/generate'],
    ['/key/./generate', '/key/generate'],
    ['/KEY/generate', '/KEY/generate'],
    ['/key/generate/azure', '/key/generate/azure'],
    ['/.well-known/litellm-ui-config', '/.well-known/litellm-ui-config'],
    ['/engines/openai%2fgpt-4o/completions', '/engines/openai%2Fgpt-4o/completions'],
    ['/models/gpt%204', '/models/gpt%204'],
    ['http://127.0.0.1:4000/key/generate?a=b', '/key/generate'],
    ['HTTPS://example.test', '/'],
    ['/v1beta/models/gemini:generateContent', '/v1beta/models/gemini:generateContent'],
    ['/a...b/..c', '/a...b/..c'],
  ])('%s is %s', (target, expected) => {
    expect(path(target)).toBe(expected);
  });

  it.each([
    ['', 'not a path'],
    ['*', 'not a path'],
    ['key/generate', 'not a path'],
    ['example.test:443', 'not a path'],
    ['ftp://example.test/key', 'not a path'],
    ['/../key/generate', 'path above the root'],
    ['/%2e%2e/%2e%2e/key', 'path above the root'],
    ['/v1/%252e%252e/key/generate', 'double encoding'],
    ['/v1/..%2fkey/generate', 'encoded dot segment'],
    ['/v1/%2fkey/generate', 'encoded dot segment'],
    ['/v1%2f%2e%2e%2fkey/generate', 'encoded dot segment'],
    ['/key%5cgenerate', 'backslash'],
    ['/v1\\..\\key', 'backslash'],
    ['/key%00/generate', 'encoded control character'],
    ['/key%0d%0agenerate', 'encoded control character'],
    ['/key\u0000/generate', 'raw control or non-ASCII character'],
    ['/key /generate', 'raw control or non-ASCII character'],
    ['/k\u00ebys', 'raw control or non-ASCII character'],
    ['/key#/generate', 'fragment'],
    ['/key?a#b', 'fragment'],
    ['/key%', 'broken percent-encoding'],
    ['/key%2', 'broken percent-encoding'],
    ['/key%zz', 'broken percent-encoding'],
    ['/key%c0%ae%c0%ae', 'broken percent-encoding'],
    ['/key?a\nb', 'raw control or non-ASCII character'],
  ])('refuses %j: %s', (target, refusal) => {
    expect(normaliseTarget(target, '')).toEqual({ ok: false, refusal });
  });

  it('keeps the query as it came', () => {
    expect(normaliseTarget('/key/info?key=sk-%2e%2e&a=/../', '')).toEqual({
      ok: true,
      path: '/key/info',
      query: 'key=sk-%2e%2e&a=/../',
    });
    expect(normaliseTarget('/a?', '')).toEqual({ ok: true, path: '/a', query: '' });
  });

  it('removes the server root path after normalising, and knows nothing outside it', () => {
    expect(path('/llm/key/generate', '/llm')).toBe('/key/generate');
    expect(path('//llm//key/generate', '/llm')).toBe('/key/generate');
    expect(path('/llm', '/llm')).toBe('/');
    expect(path('/llm/', '/llm')).toBe('/');
    expect(path('/llm/../key/generate', '/llm')).toBe('refused: outside_root');
    expect(path('/key/generate', '/llm')).toBe('refused: outside_root');
    expect(path('/llmx/key', '/llm')).toBe('refused: outside_root');
    expect(path('/LLM/key', '/llm')).toBe('refused: outside_root');
  });

  const piece = fc.constantFrom(
    'key',
    'v1',
    '.',
    '..',
    '',
    '%2e',
    '%2E%2e',
    '%2f',
    '%2F..',
    '%25',
    '\\',
    '%5c',
    'a:b',
    '%41',
    '~',
  );

  it('gives a path that no second reading changes', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const first = normaliseTarget(`/${pieces.join('/')}`, '');
        if (!first.ok) return;
        expect(normaliseTarget(first.path, '')).toEqual({ ok: true, path: first.path, query: '' });
        const segments = first.path.slice(1).split('/');
        if (first.path !== '/')
          expect(segments.every((text) => text !== '' && text !== '.' && text !== '..')).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it('hides no dot or empty segment from a program that decodes once more', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const result = normaliseTarget(`/${pieces.join('/')}`, '');
        if (!result.ok || result.path === '/') return;
        const decoded = decodeURIComponent(result.path);
        expect(decoded).not.toContain('%');
        for (const segment of decoded.slice(1).split('/')) expect(['', '.', '..']).not.toContain(segment);
      }),
      { numRuns: 2000 },
    );
  });

  it('agrees with the URL standard on every path that it accepts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('key', '.', '..', '%2e%2E', 'v1', 'a%20b'), { minLength: 1, maxLength: 6 }),
        (pieces) => {
          const target = `/${pieces.join('/')}/end`;
          const result = normaliseTarget(target, '');
          if (result.ok) expect(result.path).toBe(new URL(target, 'http://host').pathname);
        },
      ),
    );
  });

  it('never throws, whatever the target', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void normaliseTarget(text, '')));
  });
});
