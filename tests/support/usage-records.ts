import { randomBytes } from 'node:crypto';
import type { Nano } from '../../src/domain/money.ts';
import { NO_USAGE, type UsageRecord } from '../../src/domain/usage.ts';
import { uuidV7 } from '../../src/util/uuid-v7.ts';

/** A settled call as a gateway process ships it. */
export function usageRecord(given: Partial<UsageRecord> = {}): UsageRecord {
  const requestId = given.requestId ?? uuidV7(Date.now(), randomBytes);
  return {
    requestId,
    callId: requestId,
    token: 'a'.repeat(64),
    keyAlias: null,
    userId: null,
    teamId: null,
    organizationId: null,
    endUser: null,
    sessionId: null,
    callType: 'acompletion',
    route: '/v1/chat/completions',
    modelGroup: 'gpt-4o',
    model: 'openai/gpt-4o',
    modelId: 'model-1',
    provider: 'openai',
    apiBase: 'https://api.openai.com/v1',
    stream: false,
    tags: [],
    clientIp: '127.0.0.1',
    startedAtMs: Date.UTC(2026, 4, 6, 12),
    estimateNano: 0 as Nano,
    status: 'success',
    httpStatus: 200,
    errorCode: null,
    providerId: `chatcmpl-${requestId}`,
    answeredModel: 'gpt-4o-2024-08-06',
    usage: { ...NO_USAGE, promptTokens: 10, completionTokens: 5, totalTokens: 15 },
    estimated: false,
    costNano: 75_000 as Nano,
    firstTokenAtMs: Date.UTC(2026, 4, 6, 12, 0, 0, 250),
    endedAtMs: Date.UTC(2026, 4, 6, 12, 0, 1),
    seq: 1,
    ...given,
  };
}
