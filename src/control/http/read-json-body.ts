import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import { invalid } from './invalid.ts';

/** A larger management body is a 413, whatever the limit of LLM requests is. */
export const MANAGEMENT_BODY_BYTES_MAX = 4 * 1024 * 1024;
/** Deeper JSON is a 422: PostgreSQL refuses it too. */
export const JSON_DEPTH_MAX = 64;

/** The JSON value of a request. Throws `body_too_large`, or `validation_failed` as LiteLLM's web framework puts it. */
export async function readJsonBody(request: Request, bytesMax: number): Promise<JsonValue> {
  const text = await readText(request, Math.min(bytesMax, MANAGEMENT_BODY_BYTES_MAX));
  if (text.trim() === '') throw invalid([{ loc: ['body'], msg: 'Field required', type: 'missing' }]);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    throw invalid([{ loc: ['body'], msg: 'JSON decode error', type: 'json_invalid' }]);
  }
  refuseUnstorable(value, ['body']);
  return value;
}

async function readText(request: Request, bytesMax: number): Promise<string> {
  const tooLarge = () => new ClavigerError('body_too_large', { limitBytes: bytesMax });
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge();
  if (request.body === null) return '';
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > bytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** PostgreSQL stores neither NUL nor half of a surrogate pair. */
const UNSTORABLE = /\0|\p{Surrogate}/u;

function refuseUnstorable(value: JsonValue, path: (string | number)[]): void {
  if (path.length > JSON_DEPTH_MAX) {
    throw invalid([
      { loc: ['body'], msg: `JSON is nested deeper than ${JSON_DEPTH_MAX} levels`, type: 'recursion_loop' },
    ]);
  }
  if (typeof value === 'string') refuseText(value, path);
  else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) refuseUnstorable(item, [...path, index]);
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      refuseText(name, path);
      refuseUnstorable(inner, [...path, name]);
    }
  }
}

function refuseText(text: string, path: (string | number)[]): void {
  if (!UNSTORABLE.test(text)) return;
  const msg = 'String should contain neither NUL nor unpaired surrogates';
  throw invalid([
    {
      loc: path.map((step) => (typeof step === 'string' ? step.replace(/\p{Surrogate}|\0/gu, '?') : step)),
      msg,
      type: 'string_unicode',
    },
  ]);
}
