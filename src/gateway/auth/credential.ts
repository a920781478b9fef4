import type { IncomingHttpHeaders } from 'node:http';
import { ClavigerError } from '../../domain/error-catalogue.ts';

/** Headers that may carry a key, after `x-litellm-api-key` and `authorization`, in order. */
const OTHER_KEY_HEADERS = ['api-key', 'x-api-key', 'x-goog-api-key', 'ocp-apim-subscription-key'] as const;

/**
 * The credential of a request: the first of LiteLLM's places that holds one. Throws `no_api_key` or `malformed_api_key`.
 * `keyHeaderName` (`general_settings.litellm_key_header_name`, lower case) replaces all other places when set.
 */
export function credentialOf(headers: IncomingHttpHeaders, keyHeaderName: string | null): string {
  if (keyHeaderName !== null) {
    const value = first(headers[keyHeaderName]);
    if (value === undefined) throw new ClavigerError('no_api_key');
    return fromScheme(value);
  }
  const own = first(headers['x-litellm-api-key']);
  if (own !== undefined) return own.startsWith('Bearer ') ? own.slice(7).trim() : own.trim();
  const authorization = headers.authorization;
  if (authorization !== undefined && authorization !== '') return fromScheme(authorization);
  for (const name of OTHER_KEY_HEADERS) {
    const value = first(headers[name]);
    if (value !== undefined && value !== '') return value.trim();
  }
  throw new ClavigerError('no_api_key');
}

const SIGV4_CREDENTIAL = /^AWS4-HMAC-SHA256 Credential=(?:Bearer )?([^/\s]+)\//;

function fromScheme(value: string): string {
  if (value.startsWith('Bearer ') || value.startsWith('bearer ')) return value.slice(7).trim();
  if (value.startsWith('Basic ')) return value.slice(6).trim();
  const signed = SIGV4_CREDENTIAL.exec(value);
  if (signed?.[1] !== undefined) return signed[1];
  throw new ClavigerError('malformed_api_key');
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
