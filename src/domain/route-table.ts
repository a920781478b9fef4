/**
 * The one table of routes: method, path, class, whether it is served now, and the route lists that a key's
 * `allowed_routes` may name. `route-class.ts` compiles it; docs/reference/compatibility.md is generated from it.
 *
 * Paths: `{name}` is one segment, `{name:path}` any run of segments, a final `/*` the path itself and everything below it.
 * Within one path prefix the more specific row comes first.
 */

/** What decides whether a route is reachable on an instance. */
export type RouteClass =
  | 'llm'
  | 'pass_through'
  | 'management'
  /** `/models` and `/v1/models`: neither switch closes them, because clients and console both need the list. */
  | 'info'
  | 'public'
  | 'health'
  | 'metrics'
  | 'ui';

/** Names that may stand in `allowed_routes` instead of a path. */
export type RouteList =
  | 'openai_routes'
  | 'anthropic_routes'
  | 'google_routes'
  | 'mcp_routes'
  | 'agent_routes'
  | 'llm_api_routes'
  | 'mapped_pass_through_routes'
  | 'info_routes'
  | 'management_routes'
  | 'spend_tracking_routes'
  | 'global_spend_tracking_routes'
  | 'public_routes'
  | 'self_managed_routes'
  | 'master_key_only_routes';

export interface RouteRow {
  readonly methods: readonly string[];
  readonly path: string;
  readonly class: RouteClass;
  readonly lists: readonly RouteList[];
  readonly served: boolean;
}

export function routeTable(): readonly RouteRow[] {
  return [
    ...otherLlmRoutes(),
    ...openAiRoutes(),
    ...infoRoutes(),
    ...healthAndPublicRoutes(),
    ...keyRoutes(),
    ...fleetRoutes(),
    ...joinRoutes(),
    ...userAndTeamRoutes(),
    ...modelRoutes(),
    ...spendRoutes(),
    ...settingsRoutes(),
    ...uiRoutes(),
    ...passThroughRoutes(),
  ];
}

/** `text`: methods joined by commas, then paths; all rows of one call share class and lists. */
function rows(
  routeClass: RouteClass,
  lists: readonly RouteList[],
  served: boolean,
  ...text: readonly string[]
): RouteRow[] {
  return text.flatMap((line) => {
    const [methods = '', ...paths] = line.split(' ');
    return paths.map((path) => ({ methods: methods.split(','), path, class: routeClass, lists, served }));
  });
}

/** Each row with and without `/v1`. */
function both(given: readonly RouteRow[]): RouteRow[] {
  return given.flatMap((row) => [row, { ...row, path: `/v1${row.path}` }]);
}

function openAiRoutes(): RouteRow[] {
  const openai: readonly RouteList[] = ['openai_routes', 'llm_api_routes'];
  return [
    ...both(rows('llm', openai, true, 'POST /chat/completions /completions /embeddings')),
    ...rows(
      'llm',
      openai,
      true,
      'POST /engines/{model:path}/chat/completions /engines/{model:path}/completions /engines/{model:path}/embeddings',
      'POST /openai/deployments/{model:path}/chat/completions /openai/deployments/{model:path}/completions /openai/deployments/{model:path}/embeddings',
    ),
    ...both(rows('llm', openai, true, 'GET /models/{id:path}')),
    ...rows('llm', openai, false, 'POST /cursor/chat/completions'),
    ...both(
      rows(
        'llm',
        openai,
        false,
        'POST /images/generations /images/edits /images/variations /audio/transcriptions /audio/translations /audio/speech /moderations',
        'POST,GET /videos',
        'GET /videos/{id}/content',
        'POST /videos/{id}/remix',
        'GET,DELETE /videos/{id}',
        'POST,GET /batches',
        'POST /batches/{id}/cancel',
        'GET /batches/{id}',
        'POST,GET /files',
        'GET /files/{id}/content',
        'GET,DELETE /files/{id}',
        'POST,GET /fine_tuning/jobs',
        'POST /fine_tuning/jobs/{id}/cancel /fine_tuning/jobs/{id}/pause /fine_tuning/jobs/{id}/resume',
        'GET /fine_tuning/jobs/{id}/events /fine_tuning/jobs/{id}/checkpoints /fine_tuning/jobs/{id}',
        'POST,GET /assistants',
        'GET,POST,DELETE /assistants/{id}',
        'POST /threads',
        'POST,GET /threads/{id}/messages /threads/{id}/runs',
        'GET,POST,DELETE /threads/{id}/*',
        'POST /rerank',
        'GET,POST /realtime',
        'POST /realtime/client_secrets /realtime/calls /realtime/calls/{id:path}',
        'POST,GET /responses',
        'POST /responses/compact /responses/input_tokens /responses/{id}/cancel',
        'GET /responses/{id}/input_items',
        'GET,DELETE /responses/{id}',
        'POST,GET /vector_stores',
        'POST /vector_stores/{id}/search',
        'GET,POST,DELETE /vector_stores/{id}/files/*',
        'GET,POST,DELETE /vector_stores/{id}',
        'GET /vector_store/list',
        'POST /search /ocr',
        'POST /search/{tool}',
        'POST,GET /containers',
        'GET,POST,DELETE /containers/*',
        'POST,GET /evals',
        'GET,POST,DELETE /evals/*',
      ),
    ),
    ...rows(
      'llm',
      openai,
      false,
      'POST /v2/rerank /openai/deployments/{model:path}/images/generations /openai/deployments/{model:path}/images/edits',
      'POST /openai/deployments/{model:path}/audio/transcriptions /openai/deployments/{model:path}/audio/translations /openai/deployments/{model:path}/audio/speech',
      'POST /utils/token_counter /utils/transform_request',
      'GET /utils/supported_openai_params',
    ),
  ];
}

