import type { JsonObject, JsonValue } from './virtual-key.ts';

/** Budget and limits under a name, for everything that has a `budget_id`. Timestamps are ISO 8601 UTC; money is dollars as given. */
export interface BudgetObject {
  readonly budget_id: string;
  readonly max_budget: number | null;
  readonly soft_budget: number | null;
  readonly budget_duration: string | null;
  readonly budget_reset_at: string | null;
  readonly budget_limits: JsonValue;
  readonly model_max_budget: JsonObject;
  readonly max_parallel_requests: number | null;
  readonly rpm_limit: number | null;
  readonly tpm_limit: number | null;
  readonly allowed_models: readonly string[];
  readonly metadata: JsonObject;
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}
