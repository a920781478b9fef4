/**
 * The fence: the age of knowledge at which a gateway process stops admitting a key, by class of the key. What the age is and why it is a
 * bound: docs/specs/fence.md. It is 24 hours for `normal` keys and 60 seconds for `strict` ones, or `CLAVIGER_FENCE` for all.
 */
import type { FenceClass } from './virtual-key.ts';

export type FenceTimes = Readonly<Record<FenceClass, number>>;

/** Milliseconds. */
export const FENCE_MS: FenceTimes = { normal: 24 * 60 * 60_000, strict: 60_000 };

/** `forAllMs` is `CLAVIGER_FENCE`; null: each class has its own. */
export function fenceTimes(forAllMs: number | null): FenceTimes {
  return forAllMs === null ? FENCE_MS : { normal: forAllMs, strict: forAllMs };
}

export const FRESHNESS_INTERVAL_MIN_MS = 250;
export const FRESHNESS_INTERVAL_MAX_MS = 15_000;

/**
 * How often knowledge is dated again (heartbeat of a control process) and its age kept on disk (gateway process): a quarter of the shortest
 * fence, so that three in a row may be lost, within bounds for the disk and for the database.
 */
export function freshnessIntervalMs({ normal, strict }: FenceTimes): number {
  const quarter = Math.min(normal, strict) / 4;
  return Math.min(FRESHNESS_INTERVAL_MAX_MS, Math.max(FRESHNESS_INTERVAL_MIN_MS, quarter));
}
