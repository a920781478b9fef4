import { modelInfoRoute, modelInfoV1Route } from '../../../contract/routes/models.ts';
import { isProxyAdmin } from '../../auth/caller.ts';
import { refuseModel } from '../../config/refuse-model.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint, type HandlerInput, type HandlerResult } from '../handler.ts';
import { presentListedModel } from './present-model.ts';
import { visibleModels } from './visible-models.ts';

export const modelInfoEndpoint = endpoint(modelInfoRoute, modelInfo);
export const modelInfoV1Endpoint = endpoint(modelInfoV1Route, modelInfo);

type Input = HandlerInput<{ readonly litellm_model_id?: string | undefined }, null>;

async function modelInfo({ query, caller }: Input, context: ControlContext): Promise<HandlerResult> {
  const id = query.litellm_model_id;
  const visible = await visibleModels(caller, context);
  const chosen = id === undefined ? visible : visible.filter((model) => model.id === id);
  if (id !== undefined && chosen.length === 0) throw refuseModel(`Model id = ${id} not found on litellm proxy`);
  const isAdmin = isProxyAdmin(caller);
  return { json: { data: chosen.map((model) => presentListedModel(model, isAdmin)) } };
}
