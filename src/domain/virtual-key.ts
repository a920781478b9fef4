import type { BudgetTerms } from './budget-terms.ts';
import type { Limits } from './limit.ts';

/**
 * A virtual key. `VirtualKey` is the whole object as the control plane stores it and as `/key/info` shows it;
 * `Principal` is the part that a gateway process needs to decide about a request.
 */

/** Lower-case hex SHA-256 of the whole key string, as LiteLLM stores it. */
export type KeyDigest = string & { readonly __brand: 'key-digest' };

export type JsonValue = null | boolean | number | string | JsonValue[] | { [name: string]: JsonValue };
export type JsonObject = { [name: string]: JsonValue };

/** How old the knowledge may be that a key is admitted by; see `fence.ts`. */
export type FenceClass = 'normal' | 'strict';

/** Every field of the contract's section 3 that a key has, and two of ours (`allowed_regions`, `fence`). Timestamps are ISO 8601 UTC; money is dollars as given. */
export interface VirtualKey {
  readonly token: KeyDigest;
  /** `sk-...` and the last four characters. */
  readonly key_name: string;
  readonly key_alias: string | null;
  readonly expires: string | null;
  readonly models: readonly string[];
  readonly aliases: JsonObject;
  readonly config: JsonObject;
  readonly user_id: string | null;
  readonly team_id: string | null;
  readonly organization_id: string | null;
  readonly project_id: string | null;
  readonly agent_id: string | null;
  readonly max_budget: number | null;
  readonly soft_budget: number | null;
  readonly budget_duration: string | null;
  readonly budget_reset_at: string | null;
  readonly budget_id: string | null;
  readonly budget_limits: JsonValue;
  readonly model_max_budget: JsonObject;
  readonly budget_fallbacks: JsonValue;
  readonly max_parallel_requests: number | null;
  readonly rpm_limit: number | null;
  readonly tpm_limit: number | null;
  readonly permissions: JsonObject;
  readonly allowed_routes: readonly string[];
  readonly allowed_cache_controls: readonly string[];
  readonly policies: readonly string[];
  readonly access_group_ids: readonly string[];
  readonly object_permission: JsonValue;
  readonly router_settings: JsonValue;
  readonly metadata: JsonObject;
  readonly blocked: boolean;
  readonly auto_rotate: boolean;
  readonly rotation_interval: string | null;
  /** Regions whose instances serve the key; empty: all. */
  readonly allowed_regions: readonly string[];
  readonly fence: FenceClass;
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}

/** What a gateway process knows about a key. Built from a `VirtualKey` by `principalFromKey`; travels in the feed. */
export interface Principal {
  readonly token: KeyDigest;
  readonly keyName: string;
  readonly keyAlias: string | null;
  /** Milliseconds since the epoch; null = never. */
  readonly expiresAtMs: number | null;
  readonly blocked: boolean;
  /** Empty = every model. */
  readonly models: readonly string[];
  /** Requested name to model group. */
  readonly aliases: Readonly<Record<string, string>>;
  readonly allowedRoutes: readonly string[];
  readonly userId: string | null;
  readonly teamId: string | null;
  readonly organizationId: string | null;
  readonly projectId: string | null;
  readonly maxBudget: number | null;
  readonly rpmLimit: number | null;
  readonly tpmLimit: number | null;
  readonly maxParallelRequests: number | null;
  readonly tags: readonly string[];
  /** Empty = every region. */
  readonly allowedRegions: readonly string[];
  readonly fence: FenceClass;
  /** What `rpmLimit`, `tpmLimit` and `maxParallelRequests` do not say, as far as it is not the default; absent when there is nothing. */
  readonly limits?: LimitExtras;
  /** All budgets of the key; absent when `maxBudget` says all there is to say (`principal-terms.ts`). */
  readonly budgets?: readonly BudgetTerms[];
  /** Budget object whose terms and limits fill in what the key has none of; absent when there is none. */
  readonly budgetId?: string;
  /** Fields of this principal that must be understood, or it is refused; absent when there are none (`critical-fields.ts`). */
  readonly crit?: readonly string[];
}

export type LimitExtras = Partial<Pick<Limits, 'modelRpm' | 'modelTpm' | 'rpmType' | 'tpmType' | 'scope'>>;
