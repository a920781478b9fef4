import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  ClavigerError,
  ERROR_CATALOGUE,
  type ErrorEntry,
  errorBody,
  listText,
  toClavigerError,
} from './error-catalogue.ts';
import { errorTable } from './error-table.ts';

const entries = Object.entries<ErrorEntry>(ERROR_CATALOGUE);

describe('the catalogue', () => {
  it('blames the client with 4xx and ourselves with 5xx', () => {
    for (const [code, entry] of entries) {
      if (entry.fault === 'client') expect(entry.status, code).toBeLessThan(500);
      if (entry.fault === 'gateway') expect(entry.status, code).toBeGreaterThanOrEqual(500);
      expect(code).toMatch(/^[a-z][a-z0-9_]*$/);
    }
  });

  it('answers what we do not know with 503 and a time to retry, never with 401', () => {
    for (const code of [
      'key_not_known_here',
      'no_usable_snapshot',
      'stale_knowledge',
      'database_away',
      'relay_busy',
    ] as const) {
      expect(ERROR_CATALOGUE[code].status).toBe(503);
      expect((ERROR_CATALOGUE[code] as ErrorEntry).retryAfterSeconds).toBeGreaterThan(0);
    }
  });

  it('is the table of docs/reference/errors.md', () => {
    const page = readFileSync(new URL('../../docs/reference/errors.md', import.meta.url), 'utf8');
    expect(page).toContain(errorTable());
  });
});

describe('ClavigerError', () => {
  it('carries the texts that clients of LiteLLM match on', () => {
    expect(new ClavigerError('no_api_key').message).toBe('Authentication Error, No api key passed in.');
    const denied = new ClavigerError('model_access_denied', {
      object: 'key',
      models: listText(['gpt-4', 'o3']),
      model: 'gpt-5',
    });
    expect(denied.message).toBe(
      "key not allowed to access model. This key can only access models=['gpt-4', 'o3']. Tried to access gpt-5",
    );
    expect(denied.status).toBe(403);
  });

  it('does not expand placeholders in what a client sent', () => {
    const error = new ClavigerError('unknown_model', { route: '/chat/completions', model: '{route} $& {model}' });
    expect(error.message).toContain('passed in model={route} $& {model}. Call');
  });

  it('keeps its cause inside and its stack only when the fault is ours', () => {
    const cause = new Error('connect ECONNREFUSED 10.0.0.7:5432');
    const error = new ClavigerError('database_away', {}, { cause });
    expect(error.cause).toBe(cause);
    expect(JSON.stringify(errorBody(error))).not.toContain('10.0.0.7');
    expect(error.stack).toContain('error-catalogue.test');
    expect(new ClavigerError('no_api_key').stack).not.toContain('error-catalogue.test');
    expect(new Error('still has a stack').stack).toContain('error-catalogue.test');
  });

  it('turns anything unexpected into an internal error that says nothing', () => {
    const error = toClavigerError(new TypeError('x is not a function'));
    expect(errorBody(error)).toEqual({
      error: { message: 'Internal server error', type: 'internal_server_error', param: null, code: '500' },
    });
    const expected = new ClavigerError('key_not_found');
    expect(toClavigerError(expected)).toBe(expected);
  });
});

describe('errorBody', () => {
  it('has the status as text, and the call id only when asked for', () => {
    const error = new ClavigerError('blocked_key');
    expect(errorBody(error).error).toMatchObject({ type: 'auth_error', param: 'None', code: '401' });
    expect(errorBody(error)).not.toHaveProperty('detail');
    expect(errorBody(error, 'call-1').error.litellm_call_id).toBe('call-1');
  });

  it('carries both `detail` and the envelope for a switched-off route', () => {
    expect(errorBody(new ClavigerError('management_routes_disabled'))).toEqual({
      detail: 'Management routes are disabled for this instance.',
      error: {
        message: 'Management routes are disabled for this instance.',
        type: 'auth_error',
        param: 'None',
        code: '403',
      },
    });
    expect(errorBody(new ClavigerError('llm_routes_disabled')).detail).toBe(
      'LLM API routes are disabled for this instance.',
    );
  });

  it('carries the list of a failed validation as detail', () => {
    const detail = [{ loc: ['body', 'keys'], msg: 'Field required', type: 'missing' }];
    const error = new ClavigerError('validation_failed', { reason: 'keys: Field required' }, { detail });
    expect(errorBody(error)).toMatchObject({ detail, error: { code: '422' } });
  });

  it('takes an override of param and retry-after', () => {
    const error = new ClavigerError(
      'missing_field',
      { field: 'messages' },
      { param: 'messages', retryAfterSeconds: 3 },
    );
    expect(errorBody(error).error.param).toBe('messages');
    expect(error.retryAfterSeconds).toBe(3);
  });
});
