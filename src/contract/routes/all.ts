import type { RouteDefinition } from '../define-route.ts';
import * as fleet from './fleet.ts';
import * as join from './join.ts';
import * as keys from './keys.ts';
import * as models from './models.ts';
import { spendLogsRoute } from './spend.ts';

/** Every management route that is served. */
export const MANAGEMENT_ROUTES: readonly RouteDefinition[] = [
  keys.generateKey,
  keys.updateKey,
  keys.deleteKey,
  keys.blockKey,
  keys.unblockKey,
  keys.keyInfoRoute,
  keys.listKeysRoute,
  models.newModelRoute,
  models.updateModelRoute,
  models.patchModelRoute,
  models.deleteModelRoute,
  models.modelInfoRoute,
  models.modelInfoV1Route,
  models.modelPageRoute,
  join.joinTokenRoute,
  join.revokeWorkerRoute,
  spendLogsRoute,
  fleet.fleetWorkersRoute,
  fleet.fleetRegionsRoute,
  fleet.fleetChangesRoute,
  fleet.fleetChangeRoute,
  fleet.rollBackRoute,
  fleet.fleetEventsRoute,
  fleet.drainWorkerRoute,
  fleet.resyncWorkerRoute,
  fleet.removeWorkerRoute,
];
