import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDuration, isNoDuration, nextBudgetReset, parseDuration } from './duration.ts';

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

describe('nextBudgetReset', () => {
  // 22 November 2026 is a Sunday.
  const sunday = at('2026-11-22T10:20:30.456Z');

  it.each([
    ['1d', '2026-11-23T00:00:00.000Z'],
    ['7d', '2026-11-23T00:00:00.000Z'],
    ['1w', '2026-11-23T00:00:00.000Z'],
    ['30d', '2026-12-01T00:00:00.000Z'],
    ['3d', '2026-11-25T00:00:00.000Z'],
    ['2w', '2026-12-06T00:00:00.000Z'],
    ['1mo', '2026-12-01T00:00:00.000Z'],
    ['2mo', '2027-01-01T00:00:00.000Z'],
    ['1h', '2026-11-22T11:00:00.000Z'],
    ['6h', '2026-11-22T12:00:00.000Z'],
    ['10h', '2026-11-22T20:00:00.000Z'],
    ['20h', '2026-11-22T20:00:00.000Z'],
    ['24h', '2026-11-23T00:00:00.000Z'],
    ['48h', '2026-11-23T00:00:00.000Z'],
    ['15m', '2026-11-22T10:30:00.000Z'],
    ['45m', '2026-11-22T10:45:00.000Z'],
    ['90m', '2026-11-22T11:00:00.000Z'],
    ['20s', '2026-11-22T10:20:40.000Z'],
    ['45s', '2026-11-22T10:20:45.000Z'],
    ['90s', '2026-11-22T10:21:00.000Z'],
    ['0d', '2026-11-22T10:20:30.456Z'],
    ['nonsense', '2026-11-23T00:00:00.000Z'],
  ])('of %s is %s', (text, expected) => {
    expect(iso(nextBudgetReset(text, sunday))).toBe(expected);
  });

  it('is a week later on a Monday, and a day that has begun is not today again', () => {
    expect(iso(nextBudgetReset('7d', at('2026-11-23T00:00:00.000Z')))).toBe('2026-11-30T00:00:00.000Z');
    expect(iso(nextBudgetReset('7d', at('2026-11-28T12:00:00.000Z')))).toBe('2026-11-30T00:00:00.000Z');
    expect(iso(nextBudgetReset('1d', at('2026-11-22T00:00:00.000Z')))).toBe('2026-11-23T00:00:00.000Z');
  });

  it('does not exist without a period', () => {
    for (const text of [null, '', 'none', 'null']) expect(nextBudgetReset(text, sunday)).toBeNull();
  });

  it('is local midnight, also on the day the clocks change', () => {
    expect(iso(nextBudgetReset('1d', sunday, 'America/New_York'))).toBe('2026-11-23T05:00:00.000Z');
    expect(iso(nextBudgetReset('1d', sunday, 'Asia/Kolkata'))).toBe('2026-11-22T18:30:00.000Z');
    // Berlin leaves daylight saving time on 25 October 2026 at 01:00 UTC.
    expect(iso(nextBudgetReset('1d', at('2026-10-24T23:30:00Z'), 'Europe/Berlin'))).toBe('2026-10-25T23:00:00.000Z');
    expect(iso(nextBudgetReset('1mo', at('2026-10-10T00:00:00Z'), 'Europe/Berlin'))).toBe('2026-10-31T23:00:00.000Z');
  });

  it('always lies after now, and within the period that was asked for', () => {
    const unit = fc.constantFrom('s', 'm', 'h', 'd', 'w', 'mo');
    const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu');
    const moment = fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2030-01-01T00:00:00Z') });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), unit, zone, moment, (amount, name, timeZone, now) => {
        const next = nextBudgetReset(`${amount}${name}`, now, timeZone);
        expect(next).toBeGreaterThan(now);
        const parsed = parseDuration(`${amount}${name}`);
        // A month or a day of daylight saving time may be up to three days and an hour longer than its number says.
        if (parsed.ok) expect(next).toBeLessThanOrEqual(addDuration(now, parsed.duration) + 4 * 86_400_000);
      }),
    );
  });
});
