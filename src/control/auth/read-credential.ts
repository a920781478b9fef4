import { ClavigerError } from '../../domain/error-catalogue.ts';

/** Places of a key after `x-litellm-api-key` and `authorization`, in order. */
const OTHER_PLACES = ['api-key', 'x-api-key', 'x-goog-api-key', 'ocp-apim-subscription-key'] as const;

/**
 * The credential of a request, from the first of LiteLLM's places that holds one. `keyHeaderName` (lower case) replaces them all.
 * Throws `no_api_key` or `malformed_api_key`.
 */
export function readCredential(headers: Headers, keyHeaderName: string | null): string {
  if (keyHeaderName !== null) return fromScheme(present(headers, keyHeaderName));
  const own = headers.get('x-litellm-api-key');
  if (own) return withoutBearer(own).trim();
  const authorization = headers.get('authorization');
  if (authorization) return fromScheme(authorization);
  for (const name of OTHER_PLACES) {
    const value = headers.get(name);
    if (value) return value.trim();
  }
  throw new ClavigerError('no_api_key');
}

function present(headers: Headers, name: string): string {
  const value = headers.get(name);
  if (!value) throw new ClavigerError('no_api_key');
  return value;
}

const AWS_CREDENTIAL = /^AWS4-HMAC-SHA256 Credential=(?:Bearer )?([^/\s]+)\//;

function fromScheme(value: string): string {
  if (/^bearer /i.test(value)) return withoutBearer(value).trim();
  if (value.startsWith('Basic ')) return value.slice('Basic '.length).trim();
  const signed = AWS_CREDENTIAL.exec(value)?.[1];
  if (signed !== undefined) return signed;
  throw new ClavigerError('malformed_api_key');
}

function withoutBearer(value: string): string {
  return value.replace(/^bearer /i, '');
}
