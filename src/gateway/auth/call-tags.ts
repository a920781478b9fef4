import type { IncomingHttpHeaders } from 'node:http';
import { objectOf } from '../../domain/json-fields.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';

/** Tags of one call. More are dropped, those of the key last: a row is not a place for a list of any length. */
export const TAGS_MAX = 50;
export const TAG_CHARS_MAX = 256;

/** The tags of a call: those of its key, then of the body (`tags`, `metadata.tags`), then of the header `x-litellm-tags`; each once. */
export function tagsOfCall(
  ofKey: readonly string[],
  headers: IncomingHttpHeaders,
  body: Readonly<Record<string, JsonValue | undefined>>,
): readonly string[] {
  const header = headers['x-litellm-tags'];
  const inBody = body['tags'];
  const inMetadata = objectOf(body['metadata'])?.tags;
  if (inBody === undefined && inMetadata === undefined && header === undefined) return ofKey;
  const tags = new Set(ofKey);
  for (const list of [inBody, inMetadata]) {
    if (Array.isArray(list))
      for (const tag of list) if (typeof tag === 'string' && tag !== '') tags.add(tag.slice(0, TAG_CHARS_MAX));
  }
  if (typeof header === 'string') {
    for (const tag of header.split(',')) if (tag.trim() !== '') tags.add(tag.trim().slice(0, TAG_CHARS_MAX));
  }
  return [...tags].slice(0, TAGS_MAX);
}
