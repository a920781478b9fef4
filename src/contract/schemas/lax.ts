/**
 * Scalars as clients of LiteLLM send them: `"12.5"` is a number where a number is asked for, `"true"` a boolean. A string is only a
 * string. Refusals carry the type name that the validator of LiteLLM's web framework uses, because clients show or match it.
 */
import { z } from 'zod';

/** Text in an indexed column: PostgreSQL takes about 2,700 bytes per index entry. Longer text is a 422. */
export const ID_CHARS_MAX = 512;

export const text = z.string();
export const id = z.string().max(ID_CHARS_MAX);
export const int = lax('integer', readInt);
export const float = lax('number', readFloat);
export const bool = lax('boolean', readBool);
/** A budget field of a form that was left empty arrives as an empty string. */
export const money = z.preprocess((value) => (value === '' ? null : value), float.nullable());
export const json: z.ZodType<JsonLike> = z
  .unknown()
  .transform((value) => value as JsonLike) as unknown as z.ZodType<JsonLike>;
export const dict = z.record(z.string(), json);
export const texts = z.array(text);

export type JsonLike = null | boolean | number | string | JsonLike[] | { [name: string]: JsonLike };

/** What a refusal says, in the words of LiteLLM's validator. */
export interface Refusal {
  readonly type: string;
  readonly msg: string;
}

/** The refusal that a custom issue carries in its `params`. */
export function refusalOf(params: unknown): Refusal | null {
  const refusal = (params as { refusal?: Refusal } | undefined)?.refusal;
  return refusal ?? null;
}

type Reading<T> = { readonly value: T } | { readonly refusal: Refusal };

function lax<T>(type: string, read: (value: unknown) => Reading<T>) {
  return z
    .unknown()
    .transform((value, context): T => {
      const reading = read(value);
      if ('value' in reading) return reading.value;
      const refusal = value === undefined ? MISSING : reading.refusal;
      context.addIssue({ code: 'custom', message: refusal.msg, params: { refusal } });
      return z.NEVER;
    })
    .meta({ type });
}

export const MISSING: Refusal = { type: 'missing', msg: 'Field required' };

function refuse(type: string, msg: string): { refusal: Refusal } {
  return { refusal: { type, msg } };
}

function readFloat(value: unknown): Reading<number> {
  if (typeof value === 'boolean') return { value: value ? 1 : 0 };
  if (typeof value !== 'number' && typeof value !== 'string') {
    return refuse('float_type', 'Input should be a valid number');
  }
  const number = typeof value === 'number' ? value : numberFromText(value);
  if (Number.isNaN(number)) {
    return refuse('float_parsing', 'Input should be a valid number, unable to parse string as a number');
  }
  return Number.isFinite(number) ? { value: number } : refuse('finite_number', 'Input should be a finite number');
}

function readInt(value: unknown): Reading<number> {
  if (typeof value === 'boolean') return { value: value ? 1 : 0 };
  if (typeof value !== 'number' && typeof value !== 'string') {
    return refuse('int_type', 'Input should be a valid integer');
  }
  const number = typeof value === 'number' ? value : numberFromText(value);
  if (Number.isNaN(number)) {
    return refuse('int_parsing', 'Input should be a valid integer, unable to parse string as an integer');
  }
  if (!Number.isInteger(number)) {
    return refuse('int_from_float', 'Input should be a valid integer, got a number with a fractional part');
  }
  if (!Number.isSafeInteger(number))
    return refuse('int_parsing_size', 'Unable to parse input string as an integer, exceeded maximum size');
  return { value: number };
}

function numberFromText(value: string): number {
  return /^\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i.test(value) ? Number(value) : Number.NaN;
}

const TRUE_TEXTS = new Set(['true', '1', 'yes', 'y', 'on', 't']);
const FALSE_TEXTS = new Set(['false', '0', 'no', 'n', 'off', 'f']);

function readBool(value: unknown): Reading<boolean> {
  if (typeof value === 'boolean') return { value };
  if (value === 0 || value === 1) return { value: value === 1 };
  if (typeof value === 'string') {
    const lower = value.toLowerCase();
    if (TRUE_TEXTS.has(lower)) return { value: true };
    if (FALSE_TEXTS.has(lower)) return { value: false };
    return refuse('bool_parsing', 'Input should be a valid boolean, unable to interpret input');
  }
  return refuse('bool_type', 'Input should be a valid boolean');
}