function otherLlmRoutes(): RouteRow[] {
  return [
    ...rows(
      'llm',
      ['anthropic_routes', 'llm_api_routes'],
      false,
      'POST /v1/messages /v1/messages/count_tokens',
      'POST,GET /v1/skills',
      'GET,DELETE /v1/skills/{id:path}',
    ),
    ...rows(
      'llm',
      ['google_routes', 'llm_api_routes'],
      false,
      'POST /v1beta/models/{model:path}:generateContent /v1beta/models/{model:path}:streamGenerateContent /v1beta/models/{model:path}:countTokens',
      'POST /models/{model:path}:generateContent /models/{model:path}:streamGenerateContent /models/{model:path}:countTokens',
      'POST /interactions /v1beta/interactions',
      'POST /interactions/{id}/cancel /v1beta/interactions/{id}/cancel',
      'GET,DELETE /interactions/{id} /v1beta/interactions/{id}',
      'GET,POST /v1beta/agents',
      'GET,POST,DELETE /v1beta/agents/{name}/versions /v1beta/agents/{name}',
    ),
    ...both(rows('llm', ['llm_api_routes'], false, 'POST /rag/ingest /rag/query')),
    ...rows('llm', ['llm_api_routes'], false, 'POST /guardrails/apply_guardrail'),
    ...rows(
      'llm',
      ['mcp_routes', 'llm_api_routes'],
      false,
      'GET /mcp-rest/tools/list /v1/mcp/tools',
      'POST /mcp-rest/tools/call',
      'GET,POST,DELETE /mcp/*',
    ),
    ...rows(
      'llm',
      ['agent_routes', 'llm_api_routes'],
      false,
      'GET /agents',
      'GET,POST /a2a/{agent:path}',
      'POST /message/send /message/stream',
    ),
  ];
}

function infoRoutes(): RouteRow[] {
  return rows('info', ['openai_routes', 'llm_api_routes', 'info_routes'], true, 'GET /models /v1/models');
}

function healthAndPublicRoutes(): RouteRow[] {
  return [
    ...rows('health', ['public_routes'], true, 'GET,OPTIONS /health/liveliness /health/liveness /health/readiness'),
    ...rows('health', ['info_routes'], true, 'GET /health'),
    ...rows('health', ['info_routes'], false, 'GET /health/services'),
    ...rows(
      'health',
      [],
      false,
      'GET /health/readiness/details /health/history /health/latest /health/shared-status /health/license /health/backlog /health/drain',
    ),
    ...rows('health', ['self_managed_routes'], false, 'POST /health/test_connection'),
    ...rows('metrics', [], true, 'GET /metrics'),
    ...rows('public', ['public_routes'], true, 'GET /openapi.json'),
    ...rows(
      'public',
      ['public_routes'],
      false,
      'GET / /routes /test /redoc /docs',
      'GET /.well-known/litellm-ui-config /litellm/.well-known/litellm-ui-config',
      'GET /public/model_hub /public/model_hub/info /public/agent_hub /public/mcp_hub /public/skill_hub /public/litellm_model_cost_map',
    ),
  ];
}

