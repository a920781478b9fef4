import { z } from 'zod';
import { bool, int, text, texts } from './lax.ts';

export const keyInfoQuery = z.object({ key: text.optional() });

export const keyListQuery = z.object({
  page: int.pipe(z.number().min(1)).default(1),
  size: int.pipe(z.number().min(1).max(100)).default(10),
  user_id: text.optional(),
  team_id: text.optional(),
  organization_id: text.optional(),
  project_id: text.optional(),
  agent_id: text.optional(),
  access_group_id: text.optional(),
  key_hash: text.optional(),
  key_alias: text.optional(),
  substring_matching: bool.default(false),
  return_full_object: bool.default(false),
  include_team_keys: bool.default(false),
  include_created_by_keys: bool.default(false),
  expand: texts.default([]),
  // These are checked by the handler, because LiteLLM answers 400 and not 422 when they are wrong.
  status: text.optional(),
  expires: text.optional(),
  sort_by: text.default('created_at'),
  sort_order: text.default('desc'),
});

export type KeyListQuery = z.output<typeof keyListQuery>;
