import { blockModelRoute, unblockModelRoute } from '../../../contract/routes/models.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput, type HandlerResult } from '../handler.ts';
import { mayWriteModels } from './may-write-models.ts';
import { unknownModel } from './unknown-model.ts';
import { changeModel } from './update-model.ts';

export const blockModelEndpoint = endpoint(blockModelRoute, (input, context) => setBlocked(true, input, context));
export const unblockModelEndpoint = endpoint(unblockModelRoute, (input, context) => setBlocked(false, input, context));

type Input = HandlerInput<{ readonly dry_run: boolean }, { readonly model_id: string }>;

async function setBlocked(blocked: boolean, input: Input, context: ControlContext): Promise<HandlerResult> {
  mayWriteModels(input.caller, context);
  const id = input.body.model_id;
  const query = { dry_run: input.query.dry_run, replace: false };
  return changeModel(id, { ...input, query, body: { model_info: { blocked } } }, context, () =>
    unknownModel(id, context),
  );
}
