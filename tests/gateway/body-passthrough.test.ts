import { Agent } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { JsonObject, JsonValue } from '../../src/domain/virtual-key.ts';
import { type GatewayHarness, modelEntry, startGateway } from '../support/gateway-harness.ts';
import { pick } from '../support/length.ts';
import { beginStream, type FaultUpstream, STREAM, startFaultUpstream } from './fault-upstream.ts';
import { leavesNothingOpen } from './leaks.ts';

/** Members that are for the gateway and stay with it. */
const FOR_THE_GATEWAY = [
  ...['metadata', 'tags', 'fallbacks', 'num_retries', 'timeout', 'cache', 'guardrails', 'mock_response', 'drop_params'],
  ...['extra_headers', 'extra_body', 'api_base', 'api_key', 'custom_llm_provider', 'litellm_session_id', 'no-log'],
];
const DEFAULTS = { temperature: 0.25, 'x-default': ['a'] };

/** A member as text: the same value can be written in many ways, and the way has to survive. */
interface Member {
  readonly name: string;
  readonly nameText: string;
  readonly valueText: string;
}

const space = fc.constantFrom('', '', '', ' ', '\n', '\t ', '\r\n  ');
const number = fc.constantFrom('0', '-0', '1.50', '1E+2', '-1e-7', '12345678901234567890', '0.1000', '1e308');
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }).map((value) => JSON.stringify(value)),
  fc.constantFrom('"\\u0041\\/\\ud83d\\ude00"', '"\\ud800"', '"{\\"model\\":\\"x\\"}"', '"Grüße 🌍"', '"a\\\\"'),
);
const spaced = fc
  .tuple(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom(undefined, 1, '\t'))
  .map(([value, indent]) => JSON.stringify(value, null, indent));
const valueText = fc.oneof(number, text, spaced);
const otherName = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('temperature', 'n', 'tools', 'user', 'x', 'models', 'Model', 'stream ', 'seed'),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }) },
  { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', 'toString', '', 'é', 'mod\u0000el') },
  { weight: 2, arbitrary: fc.constantFrom(...FOR_THE_GATEWAY) },
);
const member = (name: string, value: fc.Arbitrary<string>): fc.Arbitrary<Member> =>
  value.map((written) => ({ name, nameText: JSON.stringify(name), valueText: written }));
const others = fc
  .uniqueArray(otherName, { maxLength: 8 })
  .chain((names) => fc.tuple(...names.map((name) => member(name, valueText))));
const streamOptions = member(
  'stream_options',
  fc.constantFrom(
    'null',
    '{}',
    '{"include_usage":true}',
    '{"include_usage":false}',
    '{ "x": 1 , "include_usage" : null }',
  ),
);
const required = fc.tuple(
  member('model', fc.constantFrom('"gpt"', '"g\\u0070t"', ' "gpt"')),
  member('messages', fc.constantFrom('[]', '[{"role":"user","content":"model"}]', '[ {"model" : "x"} ]')),
  fc.option(member('stream', fc.constantFrom('true', 'false', 'null')), { nil: null }),
  fc.option(streamOptions, { nil: null }),
);
/** Large enough, now and then, for every way that a body can take into the process. */
const filler = fc.oneof(
  { weight: 8, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.constantFrom(5_000, 70_000, 300_000) },
);
const plainBody = fc.record({ required, others, filler, space, order: fc.infiniteStream(fc.nat(100)) }).map((parts) => {
  const members = [...parts.required.filter((entry) => entry !== null), ...parts.others];
  if (parts.filler > 0)
    members.push({ name: 'filler', nameText: '"filler"', valueText: `"${'x'.repeat(parts.filler)}"` });
  const order = members.map(() => parts.order.next().value);
  const shuffled = members.map((entry, index) => ({ entry, at: order[index]! })).sort((a, b) => a.at - b.at);
  const list = shuffled.map(({ entry }) => entry);
  const { space: gap } = parts;
  const written = list.map(({ nameText, valueText }) => `${gap}${nameText}${gap}:${gap}${valueText}${gap}`);
  return { list, gap, text: `${gap}{${written.join(',')}}${gap}` };
});

