import { z } from 'zod';
import { bool, text } from './lax.ts';

/**
 * `/spend/logs` has no pages. It answers the newest rows, at most this many; `x-claviger-truncated: true` on the answer says that there are
 * more, and narrower dates reach them.
 */
export const SPEND_LOG_ROWS_MAX = 10_000;

export const spendLogsQuery = z.object({
  api_key: text.optional(),
  user_id: text.optional(),
  request_id: text.optional(),
  start_date: text.optional(),
  end_date: text.optional(),
  summarize: bool.default(true),
});

export type SpendLogsQuery = z.output<typeof spendLogsQuery>;

const time = z.iso.datetime();

export const spendLogRow = z.object({
  request_id: z.string(),
  call_type: z.string(),
  api_key: z.string().describe('Hash of the key.'),
  spend: z.number().describe('Dollars, exact to the nano-dollar.'),
  total_tokens: z.int(),
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  startTime: time,
  endTime: time,
  request_duration_ms: z.int(),
  completionStartTime: time.nullable(),
  model: z.string(),
  model_id: z.string(),
  model_group: z.string(),
  custom_llm_provider: z.string(),
  api_base: z.string(),
  user: z.string(),
  metadata: z.record(z.string(), z.unknown()),
  cache_hit: z.string(),
  cache_key: z.string(),
  request_tags: z.array(z.string()),
  team_id: z.string().nullable(),
  organization_id: z.string().nullable(),
  end_user: z.string().nullable(),
  requester_ip_address: z.string().nullable(),
  messages: z.record(z.string(), z.unknown()),
  response: z.record(z.string(), z.unknown()),
  session_id: z.string().nullable(),
  status: z.string(),
  mcp_namespaced_tool_name: z.string().nullable(),
  agent_id: z.string().nullable(),
  proxy_server_request: z.record(z.string(), z.unknown()),
});

export type SpendLogRow = z.output<typeof spendLogRow>;

/** `{startTime, spend, users, models, <key hash>: spend}` per day. */
export const spendDay = z.looseObject({
  startTime: z.string(),
  spend: z.number(),
  users: z.record(z.string(), z.number()),
  models: z.record(z.string(), z.number()),
});
