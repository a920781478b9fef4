import { acted, type KnownKey, keyTable, later } from './known-key.ts';

/** Prices by other units than tokens. One of them, or of a token, stands for the whole of what a model costs. */
const UNIT_PRICES = [
  ...['input_cost_per_second', 'output_cost_per_second', 'input_cost_per_image', 'output_cost_per_image'],
  ...['input_cost_per_character', 'output_cost_per_character', 'input_cost_per_query', 'input_cost_per_request'],
  ...['input_cost_per_page', 'ocr_cost_per_page', 'input_cost_per_pixel', 'output_cost_per_pixel'],
  ...['input_cost_per_video_per_second', 'output_cost_per_video_per_second'],
  ...['input_cost_per_audio_per_second', 'output_cost_per_audio_per_second'],
];

/** Prices that refine others. */
const REFINING_PRICES = [
  ...['cache_creation_input_token_cost_above_1hr', 'citation_cost_per_token'],
  ...['input_cost_per_image_token', 'output_cost_per_image_token'],
  ...['input_cost_per_video_token', 'output_cost_per_video_token'],
  ...['google_maps_grounding_cost_per_query', 'file_search_cost_per_1k_calls', 'code_interpreter_cost_per_session'],
  ...['computer_use_input_cost_per_1k_tokens', 'computer_use_output_cost_per_1k_tokens'],
];

/** `model_list[].litellm_params`. Any other key is sent to the provider as a default of the request body. */
export const LITELLM_PARAMS_KEYS: ReadonlyMap<string, KnownKey> = keyTable([
  acted('model', 'string', '`provider/model`. Required.'),
  acted('api_key', 'string', 'Key of the provider; without it the variable of the provider is used.'),
  acted('api_base', 'string', 'Base URL, for example `https://host/v1`.'),
  acted('base_url', 'string', 'The same as `api_base`.'),
  acted('custom_llm_provider', 'string', 'Provider, when it is not the prefix of `model`.'),
  acted('organization', 'string|list', 'Organization header of OpenAI; a list makes one deployment for each.'),
  acted('weight', 'number', 'Share of the deployment among those of its group.'),
  acted('order', 'int', 'Priority, lowest first; higher ones are used after a failure.'),
  acted('timeout', 'number', 'Seconds for a call.'),
  acted('stream_timeout', 'number', 'Seconds for a streamed call.'),
  acted('extra_headers', 'map', 'Headers that are added to each call.'),
  acted('headers', 'map', 'The same as `extra_headers`.'),
  acted('extra_body', 'map', 'Body fields that are added to each call.'),
  acted('input_cost_per_token', 'number', 'Price in dollars; replaces the price list.'),
  acted('output_cost_per_token', 'number', 'Price in dollars; replaces the price list.'),
  acted('cache_read_input_token_cost', 'number', 'Price in dollars of a token read from a cache of the provider.'),
  acted('cache_creation_input_token_cost', 'number', 'Price in dollars of a token written to a cache of the provider.'),
  acted('ssl_verify', 'bool', 'False: the certificate of this provider is not checked.'),
  acted('ssl_certificate', 'string', 'PEM file with a client certificate.'),
  acted('ssl_key', 'string', 'PEM file with the key of the client certificate.'),
  acted('input_cost_per_audio_token', 'number', 'Price in dollars; replaces the price list.'),
  acted('output_cost_per_audio_token', 'number', 'Price in dollars; replaces the price list.'),
  acted('output_cost_per_reasoning_token', 'number', 'Price in dollars; replaces the price list.'),
  acted('rpm', 'int', 'Requests in a minute; also its share when none of its group has a `weight`.'),
  acted('tpm', 'int', 'Tokens in a minute; also its share when none of its group has a `weight` or `rpm`.'),
  ...later('string', 'api_version litellm_credential_name region_name'),
  acted('max_parallel_requests', 'int', 'Calls that the deployment serves at a time.'),
  ...later('int', 'itpm otpm max_retries num_retries'),
  ...later('number', 'ttft_timeout stream_idle_timeout keepalive_seconds'),
  ...later('any', 'allowed_openai_params fallbacks'),
  ...later('list', 'tags tag_regex configurable_clientside_auth_params cache_control_injection_points'),
  ...UNIT_PRICES.map((name) => acted(name, 'number', 'Price in dollars; replaces the price list.')),
  ...REFINING_PRICES.map((name) => acted(name, 'number', 'Price in dollars, beside those of the price list.')),
  acted('regional_processing_uplift_multiplier_eu', 'number', 'Factor for an `api_base` that begins with `eu.`.'),
  acted('regional_processing_uplift_multiplier_us', 'number', 'Factor for an `api_base` that begins with `us.`.'),
  acted('regional_endpoint_uplift_multiplier', 'number', 'Factor for a location other than `global`.'),
  acted(
    'search_context_cost_per_query',
    'map',
    'Prices of a web search by `search_context_size_low`, `_medium`, `_high`.',
  ),
  acted('tiered_pricing', 'list', 'Prices by length of the prompt: `{range: [from, to], input_cost_per_token: ...}`.'),
  acted('off_peak_pricing', 'map', 'Prices at other hours: `{hours_utc: "16:30-00:30", input_cost_per_token: ...}`.'),
  acted('provider_specific_entry', 'map', 'Factors by what an answer says of itself: `{fast: 6, us: 1.1}`.'),
  acted('web_search_billing_unit', 'string', '`per_prompt`: however often a call searched, one search is billed.'),
  ...later('any', 'additional_drop_params mock_response mock_timeout'),
  ...later('number', 'max_budget', 'Budget of the deployment.'),
  ...later('string', 'budget_duration'),
  acted('default_api_key_rpm_limit', 'int', 'Requests in a minute of each key that has no limit for the model.'),
  acted('default_api_key_tpm_limit', 'int', 'Tokens in a minute of each key that has no limit for the model.'),
  ...later('int', 'max_file_size_mb'),
  ...later(
    'bool',
    'use_in_pass_through use_litellm_proxy use_chat_completions_api merge_reasoning_content_in_choices drop_params modify_params',
  ),
  ...later(
    'string',
    `aws_access_key_id aws_secret_access_key aws_session_token aws_region_name aws_session_name aws_profile_name
    aws_role_name aws_web_identity_token aws_sts_endpoint aws_bedrock_runtime_endpoint aws_external_id
    vertex_project vertex_location azure_ad_token azure_scope tenant_id client_id client_secret azure_username
    azure_password watsonx_region_name s3_bucket_name gcs_bucket_name litellm_trace_id`,
    'Credentials of providers that are not served yet.',
  ),
  ...later('any', 'vertex_credentials'),
]);

