import { FRESHNESS_INTERVAL_MAX_MS } from '../../domain/fence.ts';
import type { ControlRow } from '../../storage/queries/fleet.ts';
import type { GatewayView } from './fleet-view.ts';
import type { GatewayState } from './gateway-state.ts';

/** What an instance depends on besides providers. */
export interface Dependencies {
  /** Null: a joined worker has none, and of one that has left nothing is known. */
  readonly database: Reachable | null;
  /** Null: it has a control process of its own. */
  readonly controlPlane: (Reachable & { readonly address: string | null }) | null;
  /** Null: it writes none. */
  readonly snapshotMirror: { readonly writtenAtMs: number | null; readonly failure: string | null } | null;
}

export interface Reachable {
  /** Null: it is there. */
  readonly awaySinceMs: number | null;
}

/** Every control process writes to its database more often than this, unless it can not. */
export const DATABASE_AWAY_AFTER_MS = 3 * FRESHNESS_INTERVAL_MAX_MS;

export interface DependencyFacts {
  readonly state: GatewayState;
  readonly gateways: readonly GatewayView[];
  readonly control: ControlRow | null;
  /** On the clock of the database. */
  readonly nowMs: number;
}

/** From when something was last done with it, as states are: who is cut off can not say so. */
export function dependenciesOf({ state, gateways, control, nowMs }: DependencyFacts): Dependencies {
  const joined = gateways.some(({ row }) => row.joined);
  return {
    database:
      joined || control === null || state === 'left'
        ? null
        : { awaySinceMs: nowMs - control.atMs >= DATABASE_AWAY_AFTER_MS ? control.atMs : null },
    controlPlane: joined ? controlPlaneOf(gateways) : null,
    snapshotMirror: mirrorOf(gateways, nowMs),
  };
}

/** Its pings come through the control plane. */
function controlPlaneOf(gateways: readonly GatewayView[]): Dependencies['controlPlane'] {
  const newest = gateways.reduce((best, one) => (one.heardAgeMs < best.heardAgeMs ? one : best));
  const away = newest.state === 'suspect' || newest.state === 'lost';
  return {
    awaySinceMs: away ? newest.row.heardAtMs : null,
    address: newest.stats.said?.dependencies?.controlPlane ?? null,
  };
}

/** One gateway process of an instance writes it. */
function mirrorOf(gateways: readonly GatewayView[], nowMs: number): Dependencies['snapshotMirror'] {
  for (const { heardAgeMs, stats } of gateways) {
    const mirror = stats.said?.dependencies?.mirror ?? null;
    if (mirror === null) continue;
    const { failure, writtenAgeMs } = mirror;
    return { writtenAtMs: writtenAgeMs === null ? null : nowMs - heardAgeMs - writtenAgeMs, failure };
  }
  return null;
}
