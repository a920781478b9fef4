import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { budgetPeriod, nextBudgetReset, resetRules } from './budget-period.ts';
import { addDuration, parseDuration } from './duration.ts';

const NOW = Date.UTC(2026, 10, 25, 15, 47, 31, 250); // a Wednesday

function period(duration: string | null, nowMs = NOW, timeZone = 'UTC', resetMinutes = 0, anchorMs?: number) {
  const { startMs, endMs } = budgetPeriod(duration, nowMs, { timeZone, resetMinutes }, anchorMs);
  return [new Date(startMs).toISOString(), endMs === null ? null : new Date(endMs).toISOString()];
}

describe('the period of a budget', () => {
  test.each([
    [null, '1970-01-01T00:00:00.000Z', null],
    ['none', '1970-01-01T00:00:00.000Z', null],
    ['30s', '2026-11-25T15:47:30.000Z', '2026-11-25T15:48:00.000Z'],
    ['15m', '2026-11-25T15:45:00.000Z', '2026-11-25T16:00:00.000Z'],
    ['1h', '2026-11-25T15:00:00.000Z', '2026-11-25T16:00:00.000Z'],
    ['5h', '2026-11-25T15:00:00.000Z', '2026-11-25T20:00:00.000Z'],
    ['24h', '2026-11-25T00:00:00.000Z', '2026-11-26T00:00:00.000Z'],
    ['48h', '2026-11-25T00:00:00.000Z', '2026-11-26T00:00:00.000Z'],
    ['1d', '2026-11-25T00:00:00.000Z', '2026-11-26T00:00:00.000Z'],
    ['7d', '2026-11-23T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['1w', '2026-11-23T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['30d', '2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
    ['1mo', '2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
    ['3mo', '2026-10-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
    ['never heard of', '2026-11-25T00:00:00.000Z', '2026-11-26T00:00:00.000Z'],
    ['0d', '2026-11-25T00:00:00.000Z', '2026-11-26T00:00:00.000Z'],
  ])('%s', (duration, start, end) => expect(period(duration)).toEqual([start, end]));

  test('of several days begins at a reset moment of the budget', () => {
    const anchor = Date.UTC(2026, 10, 28);
    expect(period('10d', NOW, 'UTC', 0, anchor)).toEqual(['2026-11-18T00:00:00.000Z', '2026-11-28T00:00:00.000Z']);
    expect(period('10d', anchor, 'UTC', 0, anchor)).toEqual(['2026-11-28T00:00:00.000Z', '2026-12-08T00:00:00.000Z']);
  });

  test('is reckoned in the time zone and at the time of day that are configured', () => {
    expect(period('1d', NOW, 'America/New_York')).toEqual(['2026-11-25T05:00:00.000Z', '2026-11-26T05:00:00.000Z']);
    expect(period('1d', NOW, 'UTC', 17 * 60)).toEqual(['2026-11-24T17:00:00.000Z', '2026-11-25T17:00:00.000Z']);
    // The day on which clocks are set back has 25 hours.
    expect(period('1d', Date.UTC(2026, 9, 25, 12), 'Europe/Berlin')).toEqual([
      '2026-10-24T22:00:00.000Z',
      '2026-10-25T23:00:00.000Z',
    ]);
  });

  test('holds now, and the next one begins where it ends', () => {
    for (const duration of ['45s', '7m', '20m', '1h', '7h', '1d', '5d', '7d', '30d', '1mo', '5mo', '1w', '2w']) {
      for (let nowMs = NOW, step = 0; step < 40; step++, nowMs += 8_641_037) {
        const { startMs, endMs } = budgetPeriod(duration, nowMs);
        expect(startMs).toBeLessThanOrEqual(nowMs);
        expect(endMs).toBeGreaterThan(nowMs);
        expect(budgetPeriod(duration, endMs!).startMs).toBe(endMs);
        expect(budgetPeriod(duration, nowMs, undefined, endMs!)).toEqual({ startMs, endMs });
      }
    }
  });
});

test('zone and time of resets come from litellm_settings; what makes no sense is midnight UTC', () => {
  expect(resetRules({ timezone: 'Europe/Berlin', budget_reset_time: '06:30' })).toEqual({
    timeZone: 'Europe/Berlin',
    resetMinutes: 390,
  });
  for (const settings of [
    {},
    { timezone: 'Mars/Base', budget_reset_time: '25:00' },
    { timezone: 3, budget_reset_time: 6 },
  ]) {
    expect(resetRules(settings)).toEqual({ timeZone: 'UTC', resetMinutes: 0 });
  }
});

const at = (iso: string): number => Date.parse(iso);
const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
const midnightIn = (timeZone: string) => ({ timeZone, resetMinutes: 0 });

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
    expect(iso(nextBudgetReset('1d', sunday, midnightIn('America/New_York')))).toBe('2026-11-23T05:00:00.000Z');
    expect(iso(nextBudgetReset('1d', sunday, midnightIn('Asia/Kolkata')))).toBe('2026-11-22T18:30:00.000Z');
    // Berlin leaves daylight saving time on 25 October 2026 at 01:00 UTC.
    expect(iso(nextBudgetReset('1d', at('2026-10-24T23:30:00Z'), midnightIn('Europe/Berlin')))).toBe(
      '2026-10-25T23:00:00.000Z',
    );
    expect(iso(nextBudgetReset('1mo', at('2026-10-10T00:00:00Z'), midnightIn('Europe/Berlin')))).toBe(
      '2026-10-31T23:00:00.000Z',
    );
  });

  it('always lies after now, and within the period that was asked for', () => {
    const unit = fc.constantFrom('s', 'm', 'h', 'd', 'w', 'mo');
    const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu');
    const moment = fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2030-01-01T00:00:00Z') });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), unit, zone, moment, (amount, name, timeZone, now) => {
        const next = nextBudgetReset(`${amount}${name}`, now, midnightIn(timeZone));
        expect(next).toBeGreaterThan(now);
        const parsed = parseDuration(`${amount}${name}`);
        // A month or a day of daylight saving time may be up to three days and an hour longer than its number says.
        if (parsed.ok) expect(next).toBeLessThanOrEqual(addDuration(now, parsed.duration) + 4 * 86_400_000);
      }),
    );
  });
});
