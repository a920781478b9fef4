import type { JsonObject, JsonValue } from './virtual-key.ts';

/** An end user: whom a call is made for, as the client names it. Budget and limits are those of its budget object. */
export interface Customer {
  readonly user_id: string;
  readonly alias: string | null;
  readonly blocked: boolean;
  /** `eu` or `us`: which deployments may answer. */
  readonly allowed_model_region: string | null;
  readonly default_model: string | null;
  readonly budget_id: string | null;
  readonly object_permission: JsonValue;
  readonly metadata: JsonObject;
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}
