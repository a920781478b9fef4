import { ClavigerError, type ErrorCode, type ErrorOverrides } from './error-catalogue.ts';

/** Characters of a provider's text that are passed on; the rest is cut. Keeps an HTML page out of logs and answers. */
export const PROVIDER_TEXT_CHARS_MAX = 2_000;

/**
 * A provider's answer with an error status, as LiteLLM's error class. `provider` is the name in `{Provider}Exception`;
 * `secrets` (the deployment's credentials) are struck from the text, because some providers echo them.
 */
export function mapProviderError(
  status: number,
  bodyText: string,
  provider: string,
  secrets: readonly string[] = [],
): ClavigerError {
  const parsed = readProviderBody(bodyText);
  const text = present(parsed.text === '' ? `HTTP status ${status} without a message` : parsed.text, secrets);
  const code = classify(status, parsed);
  const own: ErrorOverrides =
    code !== 'upstream_api_error' || status > 599
      ? {}
      : // A status without a class of its own (402, 409, 413, ...) stays the provider's.
        { status, ...(status < 500 ? { type: 'invalid_request_error', retryable: status !== 413 } : {}) };
  return new ClavigerError(code, { provider, text }, parsed.param === null ? own : { ...own, param: parsed.param });
}

export type UpstreamFailureKind = 'connect' | 'timeout' | 'reset' | 'protocol' | 'tls';

/** A failure below HTTP. `detail` is shown to the client, so it must name no internal address or credential. */
export function mapUpstreamFailure(
  kind: UpstreamFailureKind,
  provider: string,
  detail: string,
  secrets: readonly string[] = [],
  cause?: unknown,
): ClavigerError {
  const code =
    kind === 'timeout' ? 'upstream_timeout' : kind === 'protocol' ? 'upstream_invalid_response' : 'upstream_connection';
  return new ClavigerError(code, { provider, text: present(detail, secrets) }, { cause });
}

/** A 2xx answer that is not what was asked for: not JSON, not an object, the wrong shape. */
export function invalidProviderAnswer(
  bodyText: string,
  provider: string,
  secrets: readonly string[] = [],
): ClavigerError {
  const shown = readProviderBody(bodyText).text;
  const text =
    shown === ''
      ? 'The provider answered with an empty body.'
      : `The provider's answer is not the JSON that was expected: ${shown}`;
  return new ClavigerError('upstream_invalid_response', { provider, text: present(text, secrets) });
}

type ProviderErrorCode = Extract<ErrorCode, `upstream_${string}`>;

interface ProviderBody {
  readonly text: string;
  readonly param: string | null;
  /** `error.code`, `error.type` and inner codes, lower case, joined by a blank. */
  readonly codes: string;
}

function classify(status: number, body: ProviderBody): ProviderErrorCode {
  const haystack = body.text.toLowerCase();
  // Context window and content policy first: fallbacks are chosen by these classes, whatever the status says.
  if (TEXT_BEFORE_STATUS.has(status)) {
    if (CONTEXT_WINDOW.test(haystack) || body.codes.includes('context_length_exceeded')) {
      return 'upstream_context_window_exceeded';
    }
    if (CONTENT_POLICY.test(haystack) || CONTENT_POLICY_CODES.test(body.codes))
      return 'upstream_content_policy_violation';
  }
  const fixed = CLASS_BY_STATUS[status];
  if (fixed !== undefined && !RATE_LIMIT_MAY_HIDE_IN.has(status)) return fixed;
  if (RATE_LIMIT.test(haystack) || body.codes.includes('resource_exhausted')) return 'upstream_rate_limit';
  if (fixed !== undefined) return fixed;
  if (status < 400) return 'upstream_bad_gateway';
  return 'upstream_api_error';
}

/** A 401 or 429 is what it says; the others carry the interesting cases in their text (llama.cpp: 500, OpenRouter: 403). */
const TEXT_BEFORE_STATUS: ReadonlySet<number> = new Set([400, 403, 413, 422, 500]);
/** Statuses under which some providers report an exhausted quota. */
const RATE_LIMIT_MAY_HIDE_IN: ReadonlySet<number> = new Set([403, 500, 503]);

