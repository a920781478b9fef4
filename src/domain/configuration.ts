import type { Deployment, Pricing } from './deployment.ts';
import type { ModelAccessTarget } from './model-access.ts';
import type { Nano } from './money.ts';

/** All deployments that share one `model_name`. */
export interface ModelGroup {
  /** `model_name` as written; for a wildcard group it ends in or contains `*`. */
  readonly name: string;
  readonly deployments: readonly Deployment[];
  /** `model_info.access_groups` of its deployments. */
  readonly accessGroups: readonly string[];
}

/** Finds the price of a model; null when it is not known. Synchronous, and cheap enough for each new name. */
export interface PriceSource {
  /** `baseModel` is `model_info.base_model`: the name in the price list when `model` is a name of one's own. */
  find(provider: string, model: string, baseModel: string | null): Pricing | null;
}

/** A name that a client asks for, with the deployments that serve it: wildcards filled in, prices found. */
export interface ResolvedGroup extends ModelAccessTarget {
  /** The name asked for; of a wildcard group it is the concrete one. */
  readonly name: string;
  readonly accessGroups: readonly string[];
  readonly impliedNames: readonly string[];
  /** `name` is as configured: the same, or the pattern that matched. `model` of each deployment holds no `*`. */
  readonly group: ModelGroup;
  /** Model name to send to this deployment of the group. */
  readonly upstreamName: (deployment: Deployment) => string;
}

/** What a gateway process routes by: `config.yaml` and the database's revision, compiled. Immutable; swapped whole. */
export interface Configuration {
  /** Groups with a plain name, by name. */
  readonly groups: ReadonlyMap<string, ModelGroup>;
  /** Groups with a `*` in the name, most specific (longest literal part) first. */
  readonly wildcards: readonly ModelGroup[];
  /** `router_settings.model_group_alias`: requested name to group name. */
  readonly groupAliases: ReadonlyMap<string, string>;
  /** Names of `/models` that are hidden (`hidden: true` aliases). */
  readonly hiddenAliases: ReadonlySet<string>;
  readonly router: {
    /** Further deployments of a group tried after a retriable failure; each deployment at most once per call. */
    readonly numRetries: number;
    readonly timeoutMs: number;
    readonly streamTimeoutMs: number;
  };
  readonly general: {
    /** Lower-case; replaces every other place of a credential when set. */
    readonly keyHeaderName: string | null;
    readonly requireAuthForMetrics: boolean;
    readonly publicReadinessDetails: boolean;
    readonly includeCallIdInErrorBody: boolean;
    readonly includeCostInStreamingUsage: boolean;
    readonly alwaysIncludeStreamUsage: boolean;
    /** Null: the instance's `bodyBytesMax`. */
    readonly requestBytesMax: number | null;
    readonly useXForwardedFor: boolean;
    /** Tokens that tpm limits count. */
    readonly tokenRateLimitType: 'total' | 'input' | 'output';
    /** Headers that may name the customer of a call, in order, lower case. */
    readonly customerHeaders: readonly string[];
    /** `litellm_settings.max_end_user_budget_id`: budget object of customers that have no budget; null: none. */
    readonly defaultCustomerBudgetId: string | null;
    /** What a budget reserves for a call to a deployment without a price (`unpriced_reservation_usd`). */
    readonly unpricedReservationNano: Nano;
    /** `confirmed_price_changes`: models of the price list whose price may jump. */
    readonly confirmedPriceChanges: ReadonlySet<string> | 'all';
  };
  /** The group behind a name, or null; `resolveGroup` calls it. Group aliases are not applied. */
  readonly resolve: (name: string) => ResolvedGroup | null;
  /**
   * Prices of a deployment that has none, by the name in its answer; null: that has none either. Cheap: it remembers what it was asked.
   */
  readonly priceOfAnswer: (deployment: Deployment, answeredModel: string) => Pricing | null;
  /** SHA-256 hex of the canonical source; goes up with the feed. */
  readonly hash: string;
}