function keyRoutes(): RouteRow[] {
  const management: readonly RouteList[] = ['management_routes'];
  const readable: readonly RouteList[] = ['management_routes', 'info_routes'];
  return [
    ...rows('management', management, true, 'POST /key/generate /key/update /key/delete /key/block /key/unblock'),
    ...rows('management', readable, true, 'GET /key/info /key/list'),
    ...rows(
      'management',
      management,
      false,
      'POST /key/regenerate /key/service-account/generate /key/bulk_update /team/key/bulk_update',
      'GET /key/aliases',
    ),
    ...rows('management', ['info_routes'], false, 'POST /key/health /v2/key/info'),
    ...rows('management', ['spend_tracking_routes'], false, 'GET /key/spend/report'),
    ...rows('management', management, false, 'POST /key/{key}/regenerate /key/{key}/reset_spend'),
  ];
}

/** Seeing the fleet and its changes; LiteLLM has no such routes. */
function fleetRoutes(): RouteRow[] {
  return rows(
    'management',
    [],
    true,
    'GET /fleet/workers /fleet/regions /fleet/changes /fleet/changes/{rev} /fleet/events',
    'POST /fleet/changes/{rev}/rollback /fleet/workers/{id}/drain /fleet/workers/{id}/resync /fleet/workers/{id}/remove',
  );
}

/** Who may be part of the fleet; LiteLLM has no such routes. */
function joinRoutes(): RouteRow[] {
  return rows('management', [], true, 'POST /fleet/join-token /fleet/workers/{id}/revoke');
}

function userAndTeamRoutes(): RouteRow[] {
  const management: readonly RouteList[] = ['management_routes'];
  const readable: readonly RouteList[] = ['management_routes', 'info_routes'];
  const own: readonly RouteList[] = ['self_managed_routes'];
  const both: readonly RouteList[] = ['management_routes', 'self_managed_routes'];
  return [
    ...rows('management', management, true, 'POST /user/new /user/update /user/bulk_update /user/delete'),
    ...rows('management', readable, true, 'GET /user/info'),
    ...rows('management', both, true, 'GET /user/list'),
    ...rows('management', both, false, 'GET /user/daily/activity'),
    ...rows('management', management, false, 'GET /user/daily/activity/aggregated'),
    ...rows('management', ['info_routes'], true, 'GET /v2/user/info /user/filter/ui'),
    ...rows('management', own, true, 'GET /user/available_roles'),
    ...rows('management', [], true, 'GET /user/available_users'),
    ...rows(
      'management',
      ['spend_tracking_routes'],
      false,
      'GET /user/spend/report /team/spend/report /organization/spend/report',
    ),
    ...rows(
      'management',
      management,
      true,
      'POST /team/new /team/update /team/delete /team/block /team/unblock /team/permissions_bulk_update',
    ),
    ...rows('management', management, false, 'GET /team/daily/activity/aggregated'),
    ...rows('management', readable, true, 'GET /team/info /team/list /v2/team/list /team/available'),
    ...rows('management', readable, false, 'GET /team/metadata_schema'),
    ...rows('management', both, true, 'GET /team/permissions_list', 'POST /team/permissions_update'),
    ...rows('management', both, false, 'GET /team/daily/activity'),
    ...rows(
      'management',
      own,
      true,
      'POST /team/member_add /team/member_update /team/member_delete /team/{team_id}/member/{user_id}/reset_spend',
      'GET /team/{team_id}/members/me',
    ),
    ...rows(
      'management',
      [],
      true,
      'POST /team/bulk_member_add /team/model/add /team/model/delete',
      'GET /team/filter/ui',
    ),
    ...rows('management', [], false, 'POST /team/{team_id}/disable_logging', 'GET,POST /team/{team_id}/callback'),
    ...rows('management', management, true, 'PATCH /team/{team_id}'),
    ...rows('management', ['info_routes'], true, 'GET /organization/list'),
    ...rows('management', own, false, 'GET /organization/daily/activity'),
    ...rows(
      'management',
      [],
      true,
      'POST /organization/new /organization/member_add',
      'PATCH /organization/update /organization/member_update',
      'DELETE /organization/delete /organization/member_delete',
      'GET,POST /organization/info',
      'POST /budget/new /budget/update /budget/info /budget/delete',
      'GET /budget/settings /budget/list',
      'POST /customer/new /customer/update /customer/delete /customer/block /customer/unblock',
      'GET /customer/info /customer/list',
      'POST /end_user/new /end_user/update /end_user/delete /end_user/block /end_user/unblock',
      'GET /end_user/info /end_user/list',
    ),
    ...rows('management', [], false, 'GET /customer/daily/activity /end_user/daily/activity'),
    ...rows('management', [], true, 'POST /tag/new /tag/update /tag/delete /tag/info', 'GET /tag/list'),
    ...rows('management', ['self_managed_routes'], false, 'GET /project/list /project/info'),
    ...rows('management', [], false, 'POST /project/new /project/update', 'DELETE /project/delete'),
    ...rows(
      'management',
      management,
      false,
      'POST /jwt/key/mapping/new /jwt/key/mapping/update /jwt/key/mapping/delete',
      'GET /jwt/key/mapping/list /jwt/key/mapping/info',
    ),
    ...rows('management', [], false, 'POST /jwt_client/new'),
    ...rows('management', ['self_managed_routes'], false, 'POST /invitation/new /invitation/delete'),
    ...rows('management', [], false, 'GET /invitation/info', 'POST /invitation/update'),
    ...rows('management', [], false, 'GET,POST,PUT,PATCH,DELETE /scim/v2/*'),
  ];
}