const CLASS_BY_STATUS: Readonly<Record<number, ProviderErrorCode>> = {
  400: 'upstream_bad_request',
  401: 'upstream_authentication',
  403: 'upstream_permission_denied',
  404: 'upstream_not_found',
  408: 'upstream_timeout',
  422: 'upstream_unprocessable',
  429: 'upstream_rate_limit',
  500: 'upstream_internal',
  502: 'upstream_bad_gateway',
  503: 'upstream_unavailable',
  504: 'upstream_timeout',
  529: 'upstream_unavailable',
};

const CONTEXT_WINDOW = new RegExp(
  [
    'maximum context length',
    'exceed context limit',
    'string too long\\. expected',
    "model's maximum context limit",
    "longer than the model's context length",
    'input tokens exceed the configured limit',
    '`?inputs`? tokens \\+ `?max_new_tokens`? must be',
    'exceeds the available context size',
    'exceeds the maximum number of tokens allowed',
    'maximum input length is [\\d,. ]+tokens',
    'prompt is too long',
    'too many tokens',
    'input is too long',
    'expected maxlength',
    'request payload size exceeds',
    'context_length_exceeded',
  ].join('|'),
);
const CONTENT_POLICY =
  /content_policy_violation|content policy|content management policy|responsibleaipolicyviolation|invalid_prompt|your request was rejected as a result of our safety system|\bflagged\b/;
const CONTENT_POLICY_CODES = /content_policy_violation|content_filter|responsibleaipolicyviolation|invalid_prompt/;
const RATE_LIMIT = /\b429\b|rate[ _-]limit|service tier capacity exceeded|\bquota\b|resource[ _-]?exhausted/;

/**
 * Reads what providers put into an error body: `{error: {message}}`, `{error: "text"}`, `{message}`, `{detail}`, a list
 * that holds one of these (Google), plain text, or the HTML page of some proxy in between.
 */
function readProviderBody(bodyText: string): ProviderBody {
  const trimmed = bodyText.trim();
  if (trimmed.startsWith('{') || trimmed.startsWith('[')) {
    try {
      const read = readJson(JSON.parse(trimmed) as unknown);
      if (read !== null) return read;
    } catch {
      // Not JSON after all: shown as text below.
    }
  }
  if (/^<(!doctype|html|head|body|\?xml)/i.test(trimmed)) return { text: htmlTitle(trimmed), param: null, codes: '' };
  return { text: trimmed, param: null, codes: '' };
}

function readJson(value: unknown): ProviderBody | null {
  const body: unknown = Array.isArray(value) ? value[0] : value;
  if (!isRecord(body)) return null;
  const error = isRecord(body.error) ? body.error : null;
  const text = firstText(error?.message, body.error, body.message, error?.detail, body.detail, body.error_message);
  if (text === null) return null;
  const holder = error ?? body;
  const inner = isRecord(holder.innererror) ? holder.innererror : {};
  const codes = [holder.code, holder.type, holder.status, inner.code].filter((part) => typeof part === 'string');
  return { text, param: typeof holder.param === 'string' ? holder.param : null, codes: codes.join(' ').toLowerCase() };
}

function firstText(...candidates: readonly unknown[]): string | null {
  for (const candidate of candidates) {
    if (typeof candidate === 'string' && candidate !== '') return candidate;
    // FastAPI's `detail` is a list of objects; some providers nest the message once more.
    if (Array.isArray(candidate) && candidate.length > 0) return JSON.stringify(candidate);
  }
  return null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function htmlTitle(html: string): string {
  const title = /<title[^>]*>([^<]{1,300})/i.exec(html)?.[1]?.trim();
  const heading = title === undefined || title === '' ? /<h1[^>]*>([^<]{1,300})/i.exec(html)?.[1]?.trim() : title;
  if (heading === undefined || heading === '') return 'The provider answered with an HTML page.';
  return `The provider answered with an HTML page: ${heading}`;
}

function present(text: string, secrets: readonly string[]): string {
  let shown = text;
  for (const secret of secrets) if (secret.length >= 8) shown = shown.replaceAll(secret, '[credential]');
  // Also what only looks like a credential: a key echoed by the provider need not be the one of this deployment.
  shown = shown.replace(/\b(sk|gsk|xai|pplx|hf|nvapi|csk|fw)[-_][A-Za-z0-9_-]{16,}/g, '[credential]');
  shown = shown.replace(/\bBearer\s+[A-Za-z0-9._~+/-]{8,}=*/gi, 'Bearer [credential]');
  return shown.length <= PROVIDER_TEXT_CHARS_MAX ? shown : `${shown.slice(0, PROVIDER_TEXT_CHARS_MAX)}... (cut)`;
}
