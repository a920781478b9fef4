import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';

/** An event longer than this is not an event of a completion. The stream is then failed instead of held without end. */
export const EVENT_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Watches a server-sent stream of chat or text completion chunks while its bytes are relayed. Bytes go in as they come from the
 * provider; whole events come out as the same bytes, and only the few events that matter are decoded (the first one, one with
 * an `error`, one with a usage object). Three kinds of event are kept back: `data: [DONE]`, because the settlement comes before the
 * last byte; the usage chunk, because the client may not have asked for it; and an error with all that follows it, because the
 * provider's text may hold a credential. The caller puts what belongs there at the end.
 *
 * A quote inside a JSON string is escaped, so the bytes `"usage"` can only be a member name.
 */
export class StreamTap {
  /** The last usage object seen: several providers repeat it cumulatively, so the last one wins. */
  usage: JsonObject | null = null;
  /** The usage chunk (empty `choices`) as received, without its blank line. */
  usageEvent: JsonObject | null = null;
  providerId: string | null = null;
  answeredModel: string | null = null;
  /** Of the last decoded event that says it. */
  serviceTier: string | null = null;
  /** `error` member of an event: the provider failed after status 200. Nothing behind it is relayed. */
  error: JsonValue | undefined = undefined;
  sawDone = false;
  sawFinishReason = false;
  /** The bound on one event was passed. */
  overflowed = false;
  events = 0;
  contentBytes = 0;

  #carry: Buffer | null = null;
  #sawFirst = false;
  #envelopeBytes = 0;

  /** Takes bytes from the provider; returns what may go to the client now, or null. */
  push(chunk: Buffer): Buffer | null {
    if (this.error !== undefined) return null;
    const bytes = this.#carry === null ? chunk : Buffer.concat([this.#carry, chunk]);
    const end = lastBoundary(bytes);
    if (end === bytes.length) this.#carry = null;
    else {
      this.#carry = end === 0 ? bytes : bytes.subarray(end);
      if (this.#carry.length > EVENT_BYTES_MAX) this.overflowed = true;
    }
    return end === 0 ? null : this.#scan(end === bytes.length ? bytes : bytes.subarray(0, end));
  }

  /**
   * The provider has ended the stream. What it sent last without a blank line is an event if it is complete, because several
   * servers leave that line out; half an event is dropped. Returns what may go to the client, with its blank line, or null.
   */
  end(): Buffer | null {
    const rest = this.#carry;
    this.#carry = null;
    if (rest === null) return null;
    const data = dataOf(rest);
    if (data === null || (data !== '[DONE]' && parseObject(data) === null)) return null;
    let length = rest.length;
    while (rest[length - 1] === 0x0a || rest[length - 1] === 0x0d) length--;
    return this.#scanEvents(Buffer.concat([rest.subarray(0, length), LF_LF]));
  }

  /** Output tokens when the provider sent no usage: about one a chunk, more when chunks are long. */
  estimateCompletionTokens(bytesPerToken: number): number {
    const content = Math.max(0, this.contentBytes - this.events * this.#envelopeBytes);
    return Math.max(0, this.events - 1, Math.ceil(content / bytesPerToken));
  }

  #scan(bytes: Buffer): Buffer | null {
    if (!this.#sawFirst || bytes.includes(DONE) || bytes.includes(ERROR_NAME) || hasUsageObject(bytes)) {
      return this.#scanEvents(bytes);
    }
    this.events += countEvents(bytes);
    this.contentBytes += bytes.length;
    if (!this.sawFinishReason && bytes.includes(FINISH_REASON)) this.sawFinishReason = hasFinishReason(bytes);
    return bytes;
  }

  #scanEvents(bytes: Buffer): Buffer | null {
    const kept: Buffer[] = [];
    let start = 0;
    while (start < bytes.length && this.error === undefined) {
      const end = nextBoundary(bytes, start);
      const event = bytes.subarray(start, end);
      if (this.#take(event)) kept.push(event);
      start = end;
    }
    if (kept.length === 0) return null;
    return kept.length === 1 ? kept[0]! : Buffer.concat(kept);
  }

  /** Looks at one whole event; false = it is kept back. */
  #take(event: Buffer): boolean {
    const data = dataOf(event);
    if (data === null) return true;
    if (data === '[DONE]') {
      this.sawDone = true;
      return false;
    }
    this.events++;
    this.contentBytes += event.length;
    if (!this.sawFinishReason && event.includes(FINISH_REASON)) this.sawFinishReason = hasFinishReason(event);
    const first = !this.#sawFirst;
    if (!first && !event.includes(ERROR_NAME) && !hasUsageObject(event)) return true;
    this.#sawFirst = true;
    const value = parseObject(data);
    if (value === null) return true;
    if (first) {
      this.#envelopeBytes = Math.max(0, event.length - firstDeltaBytes(value));
      if (typeof value['id'] === 'string') this.providerId = value['id'];
      if (typeof value['model'] === 'string') this.answeredModel = value['model'];
    }
    if (value['error'] !== undefined && value['error'] !== null) {
      this.error = value['error'];
      return false;
    }
    if (typeof value['service_tier'] === 'string') this.serviceTier = value['service_tier'];
    const usage = usageOf(value);
    if (usage === null) return true;
    this.usage = usage;
    if (!Array.isArray(value['choices']) || value['choices'].length > 0) return true;
    this.usageEvent = value;
    return false;
  }
}

