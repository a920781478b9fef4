import { type ClavigerError, errorBody } from '../../domain/error-catalogue.ts';
import type { ClientResponse } from './client-response.ts';

/** After these the rest of the request is not read, so the connection can not be used again. */
export function endsConnection({ code }: ClavigerError): boolean {
  return code === 'body_too_large' || code === 'request_timeout' || code === 'malformed_http';
}

/**
 * Answers with LiteLLM's envelope. `headers` is a flat list that goes first (call id, version, ...). Does nothing when the
 * client is gone. A request whose body was not read to its end keeps its connection only if the rest is small: Node drains it.
 */
export function writeError(
  response: ClientResponse,
  error: ClavigerError,
  headers: readonly string[],
  options: { readonly includeCallId: string | null; readonly close?: boolean },
): void {
  if (response.headersSent || response.destroyed) return;
  const body = Buffer.from(JSON.stringify(errorBody(error, options.includeCallId ?? undefined)));
  const all = [...headers, 'content-type', 'application/json', 'content-length', String(body.length)];
  if (error.retryAfterSeconds !== null) all.push('retry-after', String(error.retryAfterSeconds));
  if (options.close) all.push('connection', 'close');
  response.writeHead(error.status, all);
  response.end(body);
}
