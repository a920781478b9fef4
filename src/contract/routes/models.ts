import { defineRoute } from '../define-route.ts';
import {
  blockModelBody,
  deleteModelBody,
  deleteModelQuery,
  modelGroupInfoQuery,
  modelInfoQuery,
  modelPageQuery,
  newModelBody,
  newModelQuery,
  patchModelQuery,
  updateModelBody,
  updateModelQuery,
} from '../schemas/model-request.ts';
import { deletedModel, modelGroups, modelList, modelPage, modelRow } from '../schemas/model-response.ts';

const tag = 'model management';
const writeErrors = {
  400: 'It can not be used as it is written; the text says what is wrong.',
  403: 'The key is not an admin.',
  500: 'STORE_MODEL_IN_DB is off.',
};

export const newModelRoute = defineRoute({
  method: 'POST',
  path: '/model/new',
  operationId: 'new_model',
  tag,
  summary: 'Add a model to the whole fleet',
  description:
    'It is compiled with everything that is there before it is stored. `model_info.regions` names the regions that may use it.',
  access: 'model writer',
  query: newModelQuery,
  body: newModelBody,
  response: modelRow,
  errors: writeErrors,
});

export const updateModelRoute = defineRoute({
  method: 'POST',
  path: '/model/update',
  operationId: 'update_model',
  tag,
  summary: 'Change a model of the fleet',
  description:
    'By `model_info.id`. Fields that are left out or null stay as they are, and so does a secret that is sent back as it was shown.',
  access: 'model writer',
  query: updateModelQuery,
  body: updateModelBody,
  response: modelRow,
  errors: writeErrors,
});

export const patchModelRoute = defineRoute({
  method: 'PATCH',
  path: '/model/{model_id}/update',
  operationId: 'patch_model',
  tag,
  summary: 'Change some fields of a model of the fleet',
  description: 'As `/model/update`, with the id in the path.',
  access: 'model writer',
  query: patchModelQuery,
  body: updateModelBody,
  response: modelRow,
  errors: { ...writeErrors, 404: 'There is no such model in the database.' },
});

export const deleteModelRoute = defineRoute({
  method: 'POST',
  path: '/model/delete',
  operationId: 'delete_model',
  tag,
  summary: 'Delete a model of the fleet',
  description: 'Models of a configuration file are not in the database and can not be deleted here.',
  access: 'model writer',
  query: deleteModelQuery,
  body: deleteModelBody,
  response: deletedModel,
  errors: { ...writeErrors, 400: 'There is no such model in the database.' },
});

const blocking = {
  method: 'POST',
  tag,
  access: 'model writer',
  query: newModelQuery,
  body: blockModelBody,
  response: modelRow,
  errors: { ...writeErrors, 400: 'There is no such model in the database.' },
} as const;

export const blockModelRoute = defineRoute({
  ...blocking,
  path: '/model/block',
  operationId: 'block_model',
  summary: 'Have the fleet not use a model, and keep it',
  description:
    'Calls go to the other models of its group; without one, the group is unknown. Applying a file leaves it blocked.',
});

export const unblockModelRoute = defineRoute({
  ...blocking,
  path: '/model/unblock',
  operationId: 'unblock_model',
  summary: 'Have the fleet use a blocked model again',
  description: 'It is compiled with everything that is there before, as when it is written.',
});

const info = {
  method: 'GET',
  tag,
  summary: 'Show models',
  description:
    'Those of the configuration file of this instance and those of the database; `db_model` tells which. A key that is not an admin sees ' +
    'what it may use, without addresses.',
  access: 'any key',
  query: modelInfoQuery,
  body: null,
  response: modelList,
  errors: { 400: 'There is no such model.' },
} as const;

export const modelInfoRoute = defineRoute({ ...info, path: '/model/info', operationId: 'model_info' });
export const modelInfoV1Route = defineRoute({ ...info, path: '/v1/model/info', operationId: 'model_info_v1' });

export const modelPageRoute = defineRoute({
  method: 'GET',
  path: '/v2/model/info',
  operationId: 'model_info_v2',
  tag,
  summary: 'Show models, page by page',
  description: 'As `/model/info`, with filters and an order.',
  access: 'any key',
  query: modelPageQuery,
  body: null,
  response: modelPage,
  errors: { 400: 'Unknown sort order.' },
});

export const modelGroupInfoRoute = defineRoute({
  method: 'GET',
  path: '/model_group/info',
  operationId: 'model_group_info',
  tag,
  summary: 'Show groups of models',
  description:
    'What clients ask for by one name, with what its deployments have in common. A key that is not an admin sees what it may use.',
  access: 'any key',
  query: modelGroupInfoQuery,
  body: null,
  response: modelGroups,
  errors: {},
});
