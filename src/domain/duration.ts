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

const MS_PER_DAY = 86_400_000;
const MS_PER_UNIT = { s: 1_000, m: 60_000, h: 3_600_000, d: MS_PER_DAY, w: 7 * MS_PER_DAY } as const;

function isUnit(text: string): text is DurationUnit {
  return text === 'mo' || Object.hasOwn(MS_PER_UNIT, text);
}
