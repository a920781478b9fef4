import { isNoDuration, parseDuration } from './duration.ts';
import { fromLocal, zoneOffsetMs } from './local-time.ts';
import type { JsonObject, JsonValue } from './virtual-key.ts';

/** From one reset of a budget to the next. */
export interface BudgetPeriod {
  /** Milliseconds since the epoch; 0 for a budget that is never reset. */
  readonly startMs: number;
  /** Null = no end. */
  readonly endMs: number | null;
}

export interface ResetRules {
  /** `litellm_settings.timezone`. */
  readonly timeZone: string;
  /** `litellm_settings.budget_reset_time` as minutes after midnight: resets on days happen then. */
  readonly resetMinutes: number;
}

export const RESET_AT_MIDNIGHT_UTC: ResetRules = { timeZone: 'UTC', resetMinutes: 0 };

/**
 * When a budget that begins now is reset for the first time; null = never. Text that is no duration falls back to the next midnight, as LiteLLM does
 * for rows that were written before the text was checked.
 */
export function nextBudgetReset(
  duration: string | null,
  nowMs: number,
  rules: ResetRules = RESET_AT_MIDNIGHT_UTC,
): number | null {
  const parsed = parseDuration(duration ?? '');
  if (parsed.ok && parsed.duration.amount === 0) return nowMs;
  return budgetPeriod(duration, nowMs, rules, nowMs).endMs;
}

/** `timezone` and `budget_reset_time` of `litellm_settings`; what makes no sense is midnight UTC, which a warning has said by then. */
export function resetRules({ timezone, budget_reset_time: time }: JsonObject): ResetRules {
  const match = typeof time === 'string' ? /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(time.trim()) : null;
  const resetMinutes = match === null ? 0 : Number(match[1]) * 60 + Number(match[2]);
  return { timeZone: isTimeZone(timezone) ? timezone : 'UTC', resetMinutes };
}

function isTimeZone(name: JsonValue | undefined): name is string {
  if (typeof name !== 'string') return false;
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/**
 * The period of a budget that `nowMs` lies in. Resets are LiteLLM's: on the clock for seconds, minutes and hours, at midnight for days, on Mondays
 * for a week, on the first for a month (and for 30 days). Several days, weeks or months are counted from `anchorMs`, a reset moment of the budget.
 */
export function budgetPeriod(
  duration: string | null,
  nowMs: number,
  rules: ResetRules = RESET_AT_MIDNIGHT_UTC,
  anchorMs = 0,
): BudgetPeriod {
  if (duration === null || isNoDuration(duration)) return { startMs: 0, endMs: null };
  const parsed = parseDuration(duration);
  // What is no duration, and one of nothing, is a day: LiteLLM falls back to the next midnight.
  const { amount, unit } =
    parsed.ok && parsed.duration.amount > 0 ? parsed.duration : ({ amount: 1, unit: 'd' } as const);
  const localOf = (utcMs: number): number => utcMs + zoneOffsetMs(utcMs, rules.timeZone);
  const local = localOf(nowMs);
  const toUtc = (localMs: number): number => fromLocal(localMs, rules.timeZone);
  if (unit === 'h' && amount < 24) return onClock(local, amount * HOUR_MS, DAY_MS, toUtc);
  if (unit === 'm') return onClock(local, amount * MINUTE_MS, HOUR_MS, toUtc);
  if (unit === 's') return onClock(local, amount * SECOND_MS, MINUTE_MS, toUtc);

  const shiftMs = rules.resetMinutes * MINUTE_MS;
  const day = local - shiftMs;
  const between = (startLocal: number, endLocal: number): BudgetPeriod => ({
    startMs: toUtc(startLocal + shiftMs),
    endMs: toUtc(endLocal + shiftMs),
  });
  if (unit === 'mo' || (unit === 'd' && amount === 30)) {
    const months = unit === 'mo' ? amount : 1;
    const anchorMonth = monthOf(localOf(anchorMs) - shiftMs);
    const first = anchorMonth + Math.floor((monthOf(day) - anchorMonth) / months) * months;
    return between(startOfMonth(first), startOfMonth(first + months));
  }
  const days = unit === 'h' ? 1 : unit === 'w' ? amount * 7 : amount;
  if (days === 7) {
    const start = Math.floor((day - MONDAY_MS) / (7 * DAY_MS)) * 7 * DAY_MS + MONDAY_MS;
    return between(start, start + 7 * DAY_MS);
  }
  const anchorDay = days === 1 ? 0 : Math.floor((localOf(anchorMs) - shiftMs) / DAY_MS) * DAY_MS;
  const start = Math.floor((day - anchorDay) / (days * DAY_MS)) * days * DAY_MS + anchorDay;
  return between(start, start + days * DAY_MS);
}

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** The first Monday after the epoch. */
const MONDAY_MS = 4 * DAY_MS;
/** A step that would reach into the next day, hour or minute ends with this one. */
function onClock(local: number, stepMs: number, circleMs: number, toUtc: (localMs: number) => number): BudgetPeriod {
  const circle = Math.floor(local / circleMs) * circleMs;
  const start = circle + Math.floor((local - circle) / stepMs) * stepMs;
  return { startMs: toUtc(start), endMs: toUtc(Math.min(start + stepMs, circle + circleMs)) };
}

/** Months since the year 0. */
function monthOf(local: number): number {
  const date = new Date(local);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** The reverse of `monthOf`. */
function startOfMonth(month: number): number {
  return Date.UTC(2000, month - 24_000, 1);
}
