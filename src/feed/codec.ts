/**
 * Bytes of the feed: one JSON object per line, in UTF-8. A line that does not have the shape its kind promises is an error
 * and never half applied. An empty line is a sign of life and nothing else; a kind that this version does not know is
 * skipped, so that a newer control process may add one.
 */
import { isAccountKind, parseAccountKey } from '../domain/account.ts';
import type { Position } from '../domain/change.ts';
import type { JsonObject, Principal } from '../domain/virtual-key.ts';
import { AGREEMENT_KEY } from '../util/x25519.ts';
import type {
  Ack,
  ConfigurationReport,
  DenialReply,
  DenialReport,
  DownFrame,
  Hello,
  PingReply,
  PingRequest,
  UsageBatch,
  UsageReply,
} from './protocol.ts';
import { type LineReader, LineVerifier } from './signed-line.ts';

/** Longest line; a longer one ends the stream. Room for 500 keys (`ENTITIES_PER_FRAME_MAX`) of 32 KiB each. */
export const FEED_LINE_BYTES_MAX = 16 * 1024 * 1024;

/** What came over the feed is not what the protocol says. */
export class FeedFormatError extends Error {
  override readonly name = 'FeedFormatError';
}

export function encodeDownFrame(frame: DownFrame): string {
  return `${JSON.stringify(frame)}\n`;
}

/** Cuts a stream of bytes into frames, wherever the chunks are cut (also inside a character). */
export class DownFrameDecoder {
  readonly #lineBytesMax: number;
  readonly #reader: LineReader | null;
  #parts: Buffer[] = [];
  #partBytes = 0;

  /** With a reader, lines are frames only when it vouches for them. */
  constructor(lineBytesMax: number = FEED_LINE_BYTES_MAX, reader: LineReader | null = null) {
    this.#lineBytesMax = lineBytesMax;
    this.#reader = reader;
  }

  /**
   * Calls `onFrame` for each frame that `chunk` completes, in order. Throws `FeedFormatError` or `LineSignatureError`; the stream is over
   * then.
   */
  push(chunk: Buffer, onFrame: (frame: DownFrame) => void): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const taken = this.#take(chunk.subarray(start, end));
      start = end + 1;
      const line = this.#reader?.open(taken) ?? taken;
      const frame = line === '' ? null : parseDownFrame(LineVerifier.jsonOf(line));
      if (line !== '') this.#reader?.verify(frame?.t ?? 'unknown', line);
      if (frame !== null) onFrame(frame);
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
  }

  #keep(part: Buffer): void {
    this.#partBytes += part.length;
    if (this.#partBytes > this.#lineBytesMax) {
      throw new FeedFormatError(`a feed line is longer than ${this.#lineBytesMax} bytes`);
    }
    // Copied: a part of a socket's chunk would keep the whole chunk alive.
    this.#parts.push(Buffer.from(part));
  }

  #take(rest: Buffer): string {
    if (this.#partBytes + rest.length > this.#lineBytesMax) {
      throw new FeedFormatError(`a feed line is longer than ${this.#lineBytesMax} bytes`);
    }
    if (this.#parts.length === 0) return rest.toString('utf8');
    this.#parts.push(rest);
    const line = Buffer.concat(this.#parts).toString('utf8');
    this.#parts = [];
    this.#partBytes = 0;
    return line;
  }
}

/** One line as a frame; null for a kind that this version does not know. */
export function parseDownFrame(line: string): DownFrame | null {
  const value = parseObject(line, 'a feed line');
  const kind = value.t;
  if (typeof kind !== 'string') throw new FeedFormatError('a feed frame has no kind');
  if (!Object.hasOwn(FRAME_FIELDS, kind)) return null;
  checkFields(value, FRAME_FIELDS[kind as DownFrame['t']], `a ${kind} frame`);
  const frame = value as unknown as DownFrame;
  if (frame.t === 'keys') for (const { principal } of frame.keys) completePrincipal(principal);
  else if (frame.t === 'delta') {
    for (const { kind, value } of frame.changes) if (kind === 'key' && value !== null) completePrincipal(value);
  }
  return frame;
}

/** Fields that version 0.1.0 did not write, last and in order, so that a principal is the same text wherever it came from. */
function completePrincipal(principal: { -readonly [Name in keyof Principal]?: Principal[Name] }): void {
  principal.allowedRegions ??= [];
  principal.fence ??= 'normal';
}

export function parseHello(body: string): Hello {
  return parseChecked(body, HELLO_FIELDS, 'hello');
}

export function parseAck(body: string): Ack {
  return parseChecked(body, ACK_FIELDS, 'an acknowledgement');
}

export function parsePingRequest(body: string): PingRequest {
  return parseChecked(body, PING_FIELDS, 'a ping');
}

export function parsePingReply(body: string): PingReply {
  return parseChecked(body, PING_REPLY_FIELDS, 'a ping reply');
}

export function parseDenialReport(body: string): DenialReport {
  return parseChecked(body, DENIAL_REPORT_FIELDS, 'a report of denials');
}

