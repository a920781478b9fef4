import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { type Caller, isProxyAdmin } from '../../auth/caller.ts';
import type { ControlContext } from '../../context.ts';

/** Throws LiteLLM's 403 for who is no admin, and its 500 where models are not kept in the database. */
export function mayWriteModels(caller: Caller, { settings }: Pick<ControlContext, 'settings'>): void {
  if (!isProxyAdmin(caller)) throw new ClavigerError('only_model_writer');
  if (!settings.storeModelInDb) throw new ClavigerError('models_not_in_database', {}, { param: 'None' });
}
