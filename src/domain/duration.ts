/**
 * Durations as LiteLLM writes them: a number and `s`, `m`, `h`, `d`, `w` or `mo`. As a key's lifetime they are added to
 * now; as a budget period they name the next reset, which lies on the clock or the calendar.
 */
export type DurationUnit = 's' | 'm' | 'h' | 'd' | 'w' | 'mo';

export interface Duration {
  readonly amount: number;
  readonly unit: DurationUnit;
}

export type ParsedDuration =
  | { readonly ok: true; readonly duration: Duration }
  | { readonly ok: false; readonly reason: 'invalid_format' | 'unsupported_unit' };

/** Longest amount of any unit; longer is an input error rather than a date that no one can store. */
const AMOUNT_MAX = 1_000_000_000;

export function parseDuration(text: string): ParsedDuration {
  const match = /^(\d+)\s*([a-zA-Z]*)$/.exec(text.trim());
  const amount = Number(match?.[1]);
  if (match === null || amount > AMOUNT_MAX) return { ok: false, reason: 'invalid_format' };
  const unit = match[2] ?? '';
  if (unit === '') return { ok: false, reason: 'invalid_format' };
  return isUnit(unit) ? { ok: true, duration: { amount, unit } } : { ok: false, reason: 'unsupported_unit' };
}

/** Values that mean "never" where a duration may stand. */
export function isNoDuration(text: string | null): boolean {
  return text === null || text === '' || text === '-1' || text === 'none' || text === 'null';
}

/** Now plus the duration exactly. A calendar month ends on the same day, or on the last one when there is none. */
export function addDuration(fromMs: number, duration: Duration): number {
  if (duration.unit !== 'mo') return fromMs + duration.amount * MS_PER_UNIT[duration.unit];
  const from = new Date(fromMs);
  const month = from.getUTCMonth() + duration.amount;
  const lastDay = new Date(Date.UTC(from.getUTCFullYear(), month + 1, 0)).getUTCDate();
  const day = Math.min(from.getUTCDate(), lastDay);
  return Date.UTC(from.getUTCFullYear(), month, day) + (fromMs % MS_PER_DAY);
}

/**
 * The next reset of a budget with this period. Null = it is never reset. Text that is no duration falls back to the next
 * midnight, as LiteLLM does for rows that were written before the text was checked.
 */
export function nextBudgetReset(text: string | null, nowMs: number, timeZone = 'UTC'): number | null {
  if (text === null || isNoDuration(text)) return null;
  const local = nowMs + zoneOffsetMs(nowMs, timeZone);
  const parsed = parseDuration(text);
  if (parsed.ok && parsed.duration.amount === 0) return nowMs;
  const next = parsed.ok ? nextLocalReset(local, parsed.duration) : startOfDay(local) + MS_PER_DAY;
  return fromLocal(next, timeZone);
}

const MS_PER_DAY = 86_400_000;
const MS_PER_UNIT = { s: 1_000, m: 60_000, h: 3_600_000, d: MS_PER_DAY, w: 7 * MS_PER_DAY } as const;

function isUnit(text: string): text is DurationUnit {
  return text === 'mo' || Object.hasOwn(MS_PER_UNIT, text);
}

/** `local` is wall-clock time written as if it were UTC. */
function nextLocalReset(local: number, { amount, unit }: Duration): number {
  switch (unit) {
    case 'mo':
      return startOfMonth(local, amount);
    case 'd':
      if (amount === 7) return nextMonday(local);
      if (amount === 30) return startOfMonth(local, 1);
      return startOfDay(local) + amount * MS_PER_DAY;
    case 'w':
      return amount === 1 ? nextMonday(local) : startOfDay(local) + amount * 7 * MS_PER_DAY;
    // A multiple on the clock that would reach into the next day, hour or minute is the start of that one.
    case 'h':
      return nextOnClock(local, amount * MS_PER_UNIT.h, MS_PER_DAY);
    case 'm':
      return nextOnClock(local, amount * MS_PER_UNIT.m, MS_PER_UNIT.h);
    case 's':
      return nextOnClock(local, amount * MS_PER_UNIT.s, MS_PER_UNIT.m);
  }
}

function nextOnClock(local: number, stepMs: number, circleMs: number): number {
  const start = local - (local % circleMs);
  const next = (Math.floor((local - start) / stepMs) + 1) * stepMs;
  return start + Math.min(next, circleMs);
}

function startOfDay(local: number): number {
  return local - (local % MS_PER_DAY);
}

function nextMonday(local: number): number {
  const weekday = new Date(local).getUTCDay();
  return startOfDay(local) + (((8 - weekday) % 7) + (weekday === 1 ? 7 : 0)) * MS_PER_DAY;
}

function startOfMonth(local: number, monthsAhead: number): number {
  const date = new Date(local);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + monthsAhead, 1);
}

/** `local` is wall-clock time written as if it were UTC. */
export function fromLocal(local: number, timeZone: string): number {
  const guess = local - zoneOffsetMs(local, timeZone);
  // The offset may change between the guess and the wanted moment (daylight saving time).
  return local - zoneOffsetMs(guess, timeZone);
}

export function zoneOffsetMs(utcMs: number, timeZone: string): number {
  if (timeZone === 'UTC') return 0;
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(utcMs);
  const part = (type: string) => Number(parts.find((candidate) => candidate.type === type)?.value);
  const local = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
  return local - Math.floor(utcMs / 1_000) * 1_000;
}