export function parseDenialReply(body: string): DenialReply {
  return parseChecked(body, DENIAL_REPLY_FIELDS, 'the answer to denials');
}

/** Checks the envelope only: what is wrong inside a record concerns that record, not the batch. */
export function parseUsageBatch(body: string): UsageBatch {
  const batch = parseChecked<UsageBatch>(body, USAGE_BATCH_FIELDS, 'a usage batch');
  if (batch.to < batch.from) throw new FeedFormatError(`a usage batch goes from ${batch.from} back to ${batch.to}`);
  return batch;
}

export function parseUsageReply(body: string): UsageReply {
  const value = parseObject(body, 'a usage reply');
  checkFields(value, value.ok === true ? USAGE_ACCEPTED_FIELDS : USAGE_RESUME_FIELDS, 'a usage reply');
  return value as unknown as UsageReply;
}

export type Check = (value: unknown) => boolean;
export type Fields = Readonly<Record<string, Check>>;

const NEWLINE = 10;

export const isText: Check = (value) => typeof value === 'string' && value !== '';
export const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isDuration: Check = (value) => typeof value === 'number' && value >= 0;
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isNano: Check = (value) => typeof value === 'string' && /^-?\d{1,30}$/.test(value);
const isDigest: Check = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
/** A key by its digest, or an account by its `accountKey`. */
const isDenialName: Check = (value) =>
  typeof value === 'string' && (value.includes(':') ? parseAccountKey(value) !== null : isDigest(value));
const isFence: Check = (value) => value === 'normal' || value === 'strict';
/** The fields without which a request would be decided wrongly; what is missing must never read as "allowed". */
const isPrincipal: Check = (value) =>
  isObject(value) &&
  isDigest(value.token) &&
  typeof value.blocked === 'boolean' &&
  (value.expiresAtMs === null || typeof value.expiresAtMs === 'number') &&
  Array.isArray(value.models) &&
  Array.isArray(value.allowedRoutes) &&
  Array.isArray(value.tags) &&
  isObject(value.aliases) &&
  optional(Array.isArray)(value.allowedRegions) &&
  optional(isFence)(value.fence) &&
  optional(isObject)(value.limits) &&
  optional(listOf(isBudgetTerms))(value.budgets) &&
  optional(isText)(value.budgetId) &&
  optional(Array.isArray)(value.crit);
const isAmount: Check = (value) => typeof value === 'number' && value >= 0;
const isLimit: Check = orNull(isAmount);
const isTextOrNull: Check = orNull((value) => typeof value === 'string');
const areTexts: Check = listOf((value) => typeof value === 'string');
const isLimits: Check = (value) =>
  isObject(value) &&
  isLimit(value.rpm) &&
  isLimit(value.tpm) &&
  isLimit(value.maxParallelRequests) &&
  isObject(value.modelRpm) &&
  isObject(value.modelTpm);
/** As of principals: what is missing must never read as "allowed". */
const isAccount: Check = (value) =>
  isObject(value) &&
  typeof value.kind === 'string' &&
  isAccountKind(value.kind) &&
  isText(value.id) &&
  isTextOrNull(value.alias) &&
  typeof value.blocked === 'boolean' &&
  areTexts(value.models) &&
  isObject(value.modelAliases) &&
  areTexts(value.allowedRegions) &&
  isTextOrNull(value.organizationId) &&
  isLimits(value.limits) &&
  listOf(isBudgetTerms)(value.budgets) &&
  isTextOrNull(value.budgetId) &&
  optional(Array.isArray)(value.crit);
const isKeyWithSpend: Check = (value) => isObject(value) && isPrincipal(value.principal) && isNano(value.spendNano);
const isPosition: Check = (value) =>
  isObject(value) && isText(value.installation) && isCount(value.epoch) && isCount(value.rev);

const isStoredModel: Check = (value) =>
  isObject(value) &&
  isText(value.id) &&
  isText(value.modelName) &&
  isObject(value.litellmParams) &&
  isObject(value.modelInfo);

/** A field that protocol 1 does not have. */
function optional(check: Check): Check {
  return (value) => value === undefined || check(value);
}

function orNull(check: Check): Check {
  return (value) => value === null || check(value);
}

const isHead: Check = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);

export function isConfigurationReport(value: unknown): value is ConfigurationReport {
  return (
    isObject(value) &&
    isCount(value.rev) &&
    typeof value.hash === 'string' &&
    optional(listOf(isText))(value.overrides) &&
    (value.rejected === null ||
      (isObject(value.rejected) && isCount(value.rejected.rev) && typeof value.rejected.reason === 'string'))
  );
}

function isBudgetTerms(value: unknown): boolean {
  return (
    isObject(value) &&
    typeof value.slot === 'string' &&
    isAmount(value.maxBudget) &&
    isTextOrNull(value.duration) &&
    orNull(areTexts)(value.models) &&
    (value.mode === 'expected' || value.mode === 'strict')
  );
}

function listOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check);
}

