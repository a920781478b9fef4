import { deleteModelRoute } from '../../../contract/routes/models.ts';
import { deleteModel, findModel, lockModels } from '../../../storage/repositories/models.ts';
import { appendChange } from '../../config/append-change.ts';
import { publish } from '../../config/publish.ts';
import { endpoint } from '../handler.ts';
import { OUTCOME_HEADER } from './answer-write.ts';
import { mayWriteModels } from './may-write-models.ts';
import { unknownModel } from './unknown-model.ts';

export const deleteModelEndpoint = endpoint(deleteModelRoute, async ({ body, query, caller, origin }, context) => {
  mayWriteModels(caller, context);
  const { id } = body;
  const { stretch } = await appendChange(context.db, origin, async (tx, changed) => {
    await lockModels(tx);
    const stored = await findModel(tx, id);
    if (stored === null) throw unknownModel(id, context);
    if (query.dry_run) return;
    await deleteModel(tx, id);
    const objectRev = stored.objectRev + 1;
    changed({ kind: 'model', objectId: id, objectRev, op: 'deleted', before: stored.model, after: null });
  });
  if (stretch !== null) await publish(stretch, context);
  return {
    json: { message: `Model: ${id} deleted successfully` },
    rev: stretch?.to,
    headers: { [OUTCOME_HEADER]: 'deleted' },
  };
});
