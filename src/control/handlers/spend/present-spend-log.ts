import type { SpendLogRow as Shown } from '../../../contract/schemas/spend.ts';
import { dollarsFromNano } from '../../../domain/money.ts';
import type { CostBreakdown } from '../../../domain/usage.ts';
import type { SpendLogRow } from '../../../storage/queries/spend-logs.ts';

/** A usage row under LiteLLM's column names; what it has no column for is in `metadata`. */
export function presentSpendLog(row: SpendLogRow): Shown {
  return {
    request_id: row.request_id,
    call_type: row.call_type,
    api_key: row.token,
    spend: dollarsFromNano(row.cost_nano),
    total_tokens: Number(row.total_tokens),
    prompt_tokens: Number(row.prompt_tokens),
    completion_tokens: Number(row.completion_tokens),
    startTime: row.started_at.toISOString(),
    endTime: row.ended_at.toISOString(),
    request_duration_ms: row.ended_at.getTime() - row.started_at.getTime(),
    completionStartTime: row.first_token_at?.toISOString() ?? null,
    model: row.model,
    model_id: row.model_id,
    model_group: row.model_group,
    custom_llm_provider: row.provider,
    api_base: row.api_base,
    user: row.user_id ?? '',
    metadata: {
      user_api_key: row.token,
      user_api_key_alias: row.key_alias,
      user_api_key_user_id: row.user_id,
      user_api_key_team_id: row.team_id,
      user_api_key_org_id: row.organization_id,
      litellm_call_id: row.call_id,
      provider_request_id: row.provider_id,
      answered_model: row.answered_model,
      status: row.status,
      http_status: row.http_status,
      error_code: row.error_code,
      stream: row.stream,
      region: row.region,
      usage_estimated: row.estimated,
      cost_breakdown: row.cost_breakdown === null ? null : inDollars(row.cost_breakdown),
      provider_cost: row.provider_cost_nano === null ? null : dollarsFromNano(row.provider_cost_nano),
      formula_cost: row.formula_cost_nano === null ? null : dollarsFromNano(row.formula_cost_nano),
      usage_extras: row.usage_extras,
      usage_object: {
        prompt_tokens: Number(row.prompt_tokens),
        completion_tokens: Number(row.completion_tokens),
        total_tokens: Number(row.total_tokens),
        prompt_tokens_details: {
          cached_tokens: Number(row.cached_tokens),
          cache_creation_tokens: Number(row.cache_write_tokens),
          audio_tokens: Number(row.audio_input_tokens),
        },
        completion_tokens_details: {
          reasoning_tokens: Number(row.reasoning_tokens),
          audio_tokens: Number(row.audio_output_tokens),
        },
      },
    },
    cache_hit: 'False',
    cache_key: 'Cache OFF',
    request_tags: row.tags,
    team_id: row.team_id,
    organization_id: row.organization_id,
    end_user: row.end_user,
    requester_ip_address: row.client_ip,
    messages: {},
    response: {},
    session_id: row.session_id,
    status: row.status,
    mcp_namespaced_tool_name: null,
    agent_id: null,
    proxy_server_request: {},
  };
}

function inDollars(breakdown: CostBreakdown): Record<string, number> {
  return Object.fromEntries(Object.entries(breakdown).map(([part, nano]) => [part, dollarsFromNano(nano)]));
}
