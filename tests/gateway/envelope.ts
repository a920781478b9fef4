import { expect } from 'vitest';
import { ERROR_CATALOGUE, type ErrorCode } from '../../src/domain/error-catalogue.ts';
import type { Answer } from '../support/gateway-harness.ts';
import type { RawAnswer } from '../support/http-raw.ts';

export interface Expected {
  readonly status?: number;
  readonly type?: string;
  readonly param?: string | null;
  readonly message?: string | RegExp;
}

/** The answer is LiteLLM's envelope of this error, with what every answer carries. */
export function expectError(answer: Answer | RawAnswer, code: ErrorCode, expected: Expected = {}): void {
  const entry = ERROR_CATALOGUE[code];
  const status = expected.status ?? entry.status;
  const text = typeof answer.text === 'string' ? answer.text : answer.text();
  expect({ status: answer.status, text }).toEqual({ status, text });
  expect(headerOf(answer, 'content-type')).toBe('application/json');
  expect(headerOf(answer, 'x-litellm-call-id')).toMatch(/^[\x21-\x7e]+$/);
  expect(headerOf(answer, 'x-claviger-version')).toBe('0.0.0');
  const body = JSON.parse(text) as { error: Record<string, unknown> };
  expect(Object.keys(body)).toEqual('detail' in entry ? ['detail', 'error'] : ['error']);
  expect(body.error).toEqual({
    message: expect.any(String),
    type: expected.type ?? entry.type,
    param: expected.param === undefined ? entry.param : expected.param,
    code: String(status),
  });
  if (expected.message !== undefined) expect(body.error['message']).toMatch(expected.message);
  if ('retryAfterSeconds' in entry) expect(headerOf(answer, 'retry-after')).toBe(String(entry.retryAfterSeconds));
}

export function headerOf(answer: Answer | RawAnswer, name: string): string | null {
  if ('header' in answer) return answer.header(name);
  const value = answer.headers[name];
  return typeof value === 'string' ? value : null;
}
