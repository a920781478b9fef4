import { drainWorkerEndpoint, removeWorkerEndpoint, resyncWorkerEndpoint } from './fleet/command-worker.ts';
import { fleetChangesEndpoint } from './fleet/list-changes.ts';
import { fleetRegionsEndpoint, fleetWorkersEndpoint } from './fleet/list-workers.ts';
import { rollBackEndpoint } from './fleet/roll-back-change.ts';
import { fleetChangeEndpoint } from './fleet/show-change.ts';
import { fleetEventsEndpoint } from './fleet/watch-fleet.ts';
import type { Endpoint } from './handler.ts';
import { makeJoinTokenEndpoint } from './join/make-join-token.ts';
import { revokeWorkerEndpoint } from './join/revoke-worker.ts';
import { blockKeyEndpoint, unblockKeyEndpoint } from './key/block-key.ts';
import { deleteKeyEndpoint } from './key/delete-key.ts';
import { generateKeyEndpoint } from './key/generate-key.ts';
import { keyInfoEndpoint } from './key/key-info.ts';
import { listKeysEndpoint } from './key/list-keys.ts';
import { updateKeyEndpoint } from './key/update-key.ts';
import { deleteModelEndpoint } from './model/delete-model.ts';
import { listModelsEndpoint } from './model/list-models.ts';
import { modelInfoEndpoint, modelInfoV1Endpoint } from './model/model-info.ts';
import { newModelEndpoint } from './model/new-model.ts';
import { patchModelEndpoint } from './model/patch-model.ts';
import { updateModelEndpoint } from './model/update-model.ts';
import { spendLogsEndpoint } from './spend/spend-logs.ts';

/** Everything that the management API serves. */
export const ENDPOINTS: readonly Endpoint[] = [
  generateKeyEndpoint,
  updateKeyEndpoint,
  deleteKeyEndpoint,
  blockKeyEndpoint,
  unblockKeyEndpoint,
  keyInfoEndpoint,
  listKeysEndpoint,
  newModelEndpoint,
  updateModelEndpoint,
  patchModelEndpoint,
  deleteModelEndpoint,
  modelInfoEndpoint,
  modelInfoV1Endpoint,
  listModelsEndpoint,
  makeJoinTokenEndpoint,
  revokeWorkerEndpoint,
  spendLogsEndpoint,
  fleetWorkersEndpoint,
  fleetRegionsEndpoint,
  fleetChangesEndpoint,
  fleetChangeEndpoint,
  rollBackEndpoint,
  fleetEventsEndpoint,
  drainWorkerEndpoint,
  resyncWorkerEndpoint,
  removeWorkerEndpoint,
];