/** Price keys with these endings exist for each base price. */
export const PRICE_KEY = /_(above_\d+k_tokens|batches|flex|priority)(_\w+)?$/;

/**
 * Fields of a request body. They are not settings: they become defaults of the calls, and are listed so that they are
 * not taken for a mistyped setting.
 */
export const BODY_FIELDS: ReadonlySet<string> = new Set([
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'n',
  'stream',
  'stream_options',
  'stop',
  'max_tokens',
  'max_completion_tokens',
  'presence_penalty',
  'frequency_penalty',
  'repetition_penalty',
  'logit_bias',
  'user',
  'response_format',
  'seed',
  'tools',
  'tool_choice',
  'logprobs',
  'top_logprobs',
  'parallel_tool_calls',
  'reasoning_effort',
  'reasoning',
  'thinking',
  'verbosity',
  'service_tier',
  'metadata',
  'modalities',
  'audio',
  'prediction',
  'store',
  'dimensions',
  'encoding_format',
  'input_type',
  'functions',
  'function_call',
  'web_search_options',
  'safety_identifier',
  'prompt_cache_key',
  'chat_template_kwargs',
  'guided_json',
  'num_ctx',
  'keep_alive',
  'suffix',
  'echo',
  'best_of',
]);

/** `model_info` keys that this version reads. Whatever else is there is kept and shown. */
export const MODEL_INFO_KEYS: ReadonlyMap<string, KnownKey> = keyTable([
  acted(
    'id',
    'string',
    'Id of the deployment; else a hash of its parameters. Answers carry it as `x-litellm-model-id`.',
  ),
  acted('mode', 'string', '`chat` (default), `completion`, `embedding`, ...'),
  acted('base_model', 'string', 'Name in the price list, when `model` is a name of your own.'),
  acted(
    'regions',
    'list',
    'Names of the regions (`CLAVIGER_REGION`) that may use the deployment; without it, all. Elsewhere it does not exist.',
  ),
  acted('blocked', 'bool', 'The deployment is kept and not used. `/model/block` sets it for a model of the database.'),
  acted('access_groups', 'list', 'Names by which keys may be given access to the group.'),
  acted('input_cost_per_token', 'number', 'As in `litellm_params`.'),
  acted('output_cost_per_token', 'number', 'As in `litellm_params`.'),
  acted('cache_read_input_token_cost', 'number', 'As in `litellm_params`.'),
  acted('cache_creation_input_token_cost', 'number', 'As in `litellm_params`.'),
  acted('input_cost_per_audio_token', 'number', 'As in `litellm_params`.'),
  acted('output_cost_per_audio_token', 'number', 'As in `litellm_params`.'),
  acted('output_cost_per_reasoning_token', 'number', 'As in `litellm_params`.'),
  acted(
    'region_prices',
    'map',
    'Prices by region (`CLAVIGER_REGION`) that replace their like: `{eu: {input_cost_per_token: ...}}`. Every price of `litellm_params` may also stand in `model_info`.',
  ),
  ...later('number', 'max_tokens max_input_tokens max_output_tokens'),
  ...later('string', 'team_id team_public_model_name tier health_check_model health_check_voice'),
  ...later('list', 'supported_environments'),
  ...later('number', 'health_check_timeout health_check_max_tokens'),
  ...later('bool', 'disable_background_health_check'),
]);
