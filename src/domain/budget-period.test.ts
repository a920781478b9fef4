import { describe, expect, test } from 'vitest';
import { budgetPeriod, resetRules } from './budget-period.ts';
import { nextBudgetReset } from './duration.ts';

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

  test('ends where the next reset is said to be, and the next one begins there', () => {
    for (const duration of ['45s', '7m', '20m', '1h', '7h', '1d', '7d', '30d', '1mo', '1w']) {
      for (let nowMs = NOW, step = 0; step < 40; step++, nowMs += 8_641_037) {
        const { startMs, endMs } = budgetPeriod(duration, nowMs);
        expect(startMs).toBeLessThanOrEqual(nowMs);
        expect(endMs).toBeGreaterThan(nowMs);
        expect(endMs).toBe(nextBudgetReset(duration, nowMs));
        expect(budgetPeriod(duration, endMs!).startMs).toBe(endMs);
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
