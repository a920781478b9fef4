import { nextBudgetReset, type ResetRules } from '../../../domain/budget-period.ts';
import { addDuration, isNoDuration, parseDuration } from '../../../domain/duration.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';

/** Null when the text means "never". Throws a 400 that names the field. */
export function checkedDuration(field: string, text: string | null | undefined): string | null {
  if (text === undefined || text === null || isNoDuration(text)) return null;
  const parsed = parseDuration(text);
  if (parsed.ok) return text;
  throw new ClavigerError(parsed.reason === 'invalid_format' ? 'invalid_duration' : 'unsupported_duration_unit', {
    field,
    value: text,
  });
}

/** Now plus the duration, as ISO text; null = never. */
export function expiryAfter(field: string, text: string | null | undefined, nowMs: number): string | null {
  const checked = checkedDuration(field, text);
  const parsed = checked === null ? null : parseDuration(checked);
  return parsed?.ok ? isoMoment(field, checked!, addDuration(nowMs, parsed.duration)) : null;
}

/** When a budget with this period is next reset, as ISO text; null = never. `resets` are the rules of the configuration. */
export function budgetResetAt(text: string | null, nowMs: number, resets: ResetRules): string | null {
  const moment = nextBudgetReset(text, nowMs, resets);
  return moment === null ? null : isoMoment('budget_duration', text ?? '', moment);
}

/** How long a duration is from now, in milliseconds; Infinity for "never". For comparing with a bound. */
export function lengthMs(field: string, text: string | null | undefined, nowMs: number): number {
  const end = expiryAfter(field, text, nowMs);
  return end === null ? Number.POSITIVE_INFINITY : Date.parse(end) - nowMs;
}

/** The last moment of year 9999; later ones have no ISO text that PostgreSQL reads. */
const MOMENT_MAX = 253_402_300_799_999;

function isoMoment(field: string, text: string, moment: number): string {
  if (!(moment <= MOMENT_MAX)) throw new ClavigerError('invalid_duration', { field, value: text });
  return new Date(moment).toISOString();
}
