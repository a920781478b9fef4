import { patchModelRoute } from '../../../contract/routes/models.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { endpoint } from '../handler.ts';
import { mayWriteModels } from './may-write-models.ts';
import { changeModel } from './update-model.ts';

/** The id in the path wins over one in the body. */
export const patchModelEndpoint = endpoint(patchModelRoute, async ({ query, ...input }, context) => {
  mayWriteModels(input.caller, context);
  const id = query.model_id;
  const notFound = () => new ClavigerError('object_not_found', { what: `Model with id=${id}` });
  return changeModel(id, { ...input, query: { dry_run: query.dry_run, replace: false } }, context, notFound);
});
