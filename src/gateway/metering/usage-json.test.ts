import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { UsageIntent, UsageSettlement } from '../../domain/usage.ts';
import { intentMembers, settlementMembers } from './usage-json.ts';

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
  }),
  estimated: fc.boolean(),
  costNano: count,
  firstTokenAtMs: fc.option(count),
  endedAtMs: count,
});

describe('usage as JSON', () => {
  it('is what JSON.stringify gives for an intent', () => {
    fc.assert(
      fc.property(intent, (value) => {
        expect(JSON.parse(`{${intentMembers(value as unknown as UsageIntent)}}`)).toEqual(
          JSON.parse(JSON.stringify(value)),
        );
      }),
    );
  });

  it('is what JSON.stringify gives for a settlement', () => {
    fc.assert(
      fc.property(settlement, (value) => {
        const { requestId: _, ...rest } = value;
        expect(JSON.parse(`{${settlementMembers(value as unknown as UsageSettlement)}}`)).toEqual(
          JSON.parse(JSON.stringify(rest)),
        );
      }),
    );
  });
});
