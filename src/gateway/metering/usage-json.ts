import type { UsageIntent, UsageSettlement } from '../../domain/usage.ts';

/**
 * Intents and settlements as JSON, written out by hand: this is on the request path, and most of their texts are the same from
 * call to call. What comes out means what `JSON.stringify` says of the same object, and is ASCII, so that its length is known
 * and a byte is a character.
 */

/** The members of an intent without braces, and without those that a frame begins with. */
export function intentMembers(intent: UsageIntent): string {
  // Joined and not added up: forty pieces of a rope would live as long as the call.
  return [
    '"callId":',
    quoted(intent.callId),
    ',"keyAlias":',
    known(intent.keyAlias),
    ',"userId":',
    known(intent.userId),
    ',"teamId":',
    known(intent.teamId),
    ',"organizationId":',
    known(intent.organizationId),
    ',"endUser":',
    quoted(intent.endUser),
    ',"sessionId":',
    quoted(intent.sessionId),
    ',"callType":"',
    intent.callType,
    '","route":',
    known(intent.route),
    ',"modelGroup":',
    known(intent.modelGroup),
    ',"model":',
    known(intent.model),
    ',"modelId":',
    known(intent.modelId),
    ',"provider":',
    known(intent.provider),
    ',"apiBase":',
    known(intent.apiBase),
    intent.stream ? ',"stream":true,"tags":' : ',"stream":false,"tags":',
    intent.tags.length === 0 ? '[]' : asciiJson(intent.tags),
    ',"clientIp":',
    known(intent.clientIp),
    ',"startedAtMs":',
    intent.startedAtMs,
    ',"estimateNano":',
    intent.estimateNano,
    intent.charges === undefined ? '' : `,"charges":${asciiJson(intent.charges)}`,
  ].join('');
}

/** The members of a settlement without braces, and without those that a SETTLE frame begins with. */
export function settlementMembers(settlement: UsageSettlement): string {
  const { usage, firstTokenAtMs } = settlement;
  return [
    '"status":"',
    settlement.status,
    '","httpStatus":',
    settlement.httpStatus,
    ',"errorCode":',
    known(settlement.errorCode),
    ',"providerId":',
    quoted(settlement.providerId),
    ',"answeredModel":',
    known(settlement.answeredModel),
    ',"usage":{"promptTokens":',
    usage.promptTokens,
    ',"completionTokens":',
    usage.completionTokens,
    ',"totalTokens":',
    usage.totalTokens,
    ',"cachedTokens":',
    usage.cachedTokens,
    ',"cacheWriteTokens":',
    usage.cacheWriteTokens,
    ',"reasoningTokens":',
    usage.reasoningTokens,
    ',"audioInputTokens":',
    usage.audioInputTokens,
    ',"audioOutputTokens":',
    usage.audioOutputTokens,
    usage.extras === undefined ? '' : `,"extras":${asciiJson(usage.extras)}`,
    settlement.estimated ? '},"estimated":true,"firstTokenAtMs":' : '},"estimated":false,"firstTokenAtMs":',
    firstTokenAtMs === null ? 'null' : firstTokenAtMs,
    costMembers(settlement),
  ].join('');
}

/** What most settlements do not have. */
function costMembers({ breakdown, formulaCostNano, providerCostNano }: UsageSettlement): string {
  let members = '';
  if (providerCostNano != null) members += `,"providerCostNano":${providerCostNano}`;
  if (formulaCostNano !== undefined) members += `,"formulaCostNano":${formulaCostNano}`;
  if (breakdown != null) members += `,"breakdown":${JSON.stringify(breakdown)}`;
  return members;
}

/** Printable ASCII without quote and backslash needs no escaping. */
const PLAIN_TEXT = /^[ !#-[\]-~]*$/;
const BEYOND_ASCII = /[^\x00-\x7f]/g;

export function quoted(text: string | null): string {
  if (text === null) return 'null';
  return PLAIN_TEXT.test(text) ? `"${text}"` : asciiJson(text);
}

function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    BEYOND_ASCII,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Texts seen before and their JSON. At the bound all are forgotten. */
const KNOWN_MAX = 10_000;
const KNOWN = new Map<string, string>();

export function known(text: string | null): string {
  if (text === null) return 'null';
  let json = KNOWN.get(text);
  if (json === undefined) {
    if (KNOWN.size >= KNOWN_MAX) KNOWN.clear();
    json = quoted(text);
    KNOWN.set(text, json);
  }
  return json;
}
