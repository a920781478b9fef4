import { describe, expect, it } from 'vitest';
import { addDuration, isNoDuration, parseDuration } from './duration.ts';

const at = (iso: string): number => Date.parse(iso);
const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

function add(from: string, text: string): string | null {
  const parsed = parseDuration(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return iso(addDuration(at(from), parsed.duration));
}

describe('parseDuration', () => {
  it.each(['30s', '30m', '30h', '30d', '2w', '1mo', '0d', ' 5d '])('reads %j', (text) => {
    expect(parseDuration(text).ok).toBe(true);
  });

  it.each([
    ['30', 'invalid_format'],
    ['', 'invalid_format'],
    ['d', 'invalid_format'],
    ['-1d', 'invalid_format'],
    ['1.5h', 'invalid_format'],
    ['1d2h', 'invalid_format'],
    ['99999999999d', 'invalid_format'],
    ['3y', 'unsupported_unit'],
    ['3min', 'unsupported_unit'],
    ['1constructor', 'unsupported_unit'],
  ])('refuses %j: %s', (text, reason) => {
    expect(parseDuration(text)).toEqual({ ok: false, reason });
  });

  it('knows the values that mean never', () => {
    expect([null, '', '-1', 'none', 'null'].every(isNoDuration)).toBe(true);
    expect(isNoDuration('1d')).toBe(false);
  });
});

describe('addDuration', () => {
  it.each([
    ['2026-11-22T10:20:30.456Z', '30s', '2026-11-22T10:21:00.456Z'],
    ['2026-11-22T10:20:30.456Z', '90m', '2026-11-22T11:50:30.456Z'],
    ['2026-11-22T10:20:30.456Z', '2w', '2026-12-06T10:20:30.456Z'],
    ['2026-11-22T10:20:30.456Z', '1mo', '2026-12-22T10:20:30.456Z'],
    ['2026-01-31T23:59:59.999Z', '1mo', '2026-02-28T23:59:59.999Z'],
    ['2028-01-31T00:00:00.000Z', '1mo', '2028-02-29T00:00:00.000Z'],
    ['2026-12-31T05:00:00.000Z', '2mo', '2027-02-28T05:00:00.000Z'],
    ['2026-11-22T00:00:00.000Z', '14mo', '2028-01-22T00:00:00.000Z'],
  ])('%s and %s is %s', (from, text, expected) => {
    expect(add(from, text)).toBe(expected);
  });
});