describe('a body on its way through the gateway', { timeout: pick(60_000, 300_000) }, () => {
  leavesNothingOpen();
  let gateway: GatewayHarness;
  let upstream: FaultUpstream;
  let agent: Agent;
  /** What the provider answers with to the next call. */
  let answerText = '{}';
  let received: Buffer = Buffer.alloc(0);
  beforeAll(async () => {
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
    upstream = await startFaultUpstream();
    upstream.answer((call) => {
      received = call.body;
      if (call.request.headers.accept === 'text/event-stream') {
        beginStream(call, STREAM);
        call.response.end();
      } else call.response.writeHead(200, { 'content-type': 'application/json' }).end(answerText);
    });
    const up = { model: 'openai/up-model', api_base: `${upstream.url}/v1`, api_key: 'sk-up' };
    gateway = await startGateway({
      models: [modelEntry('gpt', up), modelEntry('with-defaults', { ...up, ...DEFAULTS })],
    });
  });
  afterAll(async () => {
    agent.destroy();
    await gateway.stop();
    await upstream.stop();
  });

  /** Sends it and returns what reached the provider. */
  const pass = async (body: string | Buffer, path?: string): Promise<string> => {
    received = Buffer.alloc(0);
    const answer = await gateway.call(body, { agent, ...(path === undefined ? {} : { path }) });
    expect({ status: answer.status, text: answer.text }).toMatchObject({ status: 200 });
    return received.toString('utf8');
  };

  it('has only the documented edits, and all that is not edited is the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(plainBody, async ({ list, gap, text: body }) => {
        const arrived = await pass(body);
        const anew = list.some(({ nameText }) => nameText.includes('\\'));
        expect(membersOf(arrived)).toEqual(edited(anew ? rewritten(body) : (JSON.parse(body) as JsonObject)));
        // A name that needs an escape makes the whole body be parsed and written anew.
        if (anew) return;
        let at = 0;
        for (const { name, nameText, valueText: value } of list) {
          if (isEdited(name, list)) continue;
          const found = arrived.indexOf(`${nameText}${gap}:${gap}${value}`, at);
          expect(found, `${name} in ${arrived.slice(0, 500)}`).toBeGreaterThanOrEqual(at);
          at = found + 1;
        }
      }),
      { numRuns: pick(300, 3_000) },
    );
  });

  it('means the same when names come twice or are written with escapes, and what was authorised is what is sent', async () => {
    const spoiled = fc
      .tuple(plainBody, fc.nat(20), fc.constantFrom('escape', 'double', 'both'))
      .map(([{ list }, at, how]) => {
        const written = list.map(({ nameText, valueText: value }) => `${nameText}:${value}`);
        const chosen = list[at % list.length]!;
        if (how !== 'double') written[at % list.length] = `${escaped(chosen.nameText)}:${chosen.valueText}`;
        if (how !== 'escape') written.push(`${chosen.nameText}:${chosen.valueText}`);
        // The name that counts comes last; one before it may say what it likes.
        return `{${how === 'escape' ? '' : '"mod\\u0065l":"with-defaults",'}${written.join(',')}}`;
      });
    await fc.assert(
      fc.asyncProperty(spoiled, async (body) => {
        const arrived = await pass(body);
        expect(arrived).not.toContain('with-defaults');
        expect(membersOf(JSON.stringify(rewritten(arrived)))).toEqual(edited(rewritten(body)));
      }),
      { numRuns: pick(150, 1_500) },
    );
  });

  it('gets the defaults of its deployment only where the client said nothing', async () => {
    for (const [given, expected] of [
      [{}, DEFAULTS],
      [{ temperature: 2 }, { ...DEFAULTS, temperature: 2 }],
      [
        { temperature: null, 'x-default': 5 },
        { temperature: null, 'x-default': 5 },
      ],
    ] as const) {
      const arrived = JSON.parse(await pass(JSON.stringify({ model: 'with-defaults', messages: [], ...given })));
      expect(arrived).toEqual({ model: 'up-model', messages: [], ...expected });
    }
  });

  it.each([
    ['/completions', { model: 'gpt', prompt: 'x' }],
    ['/v1/completions', { model: 'gpt', prompt: ['x', 'y'] }],
    ['/embeddings', { model: 'gpt', input: [1, 2, 3] }],
    ['/engines/gpt/chat/completions', { messages: [] }],
    ['/openai/deployments/gpt/chat/completions', { model: 'something else', messages: [] }],
    ['/openai/deployments/gpt/embeddings', { input: 'x' }],
  ])('is named by the deployment whichever route it came by: %s', async (path, body) => {
    expect(JSON.parse(await pass(JSON.stringify(body), path))).toEqual({ ...body, model: 'up-model' });
    expect(upstream.calls.at(-1)?.request.url).toBe(`/v1/${/(chat\/)?(completions|embeddings)$/.exec(path)?.[0]}`);
  });

  it('comes back as the bytes that the provider sent', async () => {
    const answer = fc
      .tuple(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), space, fc.constantFrom(0, 2, 20_000))
      .filter(([value]) => value['error'] === undefined)
      .map(
        ([value, gap, fill]) => `${gap}${JSON.stringify({ ...value, choices: ['x'.repeat(fill)] }, null, gap)}${gap}`,
      );
    await fc.assert(
      fc.asyncProperty(answer, async (sent) => {
        answerText = sent;
        const { text: got, status } = await gateway.call({ model: 'gpt', messages: [] }, { agent });
        expect({ status, got }).toEqual({ status: 200, got: sent });
      }),
      { numRuns: pick(100, 1_000) },
    );
  });
});

/** Own members in no order; a map, because a name may be `__proto__`. */
function membersOf(body: string): ReadonlyMap<string, JsonValue> {
  return new Map(Object.entries(JSON.parse(body) as JsonObject));
}

/** Parsed and written anew: numbers are then as JavaScript writes them, and -0 is 0. */
function rewritten(body: string): JsonObject {
  return JSON.parse(JSON.stringify(JSON.parse(body))) as JsonObject;
}

/** The documented edits: model, usage of streams, members of the gateway. */
function edited(object: JsonObject): ReadonlyMap<string, JsonValue> {
  const members = new Map(Object.entries(object).filter(([name]) => !FOR_THE_GATEWAY.includes(name)));
  members.set('model', 'up-model');
  if (object['stream'] === true) {
    members.set('stream_options', { ...(object['stream_options'] as JsonObject | null), include_usage: true });
  }
  return members;
}

function isEdited(name: string, list: readonly Member[]): boolean {
  if (name === 'stream_options') return list.some((entry) => entry.name === 'stream' && entry.valueText === 'true');
  return name === 'model' || FOR_THE_GATEWAY.includes(name);
}

/** The same name, its first character written as an escape. */
function escaped(nameText: string): string {
  const first = nameText.charCodeAt(1);
  // Half of a surrogate pair can be escaped, but then the other half alone is no UTF-8.
  if (nameText === '""' || first === 0x5c || (first >= 0xd800 && first < 0xe000)) return nameText;
  return `"\\u${first.toString(16).padStart(4, '0')}${nameText.slice(2)}`;
}
