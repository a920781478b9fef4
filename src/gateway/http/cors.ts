import type { IncomingMessage } from 'node:http';

export interface CorsSettings {
  readonly origins: readonly string[];
  readonly allowCredentials: boolean;
}

const ALLOWED_METHODS = 'GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD';

/** Headers for a request from a browser of another origin, as a flat list; none without an `origin` header. */
export function corsHeaders(request: IncomingMessage, settings: CorsSettings): readonly string[] {
  const { origin } = request.headers;
  if (origin === undefined) return NONE;
  const any = settings.origins.includes('*');
  if (!any && !settings.origins.includes(origin)) return NONE;
  // A wildcard and credentials exclude each other; LiteLLM turns credentials off then.
  if (any) return ['access-control-allow-origin', '*', 'access-control-expose-headers', '*'];
  const headers = ['access-control-allow-origin', origin, 'vary', 'origin', 'access-control-expose-headers', '*'];
  if (settings.allowCredentials) headers.push('access-control-allow-credentials', 'true');
  return headers;
}

/** Further headers of the answer to a preflight. */
export function preflightHeaders(request: IncomingMessage): readonly string[] {
  const asked = request.headers['access-control-request-headers'];
  return [
    'access-control-allow-methods',
    ALLOWED_METHODS,
    'access-control-allow-headers',
    typeof asked === 'string' && asked.length <= 4096 ? asked : '*',
    'access-control-max-age',
    '600',
  ];
}

const NONE: readonly string[] = [];
