import type { Deployment } from '../../../domain/deployment.ts';
import type { JsonObject, JsonValue } from '../../../domain/virtual-key.ts';
import type { Exchange } from '../../exchange.ts';
import { editLlmBody, type LlmBody } from '../../http/llm-body.ts';
import type { UpstreamRequest } from '../upstream.ts';

/** Body members that are for the gateway; a provider would refuse them or, worse, act on them. */
const GATEWAY_MEMBERS: ReadonlySet<string> = new Set([
  'metadata',
  'tags',
  'fallbacks',
  'context_window_fallbacks',
  'content_policy_fallbacks',
  'num_retries',
  'max_retries',
  'timeout',
  'request_timeout',
  'cache',
  'caching',
  'guardrails',
  'policies',
  'prompt_id',
  'prompt_variables',
  'mock_response',
  'mock_timeout',
  'mock_testing_fallbacks',
  'drop_params',
  'additional_drop_params',
  'allowed_openai_params',
  'extra_headers',
  'extra_body',
  'modify_params',
  'api_base',
  'base_url',
  'api_key',
  'api_version',
  'custom_llm_provider',
  'litellm_session_id',
  'litellm_trace_id',
  'litellm_metadata',
  'litellm_call_id',
  'litellm_params',
  'no-log',
]);
/** The built-in provider is told what to do in the body. */
const FAKE_PROVIDER = 'fake';
const NO_MEMBERS: ReadonlySet<string> = new Set();

const PATHS = { chat: '/chat/completions', completions: '/completions', embeddings: '/embeddings' } as const;

/** The provider request of an attempt: the client's body with the model of the deployment, and headers of our own. */
export function buildUpstreamRequest(exchange: Exchange, deployment: Deployment): UpstreamRequest {
  const { endpoint, stream, context } = exchange;
  const body = exchange.body!;
  const { router } = context.knowledge.configuration;
  const timeoutMs = stream
    ? (deployment.streamTimeoutMs ?? deployment.timeoutMs ?? router.streamTimeoutMs)
    : (deployment.timeoutMs ?? router.timeoutMs);
  const limitMs = Math.min(timeoutMs, clientTimeoutMs(exchange, stream));
  return {
    deployment,
    method: 'POST',
    path: PATHS[endpoint.kind],
    sharedHeaders: sharedHeaders(deployment),
    headers: ['accept', stream ? 'text/event-stream' : 'application/json', 'x-litellm-call-id', exchange.callId],
    body: editLlmBody(body, {
      set: membersToSet(body, exchange.model!.upstreamName(deployment), stream && deployment.takesStreamOptions),
      defaults: deployment.defaultBody,
      remove: deployment.provider === FAKE_PROVIDER ? NO_MEMBERS : GATEWAY_MEMBERS,
    }),
    stream,
    headersTimeoutMs: limitMs,
    bodyTimeoutMs: limitMs,
  };
}

function membersToSet(body: LlmBody, model: string, askUsage: boolean): Record<string, JsonValue> {
  const set: Record<string, JsonValue> = {};
  if (body.read['model'] !== model) set['model'] = model;
  if (askUsage) {
    const options = body.read['stream_options'];
    const given =
      typeof options === 'object' && options !== null && !Array.isArray(options) ? (options as JsonObject) : {};
    // Usage is always asked for, or a stream could not be billed; a client that did not ask does not see it.
    if (given['include_usage'] !== true) set['stream_options'] = { ...given, include_usage: true };
  }
  return set;
}

/** `x-litellm-timeout` and `x-litellm-stream-timeout`, in seconds: may shorten, never lengthen. */
function clientTimeoutMs(exchange: Exchange, stream: boolean): number {
  const { headers } = exchange.request;
  const value = (stream ? headers['x-litellm-stream-timeout'] : undefined) ?? headers['x-litellm-timeout'];
  if (typeof value !== 'string') return Number.POSITIVE_INFINITY;
  const seconds = Number(value);
  return seconds > 0 ? seconds * 1000 : Number.POSITIVE_INFINITY;
}

const HEADERS = new WeakMap<Deployment, readonly string[]>();

function sharedHeaders(deployment: Deployment): readonly string[] {
  let headers = HEADERS.get(deployment);
  if (headers === undefined) {
    const list = ['content-type', 'application/json', 'accept-encoding', 'identity', 'user-agent', 'claviger'];
    if (deployment.apiKey !== null) list.push('authorization', `Bearer ${deployment.apiKey}`);
    if (deployment.organization !== null) list.push('openai-organization', deployment.organization);
    for (const [name, value] of Object.entries(deployment.extraHeaders)) list.push(name.toLowerCase(), value);
    headers = list;
    HEADERS.set(deployment, headers);
  }
  return headers;
}
