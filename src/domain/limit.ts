/** Limits on a rate, as keys, users, teams and others have them; `null` = none. What counts them is in `src/gateway/limits`. */

/**
 * How a limit of a key stands to that of its team. guaranteed_throughput: the control plane saw to it that the sum over the keys fits.
 * best_effort_throughput: each is enforced by itself. dynamic: enforced only while deployments of the model fail.
 */
export type LimitType = 'guaranteed_throughput' | 'best_effort_throughput' | 'dynamic';

/** region (default): exact per region with Redis, else per instance. global: one limit over all regions. */
export type LimitScope = 'region' | 'global';

export interface Limits {
  /** Requests in any 60 seconds. */
  readonly rpm: number | null;
  /** Tokens in any 60 seconds. */
  readonly tpm: number | null;
  readonly maxParallelRequests: number | null;
  /** By model group; they count calls to that group only, beside the others. */
  readonly modelRpm: Readonly<Record<string, number>>;
  readonly modelTpm: Readonly<Record<string, number>>;
  readonly rpmType: LimitType;
  readonly tpmType: LimitType;
  readonly scope: LimitScope;
}

export const NO_LIMITS: Limits = Object.freeze({
  rpm: null,
  tpm: null,
  maxParallelRequests: null,
  modelRpm: Object.freeze({}),
  modelTpm: Object.freeze({}),
  rpmType: 'best_effort_throughput',
  tpmType: 'best_effort_throughput',
  scope: 'region',
});
