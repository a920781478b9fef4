import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';
import { type JsonMembers, scanJsonObject } from './scan-json-object.ts';

/** Members of a request body that Claviger acts on. Everything else is passed through unread. */
const READ_NAMES = new Set([
  'model',
  'stream',
  'stream_options',
  'user',
  'max_tokens',
  'max_completion_tokens',
  'metadata',
  'litellm_metadata',
  'safety_identifier',
  'tags',
  'litellm_session_id',
  'litellm_trace_id',
]);

/**
 * A JSON request body: the client's bytes, and what had to be read of them. Two forms:
 * - plain: `members` gives positions and the bytes are edited in place, never re-made;
 * - not plain (duplicate or escaped names, very deep nesting): `object` is the full parse, and what is sent is its serialisation,
 *   so that what was authorised is what is sent.
 */
export interface LlmBody {
  readonly bytes: Buffer;
  readonly members: JsonMembers | null;
  readonly object: JsonObject | null;
  /** Values of the members in `READ_NAMES`, parsed. */
  readonly read: Readonly<Record<string, JsonValue | undefined>>;
}

export type BodyProblem =
  | { readonly problem: 'malformed'; readonly detail: string }
  | { readonly problem: 'not-an-object' };

/** `JSON.parse` takes any depth, but `JSON.stringify` needs stack for each level: what is deeper is refused as malformed. */
const NESTING_MAX = 1_000;

/** Parses once. Malformed JSON, or JSON that is not an object, is returned as a problem. */
export function parseLlmBody(bytes: Buffer): LlmBody | BodyProblem {
  const members = scanJsonObject(bytes);
  if (members?.plain) {
    const read: Record<string, JsonValue> = {};
    const { names, spans } = members;
    for (let index = 0; index < names.length; index++) {
      const name = names[index]!;
      if (READ_NAMES.has(name)) read[name] = parseSlice(bytes, spans[index * 3 + 1]!, spans[index * 3 + 2]!);
    }
    return { bytes, members, object: null, read };
  }
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    return { problem: 'malformed', detail: (error as Error).message };
  }
  if (nestsDeeper(bytes, NESTING_MAX)) {
    return { problem: 'malformed', detail: `it is nested more than ${NESTING_MAX} levels deep.` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { problem: 'not-an-object' };
  // `__proto__` and friends: only own members count, and they stay own members.
  const object = value as JsonObject;
  const read: Record<string, JsonValue> = {};
  for (const name of READ_NAMES) if (Object.hasOwn(object, name)) read[name] = object[name]!;
  return { bytes, members: null, object, read };
}

/** What kind of value a member holds, without building it. */
export type ValueKind = 'absent' | 'string' | 'number' | 'boolean' | 'null' | 'array' | 'object';

export function memberKind(body: LlmBody, name: string): ValueKind {
  if (body.members !== null) {
    const index = body.members.names.indexOf(name);
    if (index < 0) return 'absent';
    return kindByFirstByte(body.bytes[body.members.spans[index * 3 + 1]!]!);
  }
  const object = body.object!;
  if (!Object.hasOwn(object, name)) return 'absent';
  const value = object[name];
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value as ValueKind;
}

export interface BodyEdits {
  /** Members to set: replaced where they stand, else appended. */
  readonly set: Readonly<Record<string, JsonValue>>;
  /** Members to set only when the client did not send them. */
  readonly defaults: JsonObject;
  readonly remove: ReadonlySet<string>;
}

/** The body to send. Returns the client's own bytes when there is nothing to change. */
export function editLlmBody(body: LlmBody, edits: BodyEdits): Buffer {
  return body.members === null ? editParsed(body.object!, edits) : editBytes(body.bytes, body.members, edits);
}

function editParsed(object: JsonObject, edits: BodyEdits): Buffer {
  const out: JsonObject = Object.create(null);
  for (const name of Object.keys(edits.defaults)) if (!Object.hasOwn(object, name)) out[name] = edits.defaults[name]!;
  for (const name of Object.keys(object)) if (!edits.remove.has(name)) out[name] = object[name]!;
  for (const name of Object.keys(edits.set)) out[name] = edits.set[name]!;
  return Buffer.from(JSON.stringify(out));
}

function editBytes(bytes: Buffer, members: JsonMembers, edits: BodyEdits): Buffer {
  const { names, spans } = members;
  const parts: Buffer[] = [];
  let changed = false;
  // Members that stay as they are form runs that are copied with whatever white space lies between them.
  let runStart = -1;
  let runEnd = -1;
  const flush = () => {
    if (runStart >= 0) parts.push(parts.length === 0 ? OPEN : COMMA, bytes.subarray(runStart, runEnd));
    runStart = -1;
  };
  for (let index = 0; index < names.length; index++) {
    const name = names[index]!;
    const isSet = Object.hasOwn(edits.set, name);
    if (isSet || edits.remove.has(name)) {
      flush();
      changed = true;
      if (isSet) parts.push(parts.length === 0 ? OPEN : COMMA, memberBytes(name, edits.set[name]!));
    } else {
      if (runStart < 0) runStart = spans[index * 3]!;
      runEnd = spans[index * 3 + 2]!;
    }
  }
  flush();
  for (const name of Object.keys(edits.set)) {
    if (names.includes(name)) continue;
    parts.push(parts.length === 0 ? OPEN : COMMA, memberBytes(name, edits.set[name]!));
    changed = true;
  }
  for (const name of Object.keys(edits.defaults)) {
    if (names.includes(name) || Object.hasOwn(edits.set, name)) continue;
    parts.push(parts.length === 0 ? OPEN : COMMA, memberBytes(name, edits.defaults[name]!));
    changed = true;
  }
  if (!changed) return bytes;
  if (parts.length === 0) parts.push(OPEN);
  parts.push(CLOSE);
  return Buffer.concat(parts);
}

const OPEN = Buffer.from('{');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from('}');

function memberBytes(name: string, value: JsonValue): Buffer {
  return Buffer.from(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
}

/** Of valid JSON: whether arrays and objects lie more than `levels` deep inside each other. */
function nestsDeeper(bytes: Buffer, levels: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > levels) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return false;
}

function parseSlice(bytes: Buffer, start: number, end: number): JsonValue {
  return JSON.parse(bytes.toString('utf8', start, end)) as JsonValue;
}

function kindByFirstByte(byte: number): ValueKind {
  switch (byte) {
    case 0x22:
      return 'string';
    case 0x7b:
      return 'object';
    case 0x5b:
      return 'array';
    case 0x74:
    case 0x66:
      return 'boolean';
    case 0x6e:
      return 'null';
    default:
      return 'number';
  }
}
