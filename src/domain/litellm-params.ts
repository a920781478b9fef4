/**
 * Which names in `litellm_params` are for the gateway. Every other name is a default field of the request body, so a
 * setting that is missing here would be sent to the provider.
 */
export function isControlParam(name: string): boolean {
  return CONTROL_PARAMS.has(name) || CONTROL_PATTERN.test(name);
}

/** Fields that only a client can decide: as a default they would contradict what the gateway reads from the request. */
export function isPerRequestField(name: string): boolean {
  return PER_REQUEST_FIELDS.has(name);
}

const CONTROL_PATTERN =
  /^(aws|vertex|azure|watsonx|litellm)_|_cost(_|$)|^(s3|gcs)_bucket_name$|^regional_processing_uplift_/;

const PER_REQUEST_FIELDS: ReadonlySet<string> = new Set([
  'model',
  'messages',
  'input',
  'prompt',
  'stream',
  'stream_options',
]);

const CONTROL_PARAMS: ReadonlySet<string> = new Set([
  ...['model', 'api_key', 'api_base', 'base_url', 'api_version', 'custom_llm_provider', 'organization'],
  ...['weight', 'order', 'rpm', 'tpm', 'itpm', 'otpm', 'max_parallel_requests', 'max_retries', 'num_retries'],
  ...['timeout', 'stream_timeout', 'ttft_timeout', 'stream_idle_timeout', 'keepalive_seconds'],
  ...['tags', 'tag_regex', 'region_name', 'max_budget', 'budget_duration', 'max_file_size_mb'],
  ...['default_api_key_rpm_limit', 'default_api_key_tpm_limit', 'configurable_clientside_auth_params'],
  ...['mock_response', 'mock_timeout', 'use_in_pass_through', 'use_litellm_proxy', 'use_chat_completions_api'],
  ...['merge_reasoning_content_in_choices', 'drop_params', 'additional_drop_params', 'allowed_openai_params'],
  ...['off_peak_pricing', 'provider_specific_entry', 'web_search_billing_unit', 'regional_endpoint_uplift_multiplier'],
  ...['extra_headers', 'headers', 'extra_body', 'cache_control_injection_points', 'tiered_pricing', 'modify_params'],
  ...['ssl_verify', 'ssl_certificate', 'ssl_key', 'tenant_id', 'client_id', 'client_secret', 'fallbacks', 'model_info'],
]);
