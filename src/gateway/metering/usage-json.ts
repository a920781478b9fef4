import type { TokenUsage, UsageIntent, UsageSettlement } from '../../domain/usage.ts';

/**
 * Intents and settlements as JSON, written out by hand: they are encoded twice per call, for the log and for the feed, and most of
 * their texts are the same from call to call. What comes out is what `JSON.stringify` gives for the same object.
 */

/** The members of an intent without braces. */
export function intentMembers(intent: UsageIntent): string {
  return (
    `"requestId":"${intent.requestId}","callId":${quoted(intent.callId)},"token":${known(intent.token)},` +
    `"keyAlias":${known(intent.keyAlias)},"userId":${known(intent.userId)},"teamId":${known(intent.teamId)},` +
    `"organizationId":${known(intent.organizationId)},"endUser":${quoted(intent.endUser)},` +
    `"sessionId":${quoted(intent.sessionId)},"callType":"${intent.callType}","route":${known(intent.route)},` +
    `"modelGroup":${known(intent.modelGroup)},"model":${known(intent.model)},"modelId":${known(intent.modelId)},` +
    `"provider":${known(intent.provider)},"apiBase":${known(intent.apiBase)},"stream":${intent.stream},` +
    `"tags":${intent.tags.length === 0 ? '[]' : JSON.stringify(intent.tags)},"clientIp":${known(intent.clientIp)},` +
    `"startedAtMs":${intent.startedAtMs},"estimateNano":${intent.estimateNano}`
  );
}

/** The members of a settlement without braces and without its `requestId`. */
export function settlementMembers(settlement: UsageSettlement): string {
  return (
    `"status":"${settlement.status}","httpStatus":${settlement.httpStatus},"errorCode":${known(settlement.errorCode)},` +
    `"providerId":${quoted(settlement.providerId)},"answeredModel":${known(settlement.answeredModel)},` +
    `"usage":${usageJson(settlement.usage)},"estimated":${settlement.estimated},"costNano":${settlement.costNano},` +
    `"firstTokenAtMs":${settlement.firstTokenAtMs},"endedAtMs":${settlement.endedAtMs}`
  );
}

function usageJson(usage: TokenUsage): string {
  return (
    `{"promptTokens":${usage.promptTokens},"completionTokens":${usage.completionTokens},"totalTokens":${usage.totalTokens},` +
    `"cachedTokens":${usage.cachedTokens},"cacheWriteTokens":${usage.cacheWriteTokens},` +
    `"reasoningTokens":${usage.reasoningTokens},"audioInputTokens":${usage.audioInputTokens},` +
    `"audioOutputTokens":${usage.audioOutputTokens}}`
  );
}

/** Printable ASCII without quote and backslash needs no escaping. */
const PLAIN_TEXT = /^[ !#-[\]-~]*$/;

function quoted(text: string | null): string {
  if (text === null) return 'null';
  return PLAIN_TEXT.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** Texts seen before and their JSON. At the bound all are forgotten. */
const KNOWN_MAX = 10_000;
const KNOWN = new Map<string, string>();

function known(text: string | null): string {
  if (text === null) return 'null';
  let json = KNOWN.get(text);
  if (json === undefined) {
    if (KNOWN.size >= KNOWN_MAX) KNOWN.clear();
    json = quoted(text);
    KNOWN.set(text, json);
  }
  return json;
}
