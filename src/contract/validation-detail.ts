import type { z } from 'zod';
import { MISSING, type Refusal, refusalOf } from './schemas/lax.ts';

/** One entry of the list in a 422, as LiteLLM's web framework writes it. The value itself is left out: it may be a secret. */
export type ValidationDetail = {
  loc: (string | number)[];
  msg: string;
  type: string;
};

/** `place` is `body` or `query`. Needs issues that were reported with their input. */
export function validationDetail(error: z.ZodError, place: 'body' | 'query'): ValidationDetail[] {
  return error.issues.map((issue) => {
    const { type, msg } = refusalFrom(issue);
    return { loc: [place, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))], msg, type };
  });
}

function refusalFrom(issue: z.core.$ZodIssue): Refusal {
  switch (issue.code) {
    case 'custom':
      return refusalOf(issue.params) ?? { type: 'value_error', msg: issue.message };
    case 'invalid_type':
      if (issue.input === undefined) return MISSING;
      return TYPE_REFUSALS[issue.expected] ?? { type: 'value_error', msg: issue.message };
    case 'invalid_value':
      if (issue.input === undefined) return MISSING;
      return { type: 'enum', msg: `Input should be ${alternatives(issue.values)}` };
    case 'too_big':
      return issue.origin === 'string'
        ? { type: 'string_too_long', msg: `String should have at most ${issue.maximum} characters` }
        : { type: 'less_than_equal', msg: `Input should be less than or equal to ${issue.maximum}` };
    case 'too_small':
      return { type: 'greater_than_equal', msg: `Input should be greater than or equal to ${issue.minimum}` };
    default:
      return { type: 'value_error', msg: issue.message };
  }
}

const TYPE_REFUSALS: Readonly<Record<string, Refusal>> = {
  string: { type: 'string_type', msg: 'Input should be a valid string' },
  array: { type: 'list_type', msg: 'Input should be a valid list' },
  object: { type: 'dict_type', msg: 'Input should be a valid dictionary' },
  record: { type: 'dict_type', msg: 'Input should be a valid dictionary' },
};

function alternatives(values: readonly unknown[]): string {
  const quoted = values.map((value) => `'${String(value)}'`);
  return quoted.length < 2 ? quoted.join('') : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
}
