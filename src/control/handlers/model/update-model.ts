import { updateModelRoute } from '../../../contract/routes/models.ts';
import type { UpdateModelBody } from '../../../contract/schemas/model-request.ts';
import { canonicalJson } from '../../../domain/json-fields.ts';
import { type ModelRecord, storedModelFrom } from '../../../domain/stored-model.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import { allModels, lockModels, updateModel } from '../../../storage/repositories/models.ts';
import { appendChange } from '../../config/append-change.ts';
import { sealModelSecrets } from '../../config/model-secrets.ts';
import { publish } from '../../config/publish.ts';
import { modelIdFrom, readLitellmParams, readModelInfo } from '../../config/read-model.ts';
import { refuseModel } from '../../config/refuse-model.ts';
import { validateModel } from '../../config/validate-models.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput, type HandlerResult } from '../handler.ts';
import { answerWrite } from './answer-write.ts';
import { mayWriteModels } from './may-write-models.ts';
import { unknownModel } from './unknown-model.ts';

export const updateModelEndpoint = endpoint(updateModelRoute, async (input, context) => {
  mayWriteModels(input.caller, context);
  const id = modelIdFrom(input.body.model_info);
  if (id === null) throw refuseModel('model_info.id is missing: it says which model is to be changed.');
  return changeModel(id, input, context, () => unknownModel(id, context));
});

type WriteInput = Pick<HandlerInput<unknown, UpdateModelBody>, 'body' | 'caller' | 'origin'> & {
  readonly query: { readonly dry_run: boolean; readonly replace: boolean };
};

/** What leaves everything as it is makes no revision. */
export async function changeModel(
  id: string,
  { body, query, caller, origin }: WriteInput,
  context: ControlContext,
  notFound: () => Error,
): Promise<HandlerResult> {
  const { db, clock, settings } = context;
  const { value, stretch } = await appendChange(db, origin, async (tx, changed) => {
    await lockModels(tx);
    const rows = await allModels(tx);
    const stored = rows.find(({ model }) => model.model_id === id);
    if (stored === undefined) throw notFound();
    const before = stored.model;
    const next = withFields(before, body, query.replace, settings.sealingKey);
    if (canonicalJson(contentOf(next)) === canonicalJson(contentOf(before))) {
      return { model: before, outcome: 'unchanged' as const };
    }
    const after = { ...next, updated_at: new Date(clock.nowMs()).toISOString(), updated_by: caller.userId };
    const others = rows.filter((row) => row !== stored).map((row) => storedModelFrom(row.model));
    validateModel(storedModelFrom(after), others, { file: context.config(), envValue: context.envValue });
    if (!query.dry_run) {
      const objectRev = stored.objectRev + 1;
      await updateModel(tx, after, objectRev);
      changed({ kind: 'model', objectId: id, objectRev, op: 'updated', before, after });
    }
    return { model: after, outcome: 'updated' as const };
  });
  if (stretch !== null) await publish(stretch, context);
  return answerWrite(value.model, value.outcome, stretch);
}

function withFields(before: ModelRecord, body: UpdateModelBody, replace: boolean, sealingKey: string): ModelRecord {
  if (body.model_name === '') throw refuseModel('model_name must not be empty.');
  const params = readLitellmParams(body.litellm_params ?? {});
  const info = readModelInfo(body.model_info ?? {});
  const modelId = before.model_id;
  return {
    ...before,
    model_name: body.model_name ?? before.model_name,
    litellm_params: sealModelSecrets(
      replace ? params : { ...before.litellm_params, ...params },
      before.litellm_params,
      {
        modelId,
        sealingKey,
      },
    ),
    model_info: { ...(replace ? { ...blockedOf(before), ...info } : { ...before.model_info, ...info }), id: modelId },
  };
}

/** Whoever blocked it did not mean until the next time that a file is applied. */
function blockedOf({ model_info }: ModelRecord): JsonObject {
  return model_info.blocked === undefined ? {} : { blocked: model_info.blocked };
}

function contentOf({ litellm_params, model_info, model_name }: ModelRecord): JsonObject {
  return { litellm_params, model_info, model_name };
}
