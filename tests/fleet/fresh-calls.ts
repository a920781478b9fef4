import { type IncomingHttpHeaders, request as requestHttp } from 'node:http';
import { expect } from 'vitest';
import type { ApiAnswer, Claviger } from '../support/processes.ts';

/** A change is in force in every gateway process this soon after its answer. */
export const IN_FORCE_WITHIN_MS = 250;
/** New connections go to the gateway processes in turn, so that each gets several of these. */
const CONNECTIONS = 8;

export interface FreshCall {
  readonly method?: string;
  readonly path?: string;
  readonly model?: string;
  readonly body?: object;
}

export interface FreshAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  json(): ReturnType<typeof JSON.parse>;
}

/** One request on a connection of its own: a chat completion unless something else is said. */
export function freshCall(claviger: Claviger, key: string, call: FreshCall = {}): Promise<FreshAnswer> {
  const { method = 'POST', path = '/v1/chat/completions', model = 'alpha' } = call;
  const messages = [{ role: 'user', content: 'Hello' }];
  const body = method === 'GET' ? '' : JSON.stringify(call.body ?? { model, messages });
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    };
    const request = requestHttp(new URL(path, claviger.url), { method, agent: false, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      answer.once('error', reject);
      answer.once('end', () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, json: () => JSON.parse(text) }),
      );
    });
    request.once('error', reject);
    request.end(body);
  });
}

/**
 * What a write changed is in force: from many connections, begun as soon as its answer is there, the status is the expected
 * one, and the revision of the answer at least that of the write. A call that began before the promised time may still see
 * what was before.
 */
export async function expectInForce(
  claviger: Claviger,
  write: ApiAnswer,
  key: string,
  expected: number,
  call: FreshCall = {},
): Promise<FreshAnswer> {
  expect([write.status, write.text]).toEqual([200, expect.any(String)]);
  const answeredAt = performance.now();
  const rev = revisionOf(write);
  const attempt = async (): Promise<FreshAnswer> => {
    for (;;) {
      const sentAfterMs = performance.now() - answeredAt;
      const answer = await freshCall(claviger, key, call);
      const isInForce = answer.status === expected && Number(answer.headers['x-claviger-rev']) >= rev;
      if (isInForce) return answer;
      if (sentAfterMs <= IN_FORCE_WITHIN_MS) continue;
      throw new Error(
        `${Math.round(sentAfterMs)} ms after the write of revision ${rev}: ${answer.status} at revision ${answer.headers['x-claviger-rev']}, expected ${expected}: ${answer.text}`,
      );
    }
  };
  const answers = await Promise.all(Array.from({ length: CONNECTIONS }, attempt));
  return answers[0]!;
}

/** `x-claviger-rev` of a management answer. */
export function revisionOf(answer: Pick<ApiAnswer, 'headers'>): number {
  const rev = answer.headers.get('x-claviger-rev');
  expect(rev).toMatch(/^[1-9]\d*$/);
  return Number(rev);
}