function modelRoutes(): RouteRow[] {
  const writes: readonly RouteList[] = ['management_routes', 'self_managed_routes'];
  return [
    ...rows('management', writes, true, 'POST /model/new /model/update /model/delete'),
    ...rows('management', ['management_routes', 'info_routes', 'llm_api_routes'], true, 'GET /model/info'),
    ...rows('management', ['info_routes', 'llm_api_routes'], true, 'GET /v1/model/info'),
    ...rows('management', ['info_routes'], true, 'GET /v2/model/info'),
    ...rows('management', ['info_routes'], true, 'GET /model_group/info'),
    ...rows('management', [], true, 'POST /model/block /model/unblock'),
    ...rows('management', ['info_routes'], true, 'GET /model/cost_map'),
    ...rows(
      'management',
      [],
      true,
      'POST /reload/model_cost_map /schedule/model_cost_map_reload',
      'GET /schedule/model_cost_map_reload/status',
    ),
    ...rows('management', ['self_managed_routes'], true, 'PATCH /model/{model_id}/update'),
    ...rows(
      'management',
      [],
      false,
      'POST /model/settings /model_group/make_public /model_hub/update_useful_links',
      'GET /model/metrics /model/streaming_metrics /model/metrics/slow_responses /model/metrics/exceptions',
      'POST /access_group/new',
      'GET /access_group/list /access_group/{group}/info /model/access/group/list /model/access/group/info',
      'PUT /access_group/{group}/update',
      'DELETE /access_group/{group}/delete',
      'GET,POST /v1/access_group /v1/unified_access_group',
      'GET,PUT,DELETE /v1/access_group/{id} /v1/unified_access_group/{id}',
      'GET,POST,DELETE /fallback /fallback/{model:path}',
      'GET,POST /credentials',
      'GET /credentials/by_name/{name:path} /credentials/by_model/{model_id} /credentials/migrate-encryption/check',
      'POST /credentials/migrate-encryption',
      'PATCH,DELETE /credentials/{name:path}',
    ),
    ...rows('management', ['self_managed_routes'], false, 'GET,POST /auto_router/*'),
  ];
}

function spendRoutes(): RouteRow[] {
  return [
    ...rows('management', ['management_routes', 'spend_tracking_routes'], true, 'GET /spend/logs'),
    ...rows('management', ['management_routes', 'spend_tracking_routes'], false, 'GET /spend/logs/v2'),
    ...rows('management', ['management_routes'], false, 'GET /gateway/daily/activity'),
    ...rows(
      'management',
      ['spend_tracking_routes'],
      false,
      'GET /spend/keys /spend/users /spend/tags /spend/logs/ui /spend/logs/session/ui /spend/logs/ui/{request_id}',
      'GET /management/v1/spend_logs/end_users /management/v1/spend_logs/users',
    ),
    ...rows('management', ['spend_tracking_routes'], true, 'POST /spend/calculate /cost/estimate'),
    ...rows('management', ['master_key_only_routes'], false, 'POST /global/spend/reset'),
    ...rows(
      'management',
      ['global_spend_tracking_routes'],
      false,
      'GET /global/spend /global/spend/logs /global/spend/keys /global/spend/teams /global/spend/models /global/spend/report /global/spend/provider /global/spend/tags /global/spend/all_tag_names /global/predict/spend/logs',
      'POST /global/spend/end_users',
    ),
    ...rows(
      'management',
      [],
      false,
      'GET /global/activity /global/activity/model /global/activity/exceptions /global/activity/cache_hits /provider/budgets',
      'GET /tag/daily/activity /tag/distinct /tag/dau /tag/wau /tag/mau /tag/summary /tag/user-agent/*',
      'GET /agent/daily/activity',
      'GET,POST,PUT,DELETE /cloudzero/* /vantage/*',
    ),
  ];
}

