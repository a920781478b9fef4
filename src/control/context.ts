import type { ConfigSource } from '../domain/config-source.ts';
import type { PriceSource } from '../domain/configuration.ts';
import type { CostMap } from '../domain/cost-map.ts';
import type { Log } from '../observe/log.ts';
import type { Settings } from '../settings/settings.ts';
import type { Database } from '../storage/db.ts';
import type { StaleReads } from '../storage/stale-reads.ts';
import type { Clock } from '../util/clock.ts';
import type { RandomBytes } from '../util/uuid-v7.ts';
import type { ChangeTail } from './fleet/change-tail.ts';
import type { FleetEvents } from './fleet/fleet-events.ts';
import type { FleetReporter } from './fleet/fleet-report.ts';
import type { EnrolledInstances } from './fleet/join/enrolled-instances.ts';
import type { ReadFleet } from './fleet/read-fleet.ts';
import type { Receipts } from './fleet/receipt.ts';
import type { Registry } from './fleet/registry.ts';
import type { ControlMetrics } from './metrics.ts';

/** What the handlers of the control plane work with; built once, in the composition root of the process. */
export interface ControlContext {
  readonly settings: Pick<
    Settings,
    | 'bodyBytesMax'
    | 'flags'
    | 'masterKey'
    | 'numWorkers'
    | 'region'
    | 'sealingKey'
    | 'serverRootPath'
    | 'storeModelInDb'
  >;
  /** The file of this instance as last loaded; changes with a reload. */
  readonly config: () => ConfigSource;
  /** The environment of this instance, to validate models with. */
  readonly envValue: (name: string) => string | undefined;
  /** Of models that have no price of their own. */
  readonly prices: PriceSource;
  /** All that is known of prices, in LiteLLM's form. */
  readonly costMap: () => CostMap;
  readonly db: Database;
  /** For lists and reports that may be a little old. */
  readonly staleReads: StaleReads;
  /** The secret of the check in generated keys; null until the database has been opened. */
  readonly fleetKey: () => Buffer | null;
  readonly tail: ChangeTail;
  readonly registry: Registry;
  readonly reporter: FleetReporter;
  readonly readFleet: ReadFleet;
  readonly receipts: Receipts;
  readonly fleetEvents: FleetEvents;
  /** Joined workers. */
  readonly enrolled: EnrolledInstances;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly versions: { readonly claviger: string; readonly litellm: string };
  readonly metrics: ControlMetrics;
  readonly log: Log;
}
