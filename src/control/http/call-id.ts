const SANE = /^[\x21-\x7e]{1,200}$/;

/** The client's own id of its call, when it sent a sane one. It is then on the answer, in the log line and in the audit entry. */
export function clientCallId(headers: Headers): string | null {
  const id = headers.get('x-litellm-call-id') ?? headers.get('x-request-id');
  return id !== null && SANE.test(id) ? id : null;
}
