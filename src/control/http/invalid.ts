import type { ValidationDetail } from '../../contract/validation-detail.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';

/** The 422 of a request whose fields have the wrong type, in the form of LiteLLM's web framework. */
export function invalid(detail: ValidationDetail[]): ClavigerError {
  const first = detail[0];
  const reason = first === undefined ? 'Invalid request' : `${first.loc.join('.')}: ${first.msg}`;
  return new ClavigerError('validation_failed', { reason }, { detail });
}
