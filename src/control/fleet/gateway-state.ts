/**
 * live: heard of lately. draining: so, and it says that it ends. suspect: three reports are missing, its connection broke or is silent, or its
 * control process is gone. lost: nothing for a long time. left: it said goodbye, and nothing runs under that session any more.
 */
export type GatewayState = 'live' | 'draining' | 'suspect' | 'lost' | 'left';

/** From the best to the worst; of several gateway processes the worst counts. */
export const GATEWAY_STATES: readonly GatewayState[] = ['live', 'draining', 'suspect', 'lost', 'left'];

/** A control process writes what it heard this often; its rows are that old when all is well. */
export const REPORT_INTERVAL_MS = 10_000;
/** Reports that may be missing before a gateway process is suspect. */
export const REPORTS_MISSED_MAX = 3;
/** After this nobody waits for it to come back. */
export const LOST_AFTER_MS = 90_000;

/** A control process says in the database that it is there at least this often, whatever it has to report. */
export const PRESENCE_INTERVAL_MS = 2_000;
/** From then on nobody answers for what a control process has reported. */
export const PRESENCE_AGE_MAX_MS = 2.5 * PRESENCE_INTERVAL_MS;

export interface HeartbeatFacts {
  /** Since it was heard of; for a row of another control process as old as that row. */
  readonly heardAgeMs: number;
  /** It is heard of this often. */
  readonly heardEveryMs: number;
  /** Since its control process said that it is there; 0 for the one that is asked, and where nothing is known of it. */
  readonly reporterAgeMs: number;
  readonly leftReason: string | null;
  readonly saysDraining: boolean;
}

/**
 * Decided by how long ago it was heard of, whatever it said last: a process that died can not report that. Its own word only makes it less
 * available than its age does.
 */
export function gatewayState(facts: HeartbeatFacts): GatewayState {
  const { heardAgeMs, heardEveryMs, reporterAgeMs, leftReason, saysDraining } = facts;
  if (leftReason === 'drained') return 'left';
  if (heardAgeMs >= LOST_AFTER_MS) return 'lost';
  const isSilent = heardAgeMs >= REPORTS_MISSED_MAX * heardEveryMs;
  if (leftReason !== null || isSilent || reporterAgeMs >= PRESENCE_AGE_MAX_MS) return 'suspect';
  return saysDraining ? 'draining' : 'live';
}

export function worstState(states: readonly GatewayState[]): GatewayState {
  const present = states.filter((state) => state !== 'left');
  if (present.length === 0) return 'left';
  return present.reduce((worst, state) =>
    GATEWAY_STATES.indexOf(state) > GATEWAY_STATES.indexOf(worst) ? state : worst,
  );
}
