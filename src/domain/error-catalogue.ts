/**
 * Every error that Claviger answers with, as data. The code is ours and stays inside (logs, metrics, usage rows); status,
 * `type`, `param` and the text are what LiteLLM's clients match on. A placeholder in `{braces}` is filled once, so text
 * that came from a client is never expanded again. docs/reference/errors.md is this table and is tested against it.
 */
import type { JsonValue } from './virtual-key.ts';

/** Whose mistake it is: 4xx are the client's, 5xx ours, and the provider's are the provider's. */
export type Fault = 'client' | 'upstream' | 'gateway';
export type ErrorLogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface ErrorEntry {
  readonly status: number;
  /** `error.type`, from LiteLLM's list. */
  readonly type: string;
  /** `error.param`. The text `None` where LiteLLM sends that text, null where it sends null. */
  readonly param: string | null;
  readonly fault: Fault;
  readonly log: ErrorLogLevel;
  /** The same request may succeed at another deployment (upstream) or a little later (gateway). */
  readonly retryable: boolean;
  readonly message: string;
  /** The answer also carries the top-level `detail` of the web framework that LiteLLM uses. */
  readonly detail?: true;
  /** Seconds in `retry-after` when the thrower does not know better. */
  readonly retryAfterSeconds?: number;
}

type Rest = Partial<Pick<ErrorEntry, 'log' | 'retryable' | 'detail' | 'retryAfterSeconds'>>;

function client<const M extends string>(
  status: number,
  type: string,
  param: string | null,
  message: M,
  rest: Rest = {},
): ErrorEntry & { readonly message: M } {
  return { status, type, param, fault: 'client', log: 'info', retryable: false, message, ...rest };
}

function gateway<const M extends string>(
  status: number,
  type: string,
  message: M,
  rest: Rest = {},
): ErrorEntry & { readonly message: M } {
  return { status, type, param: null, fault: 'gateway', log: 'error', retryable: true, message, ...rest };
}

function upstream<const M extends string>(
  status: number,
  type: string,
  message: M,
  rest: Rest = {},
): ErrorEntry & { readonly message: M } {
  return { status, type, param: null, fault: 'upstream', log: 'warn', retryable: true, message, ...rest };
}

const MODEL_ACCESS_DENIED =
  '{object} not allowed to access model. This {object} can only access models={models}. Tried to access {model}';

