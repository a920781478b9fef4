import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editLlmBody, type LlmBody, memberKind, parseLlmBody } from './llm-body.ts';

const NO_EDITS = { set: {}, defaults: {}, remove: new Set<string>() };

function parsed(text: string): LlmBody {
  const body = parseLlmBody(Buffer.from(text));
  if ('problem' in body) throw new Error(body.problem);
  return body;
}

describe('parseLlmBody', () => {
  it('tells malformed JSON from JSON that is not an object', () => {
    expect(parseLlmBody(Buffer.from('{"model":'))).toMatchObject({ problem: 'malformed' });
    expect(parseLlmBody(Buffer.from(''))).toMatchObject({ problem: 'malformed' });
    expect(parseLlmBody(Buffer.from('[1]'))).toEqual({ problem: 'not-an-object' });
    expect(parseLlmBody(Buffer.from('null'))).toEqual({ problem: 'not-an-object' });
  });

  it.each([
    ['duplicate', '{"model":"cheap","model":"dear"}'],
    ['escaped', '{"model":"cheap","mod\\u0065l":"dear"}'],
    ['escaped first', '{"mod\\u0065l":"cheap","model":"dear"}'],
  ])('sends the model that it read when the name is %s', (_name, text) => {
    const body = parsed(text);
    expect(body.read['model']).toBe('dear');
    const sent = editLlmBody(body, NO_EDITS).toString();
    expect(sent.match(/cheap/)).toBeNull();
    expect(JSON.parse(sent)).toEqual({ model: 'dear' });
  });

  it('does not take a nested model for the model', () => {
    const body = parsed('{"tools":[{"model":"dear"}],"metadata":{"model":"dear"},"model":"cheap"}');
    expect(body.read['model']).toBe('cheap');
  });

  it('keeps a __proto__ member an ordinary member', () => {
    const body = parsed('{"__proto__":{"stream":true},"model":"a","model":"b"}');
    expect(body.read['stream']).toBeUndefined();
    expect(memberKind(body, 'stream')).toBe('absent');
    expect(editLlmBody(body, NO_EDITS).toString()).toContain('"__proto__"');
  });
});

describe('editLlmBody', () => {
  it('returns the very bytes of the client when nothing changes', () => {
    const body = parsed('{ "model" : "a" }');
    expect(editLlmBody(body, NO_EDITS)).toBe(body.bytes);
  });

  it('replaces, removes, appends and defaults members, and copies the rest byte for byte', () => {
    const body = parsed('{ "metadata":{"x":1}, "model" : "a","n": 1.50, "user":"ü" }');
    const sent = editLlmBody(body, {
      set: { model: 'b"c', stream_options: { include_usage: true } },
      defaults: { n: 9, top_p: 0.5 },
      remove: new Set(['metadata']),
    }).toString();
    expect(sent).toBe('{"model":"b\\"c","n": 1.50, "user":"ü","stream_options":{"include_usage":true},"top_p":0.5}');
  });

  it('means the same as editing the parsed object, for any object and any edit', () => {
    const name = fc.constantFrom('model', 'stream', 'a', 'b', 'metadata', 'é', '');
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(name, fc.jsonValue()), { selector: ([key]) => key }),
        fc.dictionary(name, fc.jsonValue(), { maxKeys: 2 }),
        fc.dictionary(name, fc.jsonValue(), { maxKeys: 2 }),
        fc.subarray(['model', 'a', 'metadata']),
        fc.constantFrom(undefined, 1),
        (members, set, defaults, remove, space) => {
          const object = Object.fromEntries(members);
          const sent = editLlmBody(parsed(JSON.stringify(object, null, space)), {
            set: set as never,
            defaults: defaults as never,
            remove: new Set(remove),
          });
          const kept = Object.fromEntries(Object.entries(object).filter(([key]) => !remove.includes(key)));
          // A default stays away from what the client sent, also when that is removed.
          const added = Object.fromEntries(Object.entries(defaults).filter(([key]) => !Object.hasOwn(object, key)));
          expect(JSON.parse(sent.toString())).toEqual(JSON.parse(JSON.stringify({ ...added, ...kept, ...set })));
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
