import type { RouteDefinition } from '../define-route.ts';
import * as keys from './keys.ts';
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
  spendLogsRoute,
];