function isChange(value: unknown): boolean {
  if (!isObject(value) || !isCount(value.rev)) return false;
  if (value.kind === 'setting') return isText(value.id) && value.value !== undefined;
  if (value.kind === 'model') {
    return (
      isText(value.id) &&
      (value.value === null || (isStoredModel(value.value) && (value.value as JsonObject).id === value.id))
    );
  }
  if (typeof value.kind === 'string' && isAccountKind(value.kind)) {
    if (!isText(value.id)) return false;
    const account = value.value as JsonObject | null;
    return account === null || (isAccount(account) && account.kind === value.kind && account.id === value.id);
  }
  if (value.kind !== 'key' || !isDigest(value.id)) return false;
  // A value under another key's id would give one key the rights of another.
  return value.value === null || (isPrincipal(value.value) && (value.value as JsonObject).token === value.id);
}

const FRAME_FIELDS: Readonly<Record<DownFrame['t'], Fields>> = {
  welcome: {
    protocol: isCount,
    position: isPosition,
    mode: (value) => value === 'snapshot' || value === 'delta',
    head: optional(isHead),
  },
  'snapshot-begin': { position: isPosition, keyCount: isCount },
  keys: { keys: listOf(isKeyWithSpend) },
  'deleted-keys': { tokens: listOf(isDigest) },
  settings: { settings: isObject },
  models: { models: listOf(isStoredModel) },
  accounts: { accounts: listOf(isAccount) },
  'snapshot-end': { position: isPosition, head: optional(isHead), accountCount: optional(isCount) },
  delta: { epoch: isCount, from: isCount, to: isCount, changes: listOf(isChange), head: optional(isHead) },
  deny: { epoch: isCount, rev: isCount, tokens: listOf(isDenialName) },
  command: { command: isText },
  ping: { rev: isCount, dbAgeMs: isDuration },
  superseded: {},
  goaway: { retryAfterMs: isDuration },
};

const HELLO_FIELDS: Fields = {
  protocol: isCount,
  gatewayId: isText,
  session: isText,
  region: (value) => typeof value === 'string',
  role: (value) => value === 'standalone' || value === 'admin' || value === 'worker',
  version: isText,
  have: (value) => value === null || isPosition(value),
  head: optional(orNull(isHead)),
  publicUrl: optional(orNull(isText)),
  sessionKey: optional((value) => typeof value === 'string' && AGREEMENT_KEY.test(value)),
  startedAtMs: optional(isCount),
};

const ACK_FIELDS: Fields = {
  gatewayId: isText,
  session: isText,
  epoch: isCount,
  rev: isCount,
  config: optional(isConfigurationReport),
};

const PING_FIELDS: Fields = {
  gatewayId: isText,
  session: isText,
  sentAtMs: isDuration,
  epoch: isCount,
  rev: isCount,
  fresh: (value) => typeof value === 'boolean',
  // Shown to people and never decided on, so what is wrong inside is not worth losing a heartbeat for.
  stats: isObject,
};

const PING_REPLY_FIELDS: Fields = {
  sentAtMs: isDuration,
  epoch: isCount,
  rev: isCount,
  dbAgeMs: isDuration,
  witnessRev: isCount,
  witnessAgeMs: isDuration,
  serverTimeMs: isDuration,
  intervalMs: optional(isDuration),
};

const DENIAL_REPORT_FIELDS: Fields = {
  gatewayId: isText,
  session: isText,
  epoch: isCount,
  blocked: listOf(isDenialName),
  deleted: listOf(isDigest),
};

const DENIAL_REPLY_FIELDS: Fields = {
  epoch: isCount,
  rev: isCount,
  blocked: isCount,
  known: isCount,
  lifted: isCount,
};

const USAGE_BATCH_FIELDS: Fields = {
  installation: isText,
  gatewayId: isText,
  region: (value) => typeof value === 'string',
  incarnation: isText,
  from: isCount,
  to: isCount,
  records: Array.isArray,
};

const USAGE_ACCEPTED_FIELDS: Fields = {
  cursor: isCount,
  spend: (value) => isObject(value) && Object.values(value).every(isNano),
};

const USAGE_RESUME_FIELDS: Fields = { ok: (value) => value === false, cursor: isCount };

/** The fields must be all that `Message` promises: nothing else stands between what came and who uses it. */
export function parseChecked<Message>(body: string, fields: Fields, what: string): Message {
  const value = parseObject(body, what);
  checkFields(value, fields, what);
  return value as unknown as Message;
}

function parseObject(text: string, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // The parser's own message would quote what it read, which may hold a secret.
    throw new FeedFormatError(`${what} is not JSON (${text.length} characters)`, { cause: (cause as Error).name });
  }
  if (!isObject(value)) throw new FeedFormatError(`${what} is not a JSON object`);
  return value;
}

function checkFields(value: JsonObject, fields: Fields, what: string): void {
  for (const name in fields) {
    if (!fields[name]!(value[name])) throw new FeedFormatError(`${what} has a wrong or no ${name}`);
  }
}

/** Whether `a` is an older point of the same history as `b`. */
export function isBefore(a: Pick<Position, 'epoch' | 'rev'>, b: Pick<Position, 'epoch' | 'rev'>): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.rev < b.rev);
}
