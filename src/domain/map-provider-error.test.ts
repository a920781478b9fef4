import { describe, expect, it } from 'vitest';
import {
  invalidProviderAnswer,
  mapProviderError,
  mapUpstreamFailure,
  PROVIDER_TEXT_CHARS_MAX,
} from './map-provider-error.ts';

const openAi = (message: string, rest: object = {}) =>
  JSON.stringify({ error: { message, type: 'x', param: null, code: null, ...rest } });

describe('mapProviderError', () => {
  it.each([
    [400, 'BadRequestError', 400, 'invalid_request_error'],
    [401, 'AuthenticationError', 401, 'auth_error'],
    [403, 'PermissionDeniedError', 403, 'auth_error'],
    [404, 'NotFoundError', 404, 'not_found_error'],
    [408, 'Timeout', 408, 'timeout_error'],
    [422, 'UnprocessableEntityError', 422, 'invalid_request_error'],
    [429, 'RateLimitError', 429, 'throttling_error'],
    [500, 'InternalServerError', 500, 'internal_server_error'],
    [502, 'BadGatewayError', 502, 'internal_server_error'],
    [503, 'ServiceUnavailableError', 503, 'overloaded_error'],
    [504, 'Timeout', 408, 'timeout_error'],
    [529, 'ServiceUnavailableError', 503, 'overloaded_error'],
    [402, 'APIError', 402, 'invalid_request_error'],
    [409, 'APIError', 409, 'invalid_request_error'],
    [507, 'APIError', 507, 'internal_server_error'],
    [302, 'BadGatewayError', 502, 'internal_server_error'],
  ])('HTTP %s is %s', (status, name, answered, type) => {
    const error = mapProviderError(status, openAi('Something happened'), 'OpenAI');
    expect(error.message).toBe(`litellm.${name}: OpenAIException - Something happened`);
    expect([error.status, error.type]).toEqual([answered, type]);
    expect(error.fault).toBe('upstream');
  });

  it.each([
    [400, "This model's maximum context length is 8192 tokens. However, you requested 9000"],
    [400, 'prompt is too long: 210000 tokens > 200000 maximum'],
    [422, '`inputs` tokens + `max_new_tokens` must be <= 4096'],
    [500, 'the request exceeds the available context size, try increasing it'],
    [400, 'The maximum input length is 131,072 tokens'],
  ])('%s "%s" is a context window error', (status, text) => {
    const error = mapProviderError(status, openAi(text), 'OpenAI');
    expect(error.code).toBe('upstream_context_window_exceeded');
    expect(error.status).toBe(400);
  });

  it('reads the code as well as the text', () => {
    expect(mapProviderError(400, openAi('No.', { code: 'context_length_exceeded' }), 'X').code).toBe(
      'upstream_context_window_exceeded',
    );
    expect(mapProviderError(400, openAi('No.', { code: 'content_filter' }), 'X').code).toBe(
      'upstream_content_policy_violation',
    );
    const azure = openAi('No.', { code: 'x', innererror: { code: 'ResponsibleAIPolicyViolation' } });
    expect(mapProviderError(400, azure, 'X').code).toBe('upstream_content_policy_violation');
  });

  it('keeps a rate limit a rate limit although its text speaks of context or of policy', () => {
    expect(mapProviderError(429, openAi('Request too large: maximum context length'), 'X').code).toBe(
      'upstream_rate_limit',
    );
  });

  it.each([
    [403, 'Quota exceeded for quota metric'],
    [503, 'Rate-limit reached'],
    [500, 'Service tier capacity exceeded for this model'],
    [500, 'RESOURCE_EXHAUSTED'],
  ])('finds the rate limit behind %s "%s"', (status, text) => {
    expect(mapProviderError(status, openAi(text), 'X').code).toBe('upstream_rate_limit');
  });

  it('reads every shape of error body', () => {
    const text = (body: string) => mapProviderError(400, body, 'X').message.split('XException - ')[1];
    expect(text('{"error":"plain"}')).toBe('plain');
    expect(text('{"object":"error","message":"mistral","type":"t","code":1}')).toBe('mistral');
    expect(text('{"detail":"fastapi"}')).toBe('fastapi');
    expect(text('{"detail":[{"loc":["body"],"msg":"m"}]}')).toBe('[{"loc":["body"],"msg":"m"}]');
    expect(text('[{"error":{"code":400,"message":"google","status":"INVALID_ARGUMENT"}}]')).toBe('google');
    expect(text('just words')).toBe('just words');
    expect(text('{"broken":')).toBe('{"broken":');
    expect(text('')).toBe('HTTP status 400 without a message');
    expect(text('{"unknown":true}')).toBe('{"unknown":true}');
  });

  it('shows the title of an HTML page and not the page', () => {
    const page =
      '<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><script>x</script></body></html>';
    const error = mapProviderError(502, page, 'Groq');
    expect(error.message).toBe(
      'litellm.BadGatewayError: GroqException - The provider answered with an HTML page: 502 Bad Gateway',
    );
    expect(mapProviderError(500, '<html><body></body></html>', 'Groq').message).not.toContain('<');
  });

  it('passes the provider\u2019s param on', () => {
    expect(mapProviderError(400, openAi('bad', { param: 'temperature' }), 'X').param).toBe('temperature');
  });

  it('strikes credentials, those of the deployment and those that look like one', () => {
    const body = openAi(
      'Incorrect API key provided: my-odd-credential-1. Also sk-proj-abcdefghijklmnopqrst and Bearer abc.def.ghi-123',
    );
    const { message } = mapProviderError(401, body, 'OpenAI', ['my-odd-credential-1']);
    expect(message).not.toMatch(/my-odd-credential|abcdefghij|abc\.def/);
    expect(message).toContain('[credential]');
  });

  it('cuts a long text', () => {
    expect(mapProviderError(500, 'x'.repeat(100_000), 'X').message.length).toBeLessThan(PROVIDER_TEXT_CHARS_MAX + 100);
  });

  it('does not try a further deployment for what the client sent, and does for the rest', () => {
    const retryable = (status: number) => mapProviderError(status, openAi('x'), 'X').retryable;
    expect([400, 413, 422].map(retryable)).toEqual([false, false, false]);
    expect([401, 402, 404, 408, 409, 429, 500, 502, 503, 504].every(retryable)).toBe(true);
  });
});

describe('mapUpstreamFailure', () => {
  it('maps what happens below HTTP to LiteLLM\u2019s classes', () => {
    const map = (kind: 'connect' | 'timeout' | 'reset' | 'protocol' | 'tls') =>
      mapUpstreamFailure(kind, 'OpenAI', 'what happened');
    expect(map('connect').message).toBe('litellm.APIConnectionError: OpenAIException - what happened');
    expect(map('connect').status).toBe(500);
    expect([map('timeout').status, map('timeout').message]).toEqual([
      408,
      'litellm.Timeout: OpenAIException - what happened',
    ]);
    expect(map('protocol').code).toBe('upstream_invalid_response');
    expect([map('reset').code, map('tls').code]).toEqual(['upstream_connection', 'upstream_connection']);
  });
});

describe('invalidProviderAnswer', () => {
  it('says that the answer is not what was expected', () => {
    expect(invalidProviderAnswer('', 'X').message).toContain('empty body');
    expect(invalidProviderAnswer('<html><title>Hi</title>', 'X').message).toContain('HTML page: Hi');
    expect(invalidProviderAnswer('<html>', 'X').status).toBe(500);
  });
});
