import { setTimeout as delay } from 'node:timers/promises';

export interface LeaveTakingOptions {
  /** How long balancers get to see that readiness is off while calls are still served; 0: stop listening at once. */
  readonly noticeMs: number;
  /** Calls that are being served. */
  readonly openCalls: () => number;
  /** From here on calls are refused. */
  readonly onNoticeOver: () => void;
  /** The end of all patience. */
  readonly signal: AbortSignal;
}

const LOOK_INTERVAL_MS = 50;

/**
 * What lies between the wish to end and the end of listening. As long as the port is open a probe gets its answer: "alive" until the last
 * stream has finished, so that nobody kills a process that is only finishing, and "not ready" from the first moment. A refused
 * connection could say neither.
 */
export async function takeLeave({ noticeMs, openCalls, onNoticeOver, signal }: LeaveTakingOptions): Promise<void> {
  if (noticeMs === 0) return;
  try {
    await delay(noticeMs, undefined, { signal });
    onNoticeOver();
    while (openCalls() > 0) await delay(LOOK_INTERVAL_MS, undefined, { signal });
  } catch {
    onNoticeOver();
  }
}
