import { describe, expect, it } from 'vitest';
import { createRedactor, redactError, redactShapes } from './redact.ts';

describe('redactShapes', () => {
  it.each([
    ['key sk-1234567890abcdef.', 'key sk-[hidden].'],
    ['sk-proj-a_b-c123', 'sk-[hidden]'],
    ['Authorization: Bearer eyJhbGciOi.J9.x-y_z', 'Authorization: Bearer [hidden]'],
    ['authorization: basic dXNlcjpwYXNz', 'authorization: basic [hidden]'],
    ['postgresql://u:p@ss/w:rd@host:5432/db?sslmode=require', 'postgresql://u:[hidden]@host:5432/db?sslmode=require'],
    ['redis://:secret@10.0.0.1', 'redis://:[hidden]@10.0.0.1'],
    ['proxy http://user:pw@proxy:3128 used', 'proxy http://user:[hidden]@proxy:3128 used'],
    ['host=db password=hunter2 user=x', 'host=db password=[hidden] user=x'],
    ['/v1beta/models?key=AIzaSyA1234567890', '/v1beta/models?key=[hidden]'],
    ['gsk_abcdefghijklmnop', 'gsk_[hidden]'],
    ['-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----!', '[hidden]!'],
  ])('hides the secret in %j', (text, expected) => {
    expect(redactShapes(text)).toBe(expected);
  });

  it.each([
    'key_name=sk-...abcd',
    'task-management-system and risk-assessment',
    'http://127.0.0.1:4000/v1/models?x=a@b.c',
    'postgresql://host/db',
    'the bearer of news',
    '{"token":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}',
  ])('leaves %j alone', (text) => {
    expect(redactShapes(text)).toBe(text);
  });

  it('takes time in proportion to the text', () => {
    const text = 'postgres://a:'.repeat(2000) + 'sk-'.repeat(2000) + 'a://b:'.repeat(2000);
    const start = performance.now();
    redactShapes(text);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe('createRedactor', () => {
  it('hides registered values as they are, in JSON and in URLs', () => {
    const redactor = createRedactor();
    redactor.hide('a"b c/d+e');
    expect(redactor.redact('x a"b c/d+e y')).toBe('x [hidden] y');
    expect(redactor.redact(JSON.stringify({ v: 'a"b c/d+e' }))).toBe('{"v":"[hidden]"}');
    expect(redactor.redact(`?v=${encodeURIComponent('a"b c/d+e')}`)).toBe('?v=[hidden]');
  });

  it('hides the longer of two secrets that begin alike', () => {
    const redactor = createRedactor();
    redactor.hide('secret');
    redactor.hide('secret-and-more');
    expect(redactor.redact('secret-and-more')).toBe('[hidden]');
  });

  it('takes every character literally', () => {
    const redactor = createRedactor();
    redactor.hide('a.c*(d)[e]|f$');
    expect(redactor.redact('a.c*(d)[e]|f$ abcd')).toBe('[hidden] abcd');
  });

  it('ignores values that are too short to be secrets', () => {
    const redactor = createRedactor();
    redactor.hide('a');
    expect(redactor.redact('banana')).toBe('banana');
  });

  it('survives half of a surrogate pair', () => {
    const redactor = createRedactor();
    redactor.hide('abcdef\ud800');
    expect(redactor.redact('abcdef\ud800')).toBe('[hidden]');
  });
});

describe('redactError', () => {
  it('keeps type and code and hides secrets in message, stack and causes', () => {
    const cause = new Error('connect postgres://u:hunter22@db failed');
    const fields = redactError(Object.assign(new RangeError('with sk-abcdefgh1234', { cause }), { code: 'E1' }));
    expect(fields).toMatchObject({ type: 'RangeError', code: 'E1' });
    expect(JSON.stringify(fields)).not.toMatch(/hunter22|abcdefgh1234/);
  });

  it('takes whatever was thrown', () => {
    expect(redactError('Bearer abcdef123')).toEqual({ type: 'string', message: 'Bearer [hidden]' });
    expect(redactError(undefined).message).toBe('undefined');
  });

  it('ends in a chain of causes without end', () => {
    const error = new Error('a');
    error.cause = error;
    expect(() => JSON.stringify(redactError(error))).not.toThrow();
  });
});
