import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { UsageIntent, UsageSettlement } from '../../domain/usage.ts';
import { FrameBuffer, scanFrames } from '../live/checked-frames.ts';
import { appendIntent, encodeIntent, encodeSettled, settledBegin } from './usage-segment.ts';

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('gpt-4o', 'a"b', 'a\\b', '\u2028', 'ü', ''));
const maybe = fc.option(text);
const count = fc.nat();

const intent = fc.record({
  requestId: fc.uuid(),
  callId: text,
  token: text,
  keyAlias: maybe,
  userId: maybe,
  teamId: maybe,
  organizationId: maybe,
  endUser: maybe,
  sessionId: maybe,
  callType: fc.constantFrom('acompletion', 'atext_completion', 'aembedding'),
  route: text,
  modelGroup: text,
  model: text,
  modelId: text,
  provider: text,
  apiBase: text,
  stream: fc.boolean(),
  tags: fc.array(text, { maxLength: 3 }),
  clientIp: maybe,
  startedAtMs: count,
  estimateNano: count,
});

const settlement = fc.record({
  requestId: fc.uuid(),
  status: fc.constantFrom('success', 'failure'),
  httpStatus: count,
  errorCode: maybe,
  providerId: maybe,
  answeredModel: maybe,
  usage: fc.record({
    promptTokens: count,
    completionTokens: count,
    totalTokens: count,
    cachedTokens: count,
    cacheWriteTokens: count,
    reasoningTokens: count,
    audioInputTokens: count,
    audioOutputTokens: count,
    extras: fc.option(fc.record({ serviceTier: fc.string(), webSearches: count, factors: fc.array(fc.string()) }), {
      nil: undefined,
    }),
  }),
  estimated: fc.boolean(),
  costNano: count,
  providerCostNano: fc.option(count, { nil: undefined }),
  formulaCostNano: fc.oneof(count, fc.constantFrom(null, undefined)),
  breakdown: fc.option(fc.record({ input: count, discount: count }), { nil: undefined }),
  firstTokenAtMs: fc.option(count),
  endedAtMs: count,
});

describe('usage as JSON', () => {
  it('is what JSON.stringify gives for an intent, in ASCII', () => {
    fc.assert(
      fc.property(intent, (value) => {
        const frames = new FrameBuffer();
        appendIntent(frames, encodeIntent(value as unknown as UsageIntent));
        expect(payloadOf(frames)).toEqual({ intent: plain(value) });
      }),
    );
  });

  it('is what JSON.stringify gives for a settled call, and says in front what a delivery has to know', () => {
    fc.assert(
      fc.property(intent, settlement, (begun, value) => {
        const ended = { ...value, requestId: begun.requestId };
        const payload = encodeSettled(
          encodeIntent(begun as unknown as UsageIntent),
          ended as unknown as UsageSettlement,
        );
        const frames = new FrameBuffer();
        frames.appendAscii(payload);
        expect(payloadOf(frames)).toEqual({ settled: plain({ ...begun, ...ended }) });
        const { requestId, token } = begun;
        const { costNano, endedAtMs } = value;
        expect(settledBegin(Buffer.from(payload))).toEqual({ requestId, token: plain(token), costNano, endedAtMs });
      }),
    );
  });

  it('takes no other frame for a settled call', () => {
    for (const text of [
      '{}',
      '{"head":{}}',
      '{"intent":{"settled":{}}}',
      '{"settled":{"requestId":"a"}}',
      '{"settled":1}',
    ])
      expect(settledBegin(Buffer.from(text))).toBeNull();
  });
});

function payloadOf(frames: FrameBuffer): unknown {
  const found: unknown[] = [];
  scanFrames(frames.view(), (payload) => {
    expect(payload.every((byte) => byte < 0x80)).toBe(true);
    found.push(JSON.parse(payload.toString('latin1')));
    return true;
  });
  expect(found).toHaveLength(1);
  return found[0];
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
