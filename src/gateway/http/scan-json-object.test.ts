import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scanJsonObject } from './scan-json-object.ts';

const bytesOf = (text: string) => Buffer.from(text, 'utf8');

function parses(text: string): boolean {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

describe('scanJsonObject', () => {
  it('names each top-level member and where its value lies', () => {
    const text = ' {"model" : "gpt", "n":[1,{"model":"x"}] , "é":true}\n';
    const found = scanJsonObject(bytesOf(text));
    expect(found?.names.slice(0, 2)).toEqual(['model', 'n']);
    const bytes = Buffer.from(text);
    expect(bytes.subarray(found?.spans[1], found?.spans[2]).toString()).toBe('"gpt"');
    expect(bytes.subarray(found?.spans[4], found?.spans[5]).toString()).toBe('[1,{"model":"x"}]');
    expect(found?.plain).toBe(true);
  });

  it('is not plain with a duplicate or an escaped name', () => {
    expect(scanJsonObject(bytesOf('{"model":"a","model":"b"}'))?.plain).toBe(false);
    expect(scanJsonObject(bytesOf('{"model":"a","mod\\u0065l":"b"}'))?.plain).toBe(false);
    expect(scanJsonObject(bytesOf('{"a":{"model":"x","model":"y"}}'))?.plain).toBe(true);
  });

  it('accepts exactly the objects that JSON.parse accepts: valid values, spaced at random', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(0, 1, '\t', ' \n'), (value, space) => {
        const text = JSON.stringify(value, null, space as string);
        const found = scanJsonObject(bytesOf(text));
        expect(found).not.toBeNull();
        const bytes = Buffer.from(text);
        found?.names.forEach((name, index) => {
          const member = JSON.parse(bytes.subarray(found.spans[index * 3 + 1], found.spans[index * 3 + 2]).toString());
          if (!name.includes('\\')) expect(member).toEqual(JSON.parse(text)[name]);
        });
      }),
    );
  });

  it('accepts exactly what JSON.parse accepts: mutated bytes', () => {
    const seeds = [
      '{"model":"gpt-4o","messages":[{"role":"user","content":"hi \\n\\u00e9 \\"x\\""}],"n":-1.5e+3,"s":true,"z":null,"f":false}',
      `{"long":"${'x'.repeat(120)}\\\\${'y'.repeat(80)}","a":[[],{},[{}]],"e":1E5,"d":0.1}`,
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(
          fc.tuple(
            fc.nat(400),
            fc.constantFrom(...'"\\{}[],:0123456789.-+eEu \t\n\u0001\u001fabcdefntrl/'),
            fc.constantFrom('set', 'cut', 'add'),
          ),
          {
            minLength: 1,
            maxLength: 4,
          },
        ),
        (seed, edits) => {
          let text = seed;
          for (const [at, character, kind] of edits) {
            const index = at % text.length;
            text =
              text.slice(0, index) + (kind === 'cut' ? '' : character) + text.slice(kind === 'add' ? index : index + 1);
          }
          expect(scanJsonObject(bytesOf(text)) !== null, text).toBe(parses(text));
        },
      ),
      { numRuns: 20_000 },
    );
  });

  it('leaves nesting deeper than its bound to JSON.parse instead of overflowing the stack', () => {
    const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(scanJsonObject(bytesOf(deep))).toBeNull();
  });
});
