import { appendChange, type CommittedChange } from '../../src/control/config/append-change.ts';
import type { ModelRecord } from '../../src/domain/stored-model.ts';
import type { JsonObject } from '../../src/domain/virtual-key.ts';
import type { Database } from '../../src/storage/db.ts';
import { deleteModel, findModel, insertModel, updateModel } from '../../src/storage/repositories/models.ts';

const ORIGIN = { actor: 'test', actorKey: null, changedBy: null, requestId: 'test' };
const AT = '2026-01-01T00:00:00.000Z';

/** Writes a model of the fleet past the management API; `model_info` null deletes it. */
export function writeModel(db: Database, id: string, model_info: JsonObject | null): Promise<CommittedChange<void>> {
  return appendChange(db, ORIGIN, async (tx, changed) => {
    const stored = await findModel(tx, id);
    const objectRev = (stored?.objectRev ?? 0) + 1;
    const after: ModelRecord | null =
      model_info === null
        ? null
        : {
            model_id: id,
            model_name: `name of ${id}`,
            litellm_params: { model: 'openai/gpt' },
            model_info,
            ...{ created_at: AT, created_by: null, updated_at: AT, updated_by: null },
          };
    if (after === null) await deleteModel(tx, id);
    else if (stored === null) await insertModel(tx, after, objectRev);
    else await updateModel(tx, after, objectRev);
    const op = after === null ? 'deleted' : stored === null ? 'created' : 'updated';
    changed({ kind: 'model', objectId: id, objectRev, op, before: stored?.model ?? null, after });
  });
}
