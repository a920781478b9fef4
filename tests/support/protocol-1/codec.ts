/**
 * Bytes of the feed: one JSON object per line, in UTF-8. A line that does not have the shape its kind promises is an error
 * and never half applied. An empty line is a sign of life and nothing else; a kind that this version does not know is
 * skipped, so that a newer control process may add one.
 */
import type { DownFrame, JsonObject, Position, UsageReply } from './types.ts';

/** Longest line; a longer one ends the stream. Room for 500 keys (`ENTITIES_PER_FRAME_MAX`) of 32 KiB each. */
export const FEED_LINE_BYTES_MAX = 16 * 1024 * 1024;

/** What came over the feed is not what the protocol says. */
export class FeedFormatError extends Error {
  override readonly name = 'FeedFormatError';
}

/** Cuts a stream of bytes into frames, wherever the chunks are cut (also inside a character). */
export class DownFrameDecoder {
  readonly #lineBytesMax: number;
  #parts: Buffer[] = [];
  #partBytes = 0;

  constructor(lineBytesMax: number = FEED_LINE_BYTES_MAX) {
    this.#lineBytesMax = lineBytesMax;
  }

  /** Calls `onFrame` for each frame that `chunk` completes, in order. Throws `FeedFormatError`; the stream is over then. */
  push(chunk: Buffer, onFrame: (frame: DownFrame) => void): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = this.#take(chunk.subarray(start, end));
      start = end + 1;
      const frame = line === '' ? null : parseDownFrame(line);
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
  return value as unknown as DownFrame;
}

export function parseUsageReply(body: string): UsageReply {
  const value = parseObject(body, 'a usage reply');
  checkFields(value, value.ok === true ? USAGE_ACCEPTED_FIELDS : USAGE_RESUME_FIELDS, 'a usage reply');
  return value as unknown as UsageReply;
}

type Check = (value: unknown) => boolean;
type Fields = Readonly<Record<string, Check>>;

const NEWLINE = 10;

const isText: Check = (value) => typeof value === 'string' && value !== '';
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isDuration: Check = (value) => typeof value === 'number' && value >= 0;
const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isNano: Check = (value) => typeof value === 'string' && /^-?\d{1,30}$/.test(value);
const isDigest: Check = (value) => typeof value === 'string' && value.length === 64;
/** The fields without which a request would be decided wrongly; what is missing must never read as "allowed". */
const isPrincipal: Check = (value) =>
  isObject(value) &&
  isDigest(value.token) &&
  typeof value.blocked === 'boolean' &&
  (value.expiresAtMs === null || typeof value.expiresAtMs === 'number') &&
  Array.isArray(value.models) &&
  Array.isArray(value.allowedRoutes) &&
  Array.isArray(value.tags) &&
  isObject(value.aliases);
const isKeyWithSpend: Check = (value) => isObject(value) && isPrincipal(value.principal) && isNano(value.spendNano);
const isPosition: Check = (value) =>
  isObject(value) && isText(value.installation) && isCount(value.epoch) && isCount(value.rev);

function listOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check);
}

function isChange(value: unknown): boolean {
  if (!isObject(value) || !isCount(value.rev)) return false;
  if (value.kind === 'setting') return isText(value.id) && value.value !== undefined;
  if (value.kind !== 'key' || !isDigest(value.id)) return false;
  // A value under another key's id would give one key the rights of another.
  return value.value === null || (isPrincipal(value.value) && (value.value as JsonObject).token === value.id);
}

const FRAME_FIELDS: Readonly<Record<DownFrame['t'], Fields>> = {
  welcome: {
    protocol: isCount,
    position: isPosition,
    mode: (value) => value === 'snapshot' || value === 'delta',
  },
  'snapshot-begin': { position: isPosition, keyCount: isCount },
  keys: { keys: listOf(isKeyWithSpend) },
  'deleted-keys': { tokens: listOf(isDigest) },
  settings: { settings: isObject },
  'snapshot-end': { position: isPosition },
  delta: { epoch: isCount, from: isCount, to: isCount, changes: listOf(isChange) },
  ping: { rev: isCount, dbAgeMs: isDuration },
  superseded: {},
  goaway: { retryAfterMs: isDuration },
};

const USAGE_ACCEPTED_FIELDS: Fields = {
  cursor: isCount,
  spend: (value) => isObject(value) && Object.values(value).every(isNano),
};

const USAGE_RESUME_FIELDS: Fields = { ok: (value) => value === false, cursor: isCount };

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
