/**
 * Finds the top-level members of a JSON object without building it, so that a body can be checked and edited as bytes.
 *
 * It accepts exactly what `JSON.parse` accepts (an object), nothing more: a body that two parsers could read differently must
 * not pass here, because what was authorised has to be what is sent. `scan-json-object.test.ts` fuzzes it against `JSON.parse`.
 *
 * Works on the UTF-8 bytes: every structural character of JSON is ASCII, so nothing has to be decoded.
 */
export interface JsonMembers {
  /** Names in order of appearance; names that need unescaping make the object not `plain`. */
  readonly names: readonly string[];
  /** Three positions per member: start of the name's quote, start of the value, end of the value (exclusive). */
  readonly spans: readonly number[];
  /** Position of `{`. */
  readonly open: number;
  /** Position of the matching `}`. */
  readonly close: number;
  /** No name is escaped and none appears twice: editing by position can not be fooled. */
  readonly plain: boolean;
}

/** Nesting beyond this is left to `JSON.parse`, which does not recurse. */
const DEPTH_MAX = 200;

/** Null: not a JSON object, or nested deeper than `DEPTH_MAX`; let `JSON.parse` decide. */
export function scanJsonObject(bytes: Buffer): JsonMembers | null {
  const length = bytes.length;
  let at = skipSpace(bytes, 0);
  if (at >= length || bytes[at] !== OPEN_BRACE) return null;
  const open = at;
  const names: string[] = [];
  const spans: number[] = [];
  let plain = true;
  at = skipSpace(bytes, at + 1);
  if (bytes[at] === CLOSE_BRACE) {
    return skipSpace(bytes, at + 1) === length ? { names, spans, open, close: at, plain } : null;
  }
  for (;;) {
    if (bytes[at] !== QUOTE) return null;
    const nameEnd = skipString(bytes, at);
    if (nameEnd < 0) return null;
    const name = nameIn(bytes, at + 1, nameEnd - 1);
    if (plain && (name.includes('\\') || names.includes(name))) plain = false;
    const nameStart = at;
    at = skipSpace(bytes, nameEnd);
    if (bytes[at] !== COLON) return null;
    const valueStart = skipSpace(bytes, at + 1);
    const valueEnd = skipValue(bytes, valueStart, 1);
    if (valueEnd < 0) return null;
    names.push(name);
    spans.push(nameStart, valueStart, valueEnd);
    at = skipSpace(bytes, valueEnd);
    const code = bytes[at];
    if (code === COMMA) {
      at = skipSpace(bytes, at + 1);
      continue;
    }
    if (code !== CLOSE_BRACE) return null;
    return skipSpace(bytes, at + 1) === length ? { names, spans, open, close: at, plain } : null;
  }
}

/** Names of members that were seen, by their length and three of their bytes, so that the usual ones need not be decoded again. */
const SEEN_NAMES = new Map<number, SeenName>();
/** At the bound nothing more is remembered, and other names are decoded each time. */
const SEEN_NAMES_MAX = 256;

interface SeenName {
  readonly bytes: Buffer;
  readonly name: string;
}

function nameIn(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length === 0) return '';
  const place = (length << 24) ^ (bytes[start]! << 16) ^ (bytes[start + (length >> 1)]! << 8) ^ bytes[end - 1]!;
  const seen = SEEN_NAMES.get(place);
  if (seen !== undefined && seen.bytes.length === length) {
    let same = 0;
    while (same < length && bytes[start + same] === seen.bytes[same]) same++;
    if (same === length) return seen.name;
  }
  const name = bytes.toString('utf8', start, end);
  if (seen === undefined && SEEN_NAMES.size < SEEN_NAMES_MAX && length < 64) {
    SEEN_NAMES.set(place, { bytes: Buffer.from(bytes.subarray(start, end)), name });
  }
  return name;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COLON = 0x3a;
const COMMA = 0x2c;
const MINUS = 0x2d;

const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const NULL = Buffer.from('null');

function isWord(bytes: Buffer, at: number, word: Buffer): number {
  for (let index = 1; index < word.length; index++) if (bytes[at + index] !== word[index]) return -1;
  return at + word.length;
}

function skipSpace(bytes: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const code = bytes[at];
    if (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) at++;
    else return at;
  }
}