export const ERROR_CATALOGUE = {
  // Authentication.
  no_api_key: client(401, 'auth_error', 'None', 'Authentication Error, No api key passed in.'),
  malformed_api_key: client(
    401,
    'auth_error',
    'None',
    'Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.',
  ),
  not_a_virtual_key: client(
    401,
    'auth_error',
    'None',
    "Authentication Error, LiteLLM Virtual Key expected. Received={maskedKey}, expected to start with 'sk-'.",
  ),
  unknown_key: client(
    401,
    'token_not_found_in_db',
    'key',
    'Authentication Error, Invalid proxy server token passed. Received API Key = {keyName}, Key Hash (Token) = {token}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`.',
  ),
  unknown_key_on_joined_worker: client(
    401,
    'token_not_found_in_db',
    'key',
    'Authentication Error, Invalid proxy server token passed. Received API Key = {keyName}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`. If it is the master key: this worker joined an admin and does not know it; the master key works on admins only.',
  ),
  deleted_key: client(
    401,
    'token_not_found_in_db',
    'key',
    'Authentication Error, Invalid proxy server token passed. Received API Key = {keyName}, Key Hash (Token) = {token}. It was deleted from `LiteLLM_VerificationTokenTable`.',
  ),
  expired_key: client(
    401,
    'expired_key',
    null,
    'Authentication Error - Expired Key. Key Expiry time {expires} and current time {now}.',
  ),
  blocked_key: client(401, 'auth_error', 'None', 'Key is blocked. Update via `/key/unblock` if you are an admin.'),
  blocked_team: client(
    401,
    'auth_error',
    'None',
    'Team={teamId} is blocked. Update via `/team/unblock` if you are an admin.',
  ),
  blocked_user: client(
    401,
    'auth_error',
    'None',
    'User={userId} is blocked. Update via `/user/update` if you are an admin.',
  ),
  blocked_organization: client(
    401,
    'auth_error',
    'None',
    'Organization={organizationId} is blocked. Update via `/organization/update` if you are an admin.',
  ),
  blocked_customer: client(
    401,
    'auth_error',
    'None',
    'User blocked from making LLM API Calls. User={customerId}. Update via `/customer/unblock` if you are an admin.',
  ),
  blocked_tag: client(401, 'auth_error', 'None', 'Tag={tag} is blocked. Send the call without it, or ask an admin.'),
  key_not_known_here: gateway(
    503,
    'no_db_connection',
    'This key has the form of a key of this installation but is not known here yet. Retry shortly.',
    { log: 'warn', retryAfterSeconds: 1 },
  ),
  no_usable_snapshot: gateway(
    503,
    'no_db_connection',
    'This instance has not received its keys and models yet and has no usable copy on disk. Retry shortly.',
    { retryAfterSeconds: 2 },
  ),
  stale_knowledge: gateway(
    503,
    'no_db_connection',
    'This instance is cut off from its database: what it knows about keys was last confirmed {confirmed}. This key is served for {fenceSeconds} seconds after that and not longer, because it could have been blocked meanwhile. Retry at another instance, or when this one is connected again.',
    { log: 'warn', retryAfterSeconds: 5 },
  ),
  unsupported_rule: gateway(
    503,
    'internal_server_error',
    'This key has a rule ({field}) that this instance is too old to apply, so it refuses the key. Upgrade the instance, or send the call to a newer one.',
    { log: 'warn', retryable: false },
  ),
  unsupported_account_rule: gateway(
    503,
    'internal_server_error',
    '{account} has a rule ({field}) that this instance is too old to apply, so it refuses calls for it. Upgrade the instance, or send the call to a newer one.',
    { log: 'warn', retryable: false },
  ),
  account_without_room: gateway(
    503,
    'internal_server_error',
    'This instance holds the most users, teams, customers and others that it can, and {account} is one too many. Delete those that are not needed any more; the limit is in docs/specs/snapshot-store.md.',
    { log: 'warn', retryable: false },
  ),

  // Authorization.
  model_access_denied: client(403, 'key_model_access_denied', 'model', MODEL_ACCESS_DENIED),
  team_model_access_denied: client(403, 'team_model_access_denied', 'model', MODEL_ACCESS_DENIED),
  user_model_access_denied: client(403, 'user_model_access_denied', 'model', MODEL_ACCESS_DENIED),
  org_model_access_denied: client(403, 'org_model_access_denied', 'model', MODEL_ACCESS_DENIED),
  region_not_allowed_for_account: client(
    403,
    'auth_error',
    'None',
    '{account} is not served in region {region}. Regions that serve it: {regions}',
  ),
  region_not_allowed_for_key: client(
    403,
    'auth_error',
    'None',
    'This key is not served in region {region}. Regions that serve it: {regions}',
  ),
  route_not_allowed_for_key: client(
    403,
    'auth_error',
    'None',
    'Virtual key is not allowed to call this route. Only allowed to call routes: {routes}. Tried to call route: {route}',
  ),
  management_routes_disabled: client(403, 'auth_error', 'None', 'Management routes are disabled for this instance.', {
    detail: true,
  }),
  llm_routes_disabled: client(403, 'auth_error', 'None', 'LLM API routes are disabled for this instance.', {
    detail: true,
  }),
  only_proxy_admin: client(
    401,
    'auth_error',
    'None',
    'Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route={route}. Your role={role}. Your user_id={userId}',
  ),
  only_model_writer: client(
    403,
    'auth_error',
    'None',
    'User does not have permission to make this model call. You can only make model calls if you are a PROXY_ADMIN.',
  ),
  master_key_only: client(401, 'auth_error', 'None', 'Only the master key can be used for this route. Route={route}'),
  not_your_object: client(403, 'auth_error', 'None', 'You are not allowed to {action}. It belongs to somebody else.'),

  // The request as such.
  target_not_normalisable: client(
    400,
    'invalid_request_error',
    'path',
    'The path of this request can not be read in one way only ({reason}). Send it without encoded dots, backslashes or control characters.',
  ),
  malformed_http: client(400, 'invalid_request_error', null, 'This is not a well-formed HTTP request.'),
  not_found: client(404, 'not_found_error', null, 'Not Found', { detail: true }),
  method_not_allowed: client(405, 'invalid_request_error', null, 'Method Not Allowed', { detail: true }),
  route_not_served: client(
    404,
    'not_found_error',
    null,
    '{route} is a route of LiteLLM that this version of Claviger does not serve yet. docs/reference/compatibility.md lists the status of each route.',
    { detail: true },
  ),
  malformed_json: client(400, 'invalid_request_error', 'request_body', 'Invalid JSON payload: {reason}'),
  body_not_an_object: client(
    400,
    'invalid_request_error',
    'request_body',
    'The request body must be a JSON object, not {found}.',
  ),
  missing_field: client(400, 'invalid_request_error', null, 'Missing required parameter: `{field}`.'),
  wrong_field_type: client(
    400,
    'invalid_request_error',
    null,
    'Invalid type for `{field}`: expected {expected}, but got {found} instead.',
  ),
  invalid_field: client(400, 'invalid_request_error', null, 'Invalid value for `{field}`: {reason}'),
  unknown_model: client(
    400,
    'invalid_request_error',
    'model',
    '{route}: Invalid model name passed in model={model}. Call `/v1/models` to view available models for your key.',
  ),
  model_id_not_found: client(
    404,
    'not_found_error',
    'model',
    'The model `{model}` does not exist or you do not have access to it.',
  ),
  body_too_large: client(
    413,
    'bad_request_error',
    'content-length',
    'The request body is larger than the limit of {limitBytes} bytes.',
  ),
  headers_too_large: client(431, 'bad_request_error', 'headers', 'The request headers are too large.'),
  request_timeout: client(
    408,
    'bad_request_error',
    null,
    'The request did not arrive completely within {seconds} seconds.',
  ),
  unsupported_content_encoding: client(
    415,
    'bad_request_error',
    'content-encoding',
    'Requests with content-encoding {encoding} are not supported. Send the body uncompressed.',
  ),
  upgrade_not_supported: client(
    400,
    'invalid_request_error',
    'upgrade',
    'This route does not take WebSocket or other protocol upgrades.',
  ),
  client_closed_request: client(
    499,
    'bad_request_error',
    null,
    'The client closed the connection before the answer was complete.',
  ),

  // Management input.
  validation_failed: client(422, 'validation_error', null, '{reason}', { detail: true }),
  bad_request: client(400, 'bad_request_error', null, '{reason}'),
  forbidden: client(403, 'auth_error', 'None', '{reason}'),
  conflict: client(409, 'bad_request_error', null, '{reason}'),
  object_not_found: client(404, 'not_found_error', null, '{what} not found.'),
  key_not_found: client(404, 'not_found_error', 'key', 'Key not found in database'),
  keys_to_delete_not_found: client(
    404,
    'not_found_error',
    'keys',
    'None of the keys to delete was found in the database: {keys}',
  ),
  key_alias_exists: client(400, 'bad_request_error', 'key_alias', "Key with alias '{alias}' already exists"),
  key_exists: client(
    400,
    'bad_request_error',
    'key',
    'A key with this value already exists. Choose another value or leave `key` out to have one generated.',
  ),
  key_must_start_with_sk: client(
    400,
    'bad_request_error',
    'key',
    "Invalid key format. LiteLLM Virtual Key must start with 'sk-'.",
  ),
  key_prefix_reserved: client(
    400,
    'bad_request_error',
    'key',
    "A custom key must not start with 'sk-c1': that prefix marks generated keys. Choose another value.",
  ),
  key_too_short: client(400, 'bad_request_error', 'key', 'A custom key must have at least {charsMin} characters.'),
  invalid_key_format: client(
    400,
    'bad_request_error',
    'key',
    'Expected a key that starts with sk- or the 64 hex digits of its hash.',
  ),
  negative_budget: client(400, 'bad_request_error', null, '{field} can not be negative. Received {value}'),
  invalid_duration: client(
    400,
    'bad_request_error',
    null,
    'Invalid duration format for {field}: {value}. Expected a number and a unit: s, m, h, d, w or mo, for example 30d.',
  ),
  unsupported_duration_unit: client(
    400,
    'bad_request_error',
    null,
    'Unsupported duration unit for {field}: {value}. Use s, m, h, d, w or mo, for example 30d.',
  ),
  invalid_sort: client(400, 'bad_request_error', null, 'Invalid {field}: {value}. Use one of {allowed}.'),

  // Our own troubles.
  internal_error: gateway(500, 'internal_server_error', 'Internal server error', { retryable: false }),
  database_away: gateway(503, 'no_db_connection', 'The database can not be reached at the moment. Retry shortly.', {
    retryAfterSeconds: 1,
  }),
  control_process_away: gateway(
    503,
    'no_db_connection',
    'The control process of this instance does not answer at the moment. LLM routes go on being served. Retry shortly.',
    { retryAfterSeconds: 1 },
  ),
  no_control_process: gateway(
    503,
    'no_db_connection',
    'This instance has no control process. Send management requests to the admin instance.',
    { log: 'info', retryable: false },
  ),
  relay_busy: gateway(
    503,
    'overloaded_error',
    'Too many management requests are in progress on this instance ({limit}). Retry later.',
    { log: 'warn', retryAfterSeconds: 1 },
  ),
  instance_leaving: gateway(
    503,
    'overloaded_error',
    'This instance is being stopped and takes no new calls. Send the call again: a balancer that asks /health/readiness reaches another instance.',
    { log: 'info', retryAfterSeconds: 1 },
  ),
  worker_at_capacity: gateway(
    503,
    'overloaded_error',
    'Worker at capacity: {inFlight} in-flight, {queued} queued requests. Retry later.',
    { log: 'warn', retryAfterSeconds: 1 },
  ),
  usage_log_unavailable: gateway(
    503,
    'overloaded_error',
    'This instance can not write its usage log, so the call was not sent to a provider. Retry at another instance or later.',
    { retryAfterSeconds: 5 },
  ),
  draining: gateway(503, 'overloaded_error', 'This instance is shutting down. Retry at another instance.', {
    log: 'info',
    retryAfterSeconds: 1,
  }),

  models_not_in_database: gateway(
    500,
    'auth_error',
    "Models are not kept in the database of this instance. Set `STORE_MODEL_IN_DB='True'` in your env to enable this feature.",
    { log: 'info', retryable: false },
  ),

  // Limits.
  budget_exceeded: client(
    429,
    'budget_exceeded',
    null,
    'Budget has been exceeded! {entity} Current cost: {cost}, Max budget: {maximum}{rest}',
  ),
  budget_unreachable: gateway(
    503,
    'overloaded_error',
    'Whether the budget of {entity} allows this call can not be found out at the moment: nothing of it is held here and the control plane did not answer in time. Retry shortly.',
    { retryAfterSeconds: 1 },
  ),
  rate_limit_exceeded: client(
    429,
    'throttling_error',
    'None',
    'Rate limit exceeded for {descriptor}: {value}. Limit type: {quantity}. Current limit: {limit}, Remaining: {remaining}. Limit resets at: {reset}',
  ),

  // Routing.
  no_healthy_deployment: client(
    400,
    'invalid_request_error',
    'model',
    'There are no healthy deployments for this model: {model}',
    { log: 'warn' },
  ),
  no_deployments_available: client(
    429,
    'None',
    'None',
    'No deployments available for selected model, try again in {seconds} seconds. Passed model={model}.',
    { log: 'warn', retryable: true },
  ),

  // The provider. Messages are `litellm.{Class}: {Provider}Exception - <text>`, as LiteLLM's clients parse them.
  upstream_bad_request: upstream(
    400,
    'invalid_request_error',
    'litellm.BadRequestError: {provider}Exception - {text}',
    {
      retryable: false,
    },
  ),
  upstream_context_window_exceeded: upstream(
    400,
    'invalid_request_error',
    'litellm.ContextWindowExceededError: litellm.BadRequestError: {provider}Exception - {text}',
    { retryable: false },
  ),
  upstream_content_policy_violation: upstream(
    400,
    'invalid_request_error',
    'litellm.ContentPolicyViolationError: litellm.BadRequestError: {provider}Exception - {text}',
    { retryable: false },
  ),
  upstream_authentication: upstream(401, 'auth_error', 'litellm.AuthenticationError: {provider}Exception - {text}', {
    log: 'error',
  }),
  upstream_permission_denied: upstream(
    403,
    'auth_error',
    'litellm.PermissionDeniedError: {provider}Exception - {text}',
  ),
  upstream_not_found: upstream(404, 'not_found_error', 'litellm.NotFoundError: {provider}Exception - {text}'),
  upstream_timeout: upstream(408, 'timeout_error', 'litellm.Timeout: {provider}Exception - {text}'),
  upstream_unprocessable: upstream(
    422,
    'invalid_request_error',
    'litellm.UnprocessableEntityError: {provider}Exception - {text}',
    { retryable: false },
  ),
  upstream_rate_limit: upstream(429, 'throttling_error', 'litellm.RateLimitError: {provider}Exception - {text}'),
  upstream_connection: upstream(
    500,
    'internal_server_error',
    'litellm.APIConnectionError: {provider}Exception - {text}',
  ),
  upstream_api_error: upstream(500, 'internal_server_error', 'litellm.APIError: {provider}Exception - {text}'),
  upstream_internal: upstream(
    500,
    'internal_server_error',
    'litellm.InternalServerError: {provider}Exception - {text}',
  ),
  upstream_invalid_response: upstream(
    500,
    'internal_server_error',
    'litellm.APIResponseValidationError: {provider}Exception - {text}',
  ),
  upstream_bad_gateway: upstream(502, 'internal_server_error', 'litellm.BadGatewayError: {provider}Exception - {text}'),
  upstream_unavailable: upstream(
    503,
    'overloaded_error',
    'litellm.ServiceUnavailableError: {provider}Exception - {text}',
  ),
  /** Inside a stream whose status 200 is already out: the last `data:` frame. */
  upstream_stream_cut: upstream(
    500,
    'internal_server_error',
    'litellm.APIConnectionError: {provider}Exception - {text}',
    {
      retryable: false,
    },
  ),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

type Placeholder<Text extends string> = Text extends `${string}{${infer Name}}${infer Tail}`
  ? Name | Placeholder<Tail>
  : never;

/** The named values that the text of `Code` needs. */
export type ErrorValues<Code extends ErrorCode> = Readonly<
  Record<Placeholder<(typeof ERROR_CATALOGUE)[Code]['message']>, string | number>
>;

export interface ErrorOverrides {
  readonly cause?: unknown;
  /** Only for upstream errors whose status is the provider's own (`upstream_api_error`). */
  readonly status?: number;
  readonly type?: string;
  readonly param?: string | null;
  readonly retryAfterSeconds?: number;
  /** Replaces the text as top-level `detail`, e.g. the list of a 422. */
  readonly detail?: JsonValue;
  /** False for a failure after which no further deployment may be tried, and the reverse. */
  readonly retryable?: boolean;
}

type ErrorArguments<Code extends ErrorCode> = [keyof ErrorValues<Code>] extends [never]
  ? [values?: Readonly<Record<string, never>>, overrides?: ErrorOverrides]
  : [values: ErrorValues<Code>, overrides?: ErrorOverrides];

/** An expected error, on its way to the client. What must not leave travels as `cause`. */
export class ClavigerError<Code extends ErrorCode = ErrorCode> extends Error {
  readonly code: Code;
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly fault: Fault;
  readonly log: ErrorLogLevel;
  readonly retryable: boolean;
  readonly retryAfterSeconds: number | null;
  readonly detail: JsonValue | undefined;

  constructor(code: Code, ...[values, overrides = {}]: ErrorArguments<Code>) {
    const entry: ErrorEntry = ERROR_CATALOGUE[code];
    const limit = Error.stackTraceLimit;
    // A stack says nothing about a mistake of the client or the provider, and taking one is most of an error's cost.
    if (entry.fault !== 'gateway') Error.stackTraceLimit = 0;
    super(
      fillTemplate(entry.message, values as Readonly<Record<string, string | number>> | undefined),
      overrides.cause === undefined ? undefined : { cause: overrides.cause },
    );
    Error.stackTraceLimit = limit;
    this.name = 'ClavigerError';
    this.code = code;
    this.status = overrides.status ?? entry.status;
    this.type = overrides.type ?? entry.type;
    this.param = overrides.param === undefined ? entry.param : overrides.param;
    this.fault = entry.fault;
    this.log = entry.log;
    this.retryable = overrides.retryable ?? entry.retryable;
    this.retryAfterSeconds = overrides.retryAfterSeconds ?? entry.retryAfterSeconds ?? null;
    this.detail = overrides.detail ?? (entry.detail === true ? this.message : undefined);
  }
}

export interface ErrorBody {
  readonly detail?: JsonValue;
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    /** The HTTP status as text. */
    readonly code: string;
    readonly litellm_call_id?: string;
  };
}

/** LiteLLM's envelope. `callId` is given only when `include_call_id_in_error_body` is on. */
export function errorBody(error: ClavigerError, callId?: string): ErrorBody {
  const { message, type, param, status, detail } = error;
  const inner = { message, type, param, code: String(status) };
  const envelope = callId === undefined ? inner : { ...inner, litellm_call_id: callId };
  return detail === undefined ? { error: envelope } : { detail, error: envelope };
}

/** Whatever was thrown, as something that may be shown: an unexpected error becomes `internal_error` with a cause. */
export function toClavigerError(thrown: unknown): ClavigerError {
  if (thrown instanceof ClavigerError) return thrown;
  return new ClavigerError('internal_error', {}, { cause: thrown });
}

/** A list as LiteLLM's texts show it: `['a', 'b']`. */
export function listText(items: readonly string[]): string {
  return `[${items.map((item) => `'${item}'`).join(', ')}]`;
}

function fillTemplate(template: string, values: Readonly<Record<string, string | number>> | undefined): string {
  if (values === undefined || !template.includes('{')) return template;
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : String(value);
  });
}
