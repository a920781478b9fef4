import type { Pricing } from './pricing.ts';
import type { JsonObject } from './virtual-key.ts';

export type { Pricing } from './pricing.ts';

/** `rpm`, `tpm` and `max_parallel_requests` of a deployment, and what it gives each key that has no limit for the model; null = none. */
export interface DeploymentLimits {
  readonly rpm: number | null;
  readonly tpm: number | null;
  readonly maxParallelRequests: number | null;
  readonly keyRpm: number | null;
  readonly keyTpm: number | null;
}

/** One `model_list` entry, resolved: references replaced, provider known, prices found. */
export interface Deployment {
  /** `model_info.id`, or a hash of the parameters. Returned as `x-litellm-model-id`. */
  readonly id: string;
  /** `model_name`: the public name of the group; may be a wildcard. */
  readonly modelGroup: string;
  /** Provider prefix, e.g. `openai`, `groq`, `fake`. */
  readonly provider: string;
  /** Name in error texts, as LiteLLM spells it: the `OpenAI` of `OpenAIException`. */
  readonly providerName: string;
  /** Whether the provider takes `stream_options.include_usage`; it is then always asked for usage. */
  readonly takesStreamOptions: boolean;
  /** Model name sent upstream, prefix removed; for a wildcard entry it holds `*`. */
  readonly model: string;
  /** `litellm_params.model` as written. */
  readonly litellmModel: string;
  /** Base URL without trailing slash, e.g. `https://api.openai.com/v1`. */
  readonly apiBase: string;
  readonly apiKey: string | null;
  readonly organization: string | null;
  readonly weight: number;
  /** Lowest first. */
  readonly order: number;
  /** Null: the router default. */
  readonly timeoutMs: number | null;
  readonly streamTimeoutMs: number | null;
  readonly extraHeaders: Readonly<Record<string, string>>;
  /** Default body fields for each call (`litellm_params.<anything>`), which the client may override. */
  readonly defaultBody: JsonObject;
  /**
   * Null: no price is known. A call then costs 0, unless the provider says what it cost or the name in its answer has a price; budgets reserve
   * `unpriced_reservation_usd` for it. A model that is free says so with zeros, which is not null.
   */
  readonly pricing: Pricing | null;
  readonly sslVerify: boolean;
  /** PEM files of a client certificate, `litellm_params.ssl_certificate` / `ssl_key`. */
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
  readonly modelInfo: JsonObject;
  readonly mode: string;
  /** Absent: none. */
  readonly limits?: DeploymentLimits;
}