/** End (exclusive) of the value that starts at `at`, or -1. A byte past the end is undefined and matches nothing. */
function skipValue(bytes: Buffer, at: number, depth: number): number {
  const code = bytes[at];
  if (code === QUOTE) return skipString(bytes, at);
  if (code === OPEN_BRACE) return depth > DEPTH_MAX ? -1 : skipObject(bytes, at, depth);
  if (code === OPEN_BRACKET) return depth > DEPTH_MAX ? -1 : skipArray(bytes, at, depth);
  if (code === MINUS || (code! >= 0x30 && code! <= 0x39)) return skipNumber(bytes, at);
  if (code === 0x74) return isWord(bytes, at, TRUE);
  if (code === 0x66) return isWord(bytes, at, FALSE);
  if (code === 0x6e) return isWord(bytes, at, NULL);
  return -1;
}

function skipObject(bytes: Buffer, start: number, depth: number): number {
  let at = skipSpace(bytes, start + 1);
  if (bytes[at] === CLOSE_BRACE) return at + 1;
  for (;;) {
    if (bytes[at] !== QUOTE) return -1;
    at = skipString(bytes, at);
    if (at < 0) return -1;
    at = skipSpace(bytes, at);
    if (bytes[at] !== COLON) return -1;
    at = skipValue(bytes, skipSpace(bytes, at + 1), depth + 1);
    if (at < 0) return -1;
    at = skipSpace(bytes, at);
    const code = bytes[at];
    if (code === CLOSE_BRACE) return at + 1;
    if (code !== COMMA) return -1;
    at = skipSpace(bytes, at + 1);
  }
}

function skipArray(bytes: Buffer, start: number, depth: number): number {
  let at = skipSpace(bytes, start + 1);
  if (bytes[at] === CLOSE_BRACKET) return at + 1;
  for (;;) {
    at = skipValue(bytes, at, depth + 1);
    if (at < 0) return -1;
    at = skipSpace(bytes, at);
    const code = bytes[at];
    if (code === CLOSE_BRACKET) return at + 1;
    if (code !== COMMA) return -1;
    at = skipSpace(bytes, at + 1);
  }
}

/** End (exclusive) of the string whose quote is at `start`, or -1. The tightest loop here: most of a body is text. */
function skipString(bytes: Buffer, start: number): number {
  const length = bytes.length;
  let at = start + 1;
  while (at < length) {
    const code = bytes[at]!;
    if (code >= 0x20 && code !== QUOTE && code !== BACKSLASH) {
      at++;
    } else if (code === QUOTE) {
      return at + 1;
    } else if (code === BACKSLASH) {
      at = skipEscape(bytes, at);
      if (at < 0) return -1;
    } else {
      return -1;
    }
  }
  return -1;
}

/** Position after the escape that starts at `at`, or -1. */
function skipEscape(bytes: Buffer, at: number): number {
  switch (bytes[at + 1]) {
    case 0x22: // "
    case 0x5c: // \
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return at + 2;
    case 0x75: // u
      for (let digit = at + 2; digit < at + 6; digit++) {
        const code = bytes[digit]! | 0x20;
        if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) return -1;
        if ((bytes[digit]! & 0xf0) === 0x10) return -1;
      }
      return at + 6;
    default:
      return -1;
  }
}

function skipNumber(bytes: Buffer, start: number): number {
  let at = start;
  if (bytes[at] === MINUS) at++;
  const first = bytes[at];
  if (first === 0x30) at++;
  else if (first! >= 0x31 && first! <= 0x39) at = skipDigits(bytes, at);
  else return -1;
  if (bytes[at] === 0x2e) {
    const end = skipDigits(bytes, at + 1);
    if (end === at + 1) return -1;
    at = end;
  }
  if ((bytes[at]! | 0x20) === 0x65) {
    at++;
    const sign = bytes[at];
    if (sign === 0x2b || sign === MINUS) at++;
    const end = skipDigits(bytes, at);
    if (end === at) return -1;
    at = end;
  }
  return at;
}

function skipDigits(bytes: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const code = bytes[at]!;
    if (code >= 0x30 && code <= 0x39) at++;
    else return at;
  }
}
