import { acted, type KnownKey, keyTable, later } from './known-key.ts';

/** `litellm_settings`. */
export const LITELLM_SETTINGS_KEYS: ReadonlyMap<string, KnownKey> = keyTable([
  acted('request_timeout', 'number', 'Seconds for a call, when `router_settings.timeout` is not set.'),
  acted('num_retries', 'int', 'Retries, when `router_settings.num_retries` is not set.'),
  acted('json_logs', 'bool', 'JSON lines in the log; also `JSON_LOGS`.'),
  acted('set_verbose', 'bool', 'True: the same as `LITELLM_LOG=DEBUG`.'),
  acted(
    'ssl_verify',
    'bool|string',
    'False: certificates of providers are not checked; a path: the accepted authorities.',
  ),
  acted('require_auth_for_metrics_endpoint', 'bool', '`/metrics` needs a key. Default: true.'),
  acted('include_cost_in_streaming_usage', 'bool', 'The usage chunk of a stream carries the cost.'),
  ...later('list|string', 'callbacks success_callback failure_callback', 'Logging integrations.'),
  ...later('list', 'service_callback audit_log_callbacks langfuse_default_tags', 'Logging integrations.'),
  ...later('bool', 'cache', 'Response cache.'),
  ...later('map', 'cache_params', 'Response cache.'),
  ...later('bool', 'enable_redis_auth_cache enable_caching_on_provider_specific_optional_params'),
  ...later('bool', 'drop_params modify_params', 'Change of request parameters.'),
  ...later('list', 'fallbacks default_fallbacks context_window_fallbacks content_policy_fallbacks', 'Fallbacks.'),
  ...later('int', 'allowed_fails', 'Cooldown.'),
  ...later('number', 'cooldown_time', 'Cooldown.'),
  ...later('bool', 'request_correlation_in_logs turn_off_message_logging redact_user_api_key_info'),
  ...later('number', 'max_budget', 'Budget of the whole proxy.'),
  ...later('string', 'budget_duration', 'Period of the budget of the whole proxy.'),
  acted(
    'timezone',
    'string',
    'Time zone in which budgets are reset, such as `Europe/Berlin`; UTC by default. The same on all instances.',
  ),
  acted(
    'budget_reset_time',
    'string',
    'Time of day, `HH:MM`, at which budgets of days and more are reset; midnight by default.',
  ),
  ...later('number', 'max_internal_user_budget default_max_internal_user_budget max_ui_session_budget'),
  ...later('string', 'internal_user_budget_duration'),
  acted('max_end_user_budget_id', 'string', 'Budget object of customers that have no budget.'),
  ...later('map', 'default_internal_user_params default_team_params', 'Defaults of new users and teams.'),
  ...later('list|map', 'default_team_settings'),
  ...later(
    'map',
    'default_key_generate_params upperbound_key_generate_params key_generation_settings',
    'Rules of new keys.',
  ),
  ...later('bool', 'enable_key_alias_format_validation store_audit_logs'),
  ...later('bool', 'disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only'),
  acted('cost_discount_config', 'map', 'Share of the cost that is taken off, by provider: `{openai: 0.05}`.'),
  acted(
    'cost_margin_config',
    'map',
    'Share, or `{percentage, fixed_amount}`, that is added after that, by provider or `global`.',
  ),
  ...later('map', 'priority_reservation priority_reservation_settings'),
  ...later('bool', 'overwrite_user_with_key_hash force_ipv4 http2 disable_aiohttp_transport user_url_validation'),
  ...later('list', 'user_url_allowed_hosts'),
  ...later('bool', 'telemetry', 'Claviger sends none, whatever is set.'),
  ...later(
    'bool',
    `enable_json_schema_validation disable_hf_tokenizer_download disable_add_transform_inline_image_block
    enable_preview_features route_all_chat_openai_to_responses use_chat_completions_url_for_anthropic_messages
    skip_system_message_in_guardrail skip_tool_message_in_guardrail forward_traceparent_to_llm_provider
    require_managed_files`,
  ),
  ...later('map', 'mcp_aliases model_group_settings public_model_groups_links tag_budget_config'),
  ...later('list', 'public_model_groups'),
  ...later('map', 's3_callback_params datadog_params callback_settings', 'Logging integrations.'),
  ...later('bool', 'prometheus_initialize_budget_metrics prometheus_emit_stream_label', 'Metrics.'),
  ...later('bool', 'enable_end_user_cost_tracking_prometheus_only', 'Metrics.'),
  ...later(
    'number',
    `prometheus_end_user_metrics_max_series_per_metric prometheus_end_user_metrics_ttl_seconds
    prometheus_metrics_max_series_per_metric prometheus_metrics_ttl_seconds prometheus_metrics_cleanup_interval_seconds`,
    'Metrics.',
  ),
  ...later(
    'list',
    `custom_prometheus_metadata_labels custom_prometheus_tags prometheus_metrics_config prometheus_exclude_metrics
    prometheus_exclude_labels`,
    'Metrics.',
  ),
  ...later('string', 'prometheus_deployment_and_latency_caller_identity', 'Metrics.'),
]);
