import { newModelRoute } from '../../../contract/routes/models.ts';
import type { NewModelBody } from '../../../contract/schemas/model-request.ts';
import { type ModelRecord, storedModelFrom } from '../../../domain/stored-model.ts';
import { allModels, insertModel, lockModels } from '../../../storage/repositories/models.ts';
import { uuidV7 } from '../../../util/uuid-v7.ts';
import type { Caller } from '../../auth/caller.ts';
import { appendChange } from '../../config/append-change.ts';
import { sealModelSecrets } from '../../config/model-secrets.ts';
import { publish } from '../../config/publish.ts';
import { modelIdFrom, readLitellmParams, readModelInfo } from '../../config/read-model.ts';
import { refuseModel } from '../../config/refuse-model.ts';
import { validateModel } from '../../config/validate-models.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint } from '../handler.ts';
import { answerWrite } from './answer-write.ts';
import { mayWriteModels } from './may-write-models.ts';

export const newModelEndpoint = endpoint(newModelRoute, async ({ body, query, caller, origin }, context) => {
  mayWriteModels(caller, context);
  const model = newModel(body, caller, context);
  const { stretch } = await appendChange(context.db, origin, async (tx, changed) => {
    await lockModels(tx);
    const others = (await allModels(tx)).map((row) => storedModelFrom(row.model));
    if (others.some(({ id }) => id === model.model_id)) {
      throw refuseModel(`Model with id=${model.model_id} already exists in db. Change it with /model/update.`);
    }
    validateModel(storedModelFrom(model), others, { file: context.config(), envValue: context.envValue });
    if (query.dry_run) return;
    await insertModel(tx, model, 1);
    changed({ kind: 'model', objectId: model.model_id, objectRev: 1, op: 'created', before: null, after: model });
  });
  if (stretch !== null) await publish(stretch, context);
  return answerWrite(model, 'created', stretch);
});

function newModel(body: NewModelBody, caller: Caller, { clock, randomBytes, settings }: ControlContext): ModelRecord {
  if (body.model_name === '') throw refuseModel('model_name must not be empty.');
  const nowMs = clock.nowMs();
  const modelId = modelIdFrom(body.model_info) ?? uuidV7(nowMs, randomBytes);
  const at = new Date(nowMs).toISOString();
  return {
    model_id: modelId,
    model_name: body.model_name,
    litellm_params: sealModelSecrets(
      readLitellmParams(body.litellm_params),
      {},
      {
        modelId,
        sealingKey: settings.sealingKey,
      },
    ),
    model_info: { ...readModelInfo(body.model_info ?? {}), id: modelId },
    created_at: at,
    created_by: caller.userId,
    updated_at: at,
    updated_by: caller.userId,
  };
}