const DONE = Buffer.from('[DONE]');
const ERROR_NAME = Buffer.from('"error"');
const USAGE_NAME = Buffer.from('"usage"');
const FINISH_REASON = Buffer.from('"finish_reason"');
const LF_LF = Buffer.from('\n\n');
const CRLF_CRLF = Buffer.from('\r\n\r\n');
const CR_CR = Buffer.from('\r\r');

/** A member `"usage"` whose value is an object; OpenAI sends `"usage":null` on every other chunk. */
function hasUsageObject(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(USAGE_NAME); at >= 0; at = bytes.indexOf(USAGE_NAME, at + 1)) {
    if (firstAfterColon(bytes, at + USAGE_NAME.length) === 0x7b) return true;
  }
  return false;
}

function hasFinishReason(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(FINISH_REASON); at >= 0; at = bytes.indexOf(FINISH_REASON, at + 1)) {
    if (firstAfterColon(bytes, at + FINISH_REASON.length) === 0x22) return true;
  }
  return false;
}

function firstAfterColon(bytes: Buffer, start: number): number | undefined {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x3a) at++;
  return bytes[at];
}

function countEvents(bytes: Buffer): number {
  let count = 0;
  for (let at = nextBoundary(bytes, 0); ; at = nextBoundary(bytes, at)) {
    count++;
    if (at >= bytes.length) return count;
  }
}

/** Position after the last blank line, or 0. */
function lastBoundary(bytes: Buffer): number {
  const lf = bytes.lastIndexOf(LF_LF);
  if (lf >= 0 && lf + 2 === bytes.length) return bytes.length;
  const crlf = bytes.lastIndexOf(CRLF_CRLF);
  const cr = bytes.lastIndexOf(CR_CR);
  return Math.max(lf >= 0 ? lf + 2 : 0, crlf >= 0 ? crlf + 4 : 0, cr >= 0 ? cr + 2 : 0);
}

/** Position after the first blank line at or after `start`, or the end. */
function nextBoundary(bytes: Buffer, start: number): number {
  const lf = bytes.indexOf(LF_LF, start);
  const crlf = bytes.indexOf(CRLF_CRLF, start);
  const cr = bytes.indexOf(CR_CR, start);
  let end = bytes.length;
  if (lf >= 0) end = Math.min(end, lf + 2);
  if (crlf >= 0) end = Math.min(end, crlf + 4);
  if (cr >= 0) end = Math.min(end, cr + 2);
  return end;
}

/** The `data` of an event, its lines joined; null for comments and events without data. */
function dataOf(event: Buffer): string | null {
  const text = event.toString('utf8');
  let data: string | null = null;
  for (const line of text.split(/\r\n|\n|\r/)) {
    if (!line.startsWith('data:')) continue;
    const value = line.charCodeAt(5) === 0x20 ? line.slice(6) : line.slice(5);
    data = data === null ? value : `${data}\n${value}`;
  }
  return data === null ? null : data.trim();
}

function parseObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
  } catch {
    return null;
  }
}

/** The usage object of a chunk, also where Groq puts it. */
function usageOf(value: JsonObject): JsonObject | null {
  if (isObject(value['usage'])) return value['usage'];
  const groq = value['x_groq'];
  return isObject(groq) && isObject(groq['usage']) ? groq['usage'] : null;
}

function firstDeltaBytes(value: JsonObject): number {
  const choices = value['choices'];
  const choice = Array.isArray(choices) ? choices[0] : undefined;
  if (!isObject(choice)) return 0;
  const delta = isObject(choice['delta']) ? choice['delta']['content'] : choice['text'];
  return typeof delta === 'string' ? Buffer.byteLength(delta) : 0;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
