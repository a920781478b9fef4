import { ClavigerError } from '../../domain/error-catalogue.ts';

/** A model that can not be stored as it was given; LiteLLM wraps these as `auth_error`. */
export function refuseModel(reason: string): ClavigerError {
  return new ClavigerError('bad_request', { reason }, { type: 'auth_error', param: 'None' });
}
