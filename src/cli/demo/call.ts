import { request } from 'node:http';

export interface Answer {
  /** 0: nobody answered. */
  readonly status: number;
  readonly json: Readonly<Record<string, unknown>> | null;
  readonly tookMs: number;
}

const CALL_TIMEOUT_MS = 10_000;

/** One request on a connection of its own, so that every gateway process of an instance gets its turn. Never throws. */
export function call(method: 'GET' | 'POST', url: string, key: string | null, body?: object): Promise<Answer> {
  const startedMs = performance.now();
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = {
    ...(key === null ? {} : { authorization: `Bearer ${key}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
  };
  return new Promise((resolve) => {
    const done = (status: number, json: Answer['json']): void =>
      resolve({ status, json, tookMs: performance.now() - startedMs });
    const outgoing = request(url, { method, headers, agent: false, timeout: CALL_TIMEOUT_MS }, (answer) => {
      let received = '';
      answer.setEncoding('utf8').on('data', (piece: string) => {
        received += piece;
      });
      answer.once('error', () => done(0, null));
      answer.once('end', () => done(answer.statusCode ?? 0, objectIn(received)));
    });
    outgoing.once('timeout', () => outgoing.destroy(new Error('no answer in time')));
    outgoing.once('error', () => done(0, null));
    outgoing.end(text);
  });
}

function objectIn(text: string): Answer['json'] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : null;
  } catch {
    return null;
  }
}

/** The sentence of an error answer. */
export function errorText({ status, json }: Answer): string {
  const error = json?.['error'];
  const message = typeof error === 'object' && error !== null ? (error as Record<string, unknown>)['message'] : null;
  return status === 0 ? 'no answer' : `${status}${typeof message === 'string' ? ` ${message}` : ''}`;
}