function settingsRoutes(): RouteRow[] {
  return [
    ...rows(
      'management',
      [],
      false,
      'POST /config/update /config/field/update /config/field/delete /config/callback/delete',
      'GET /config/field/info /config/list /config/yaml /config/override/list /config/override/info /get/config/callbacks',
      'GET,POST,DELETE /config/pass_through_endpoint /config/pass_through_endpoint/*',
      'GET,PATCH /config/cost_discount_config /config/cost_margin_config',
      'GET /cache/ping /cache/redis/info',
      'POST /cache/delete /cache/flushall /cache/settings/test',
      'GET,POST /cache/settings /coordination_redis/settings',
      'GET /audit /audit/{id}',
      'GET /get/sso_settings /get/ui_settings /get/ui_theme_settings /get/internal_user_settings /get/default_team_settings /get/mcp_semantic_filter_settings /get/allowed_ips',
      'PATCH /update/sso_settings /update/ui_settings /update/ui_theme_settings /update/internal_user_settings /update/default_team_settings /update/mcp_semantic_filter_settings',
      'POST /add/allowed_ip /delete/allowed_ip',
      'GET /alerting/settings /cost_tracking/settings /cost_tracking/settings/model /router/settings /router/fields /fallbacks',
      'GET,PATCH /email/event_settings',
      'POST /email/event_settings/reset',
      'GET /callbacks/list /callbacks/configs /active/callbacks /settings',
      'GET /debug/memory/summary /debug/memory/details /debug/asyncio-tasks /otel-spans',
      'GET /compliance/eu-ai-act /compliance/gdpr',
    ),
    ...rows(
      'management',
      ['master_key_only_routes'],
      false,
      'GET /memory-usage-in-mem-cache /memory-usage-in-mem-cache-items',
    ),
    ...rows(
      'management',
      ['self_managed_routes'],
      false,
      'POST /guardrails/register',
      'GET,POST /guardrails/submissions /guardrails/submissions/*',
    ),
    ...rows(
      'management',
      [],
      false,
      'GET /v2/guardrails/list',
      'GET,POST,PUT,PATCH,DELETE /guardrails/*',
      'GET,POST,PUT,PATCH,DELETE /policies/* /policy/*',
    ),
    ...rows('management', ['self_managed_routes'], false, 'GET /prompt/list /prompt/info'),
    ...rows(
      'management',
      [],
      false,
      'GET,POST,PUT,PATCH,DELETE /prompts/*',
      'POST /vector_store/new /vector_store/info /vector_store/update /vector_store/delete',
      'GET /search/tools /v1/search/tools',
      'GET,POST,PUT,DELETE /search_tools/*',
      'GET,POST /v1/tool/* /v1/memory/* /v1/workflows/*',
    ),
    ...rows('management', ['management_routes'], false, 'GET,POST,PUT,DELETE /v1/mcp/server/*'),
    ...rows(
      'management',
      [],
      false,
      'GET,POST,PUT,DELETE /v1/mcp/toolset/* /v1/mcp/user-credentials/*',
      'GET /v1/mcp/access_groups /v1/mcp/discover /v1/mcp/registry.json /v1/mcp/openapi-registry /v1/mcp/network/client-ip',
    ),
    ...rows(
      'management',
      ['management_routes', 'self_managed_routes'],
      false,
      'GET,POST,PUT,PATCH,DELETE /v1/agents/*',
    ),
  ];
}

function uiRoutes(): RouteRow[] {
  return [
    ...rows('ui', ['info_routes'], false, 'GET /sso/get/ui_settings /get/user_banner'),
    ...rows(
      'ui',
      [],
      false,
      'GET /ui/*',
      'GET,POST /login',
      'POST /v2/login /v3/login /v3/login/exchange /logout',
      'GET /fallback/login /sso/*',
      'GET /onboarding/get_token',
      'POST /onboarding/claim_token',
      'GET /get_image /get_logo_url /get_favicon',
    ),
  ];
}

function passThroughRoutes(): RouteRow[] {
  const methods = 'GET,POST,PUT,PATCH,DELETE';
  const prefixes = [
    ...[
      'bedrock',
      'vertex-ai',
      'vertex_ai',
      'cohere',
      'cursor',
      'gemini',
      'anthropic',
      'langfuse',
      'azure',
      'azure_ai',
    ],
    ...['openai', 'openai_passthrough', 'assemblyai', 'eu.assemblyai', 'vllm', 'mistral', 'milvus', 'watsonx'],
  ];
  const text = `${methods} ${prefixes.map((prefix) => `/${prefix}/*`).join(' ')}`;
  return rows('pass_through', ['mapped_pass_through_routes', 'llm_api_routes'], false, text);
}
