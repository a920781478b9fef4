import type { IncomingHttpHeaders } from 'node:http';

const SANE_ID = /^[\x21-\x7e]{1,200}$/;

/** The client's own id of the call, when it sent a sane one: it is then on the answer, in the log, the usage row and upstream. */
export function clientCallId(headers: IncomingHttpHeaders): string | null {
  const id = headers['x-litellm-call-id'] ?? headers['x-request-id'];
  return typeof id === 'string' && SANE_ID.test(id) ? id : null;
}
