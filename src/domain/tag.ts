import type { JsonObject, JsonValue } from './virtual-key.ts';

/** A tag that requests carry. Budget and limits are those of its budget object. */
export interface Tag {
  readonly name: string;
  readonly description: string | null;
  /** Model groups or ids of deployments that it stands for in routing. */
  readonly models: readonly string[];
  readonly model_info: JsonValue;
  readonly budget_id: string | null;
  readonly metadata: JsonObject;
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}
