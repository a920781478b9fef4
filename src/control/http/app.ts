import { type Context, Hono } from 'hono';
import { openApiDocument } from '../../contract/openapi.ts';
import { ClavigerError, errorBody, listText, toClavigerError } from '../../domain/error-catalogue.ts';
import { maskKey } from '../../domain/generated-key.ts';
import { type NormalisedTarget, normaliseTarget } from '../../domain/normalise-path.ts';
import { classify, decide, methodStatus, type Route, routeAllowedForKey } from '../../domain/route-class.ts';
import { DatabaseBusy, DatabaseUnavailable } from '../../storage/db.ts';
import { uuidV7 } from '../../util/uuid-v7.ts';
import { authenticate } from '../auth/authenticate.ts';
import { type Caller, isProxyAdmin } from '../auth/caller.ts';
import type { Origin } from '../config/append-change.ts';
import type { ControlContext } from '../context.ts';
import { ENDPOINTS } from '../handlers/all.ts';
import type { Endpoint, HandlerResult } from '../handlers/handler.ts';
import { clientCallId } from './call-id.ts';
import { parseRequest } from './parse-request.ts';
import { pathParameters } from './path-parameters.ts';
import { readWait } from './read-wait.ts';

/** Bindings of @hono/node-server; absent when a test calls `app.request`. */
type Bindings = { incoming?: { readonly url?: string } };

/**
 * The management API. Every request takes the same steps in the same order: one reading of the path, route, caller, switches of the
 * instance, rights of the caller, input, handler. Whatever is thrown becomes LiteLLM's error envelope.
 */
export function createApp(context: ControlContext): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>();
  app.all('*', async (c) => {
    const startedAtMs = context.clock.monotonicMs();
    const callId = clientCallId(c.req.raw.headers) ?? uuidV7(context.clock.nowMs(), context.randomBytes);
    const seen: Seen = { route: 'unknown' };
    const response = await respond(c, callId, seen, context);
    setCommonHeaders(response.headers, callId, context);
    report(c, callId, response.status, seen, startedAtMs, context);
    return response;
  });
  return app;
}

/** What is learned about a request on the way, for its log line. */
interface Seen {
  route: string;
  error?: ClavigerError;
}

async function respond(
  c: Context<{ Bindings: Bindings }>,
  callId: string,
  seen: Seen,
  context: ControlContext,
): Promise<Response> {
  try {
    const target = normaliseTarget(c.env?.incoming?.url ?? pathAndQuery(c.req.url), context.settings.serverRootPath);
    if (!target.ok) throw targetError(target.refusal);
    const result = await serve(c.req.raw, target, callId, seen, context);
    const headers: Record<string, string> = { ...result.headers };
    if (result.rev !== undefined) headers['x-claviger-rev'] = String(result.rev);
    if (result.events !== undefined) return new Response(result.events, { headers: { ...headers, ...EVENT_STREAM } });
    return Response.json(result.json, { headers });
  } catch (thrown) {
    const error = toClavigerError(translate(thrown));
    seen.error = error;
    const headers: Record<string, string> = {};
    if (error.retryAfterSeconds !== null) headers['retry-after'] = String(error.retryAfterSeconds);
    return Response.json(errorBody(error, callIdInBody(context) ? callId : undefined), {
      status: error.status,
      headers,
    });
  }
}

async function serve(
  request: Request,
  { path, query }: NormalisedTarget & { ok: true },
  callId: string,
  seen: Seen,
  context: ControlContext,
): Promise<HandlerResult> {
  if (path === OPENAPI_PATH && request.method === 'GET') {
    seen.route = OPENAPI_PATH;
    return { json: openApi(context) };
  }
  const route = classify(path);
  const status = methodStatus(route, request.method);
  // On an instance without administration nobody learns which paths there would be.
  if (!context.settings.flags.disableAdminEndpoints) {
    if (status === 'unknown_route') throw new ClavigerError('not_found');
    if (status === 'wrong_method') throw new ClavigerError('method_not_allowed');
  }
  if (route.path !== '') seen.route = route.path;
  const caller = await authenticate(request.headers, context);
  authorise(route, path, caller, context);
  const endpoint = BY_METHOD_AND_PATH.get(`${request.method === 'HEAD' ? 'GET' : request.method} ${route.path}`);
  if (endpoint === undefined) {
    throw status === 'unknown_route'
      ? new ClavigerError('not_found')
      : new ClavigerError('route_not_served', { route: route.path });
  }
  if (endpoint.route.access === 'proxy admin' && !isProxyAdmin(caller)) {
    const userId = caller.userId === null ? 'None' : maskKey(caller.userId);
    const role = caller.kind === 'key' ? (caller.role ?? 'unknown') : 'unknown';
    throw new ClavigerError('only_proxy_admin', { route: path, role, userId });
  }
  if (endpoint.route.access === 'model writer' && !isProxyAdmin(caller)) throw new ClavigerError('only_model_writer');
  const inPath = pathParameters(endpoint.route.path, path);
  const input = await parseRequest(endpoint.route, request, { query, inPath }, context.settings.bodyBytesMax);
  // Before the write: what is wrong with it must not be said of a change that was made.
  const wait = request.method === 'GET' ? null : readWait(query);
  const origin = originOf(request, caller, callId);
  const lastEventId = request.headers.get('last-event-id');
  const given = { ...input, caller, origin, lastEventId } as Parameters<Endpoint['handle']>[0];
  const result = await endpoint.handle(given, context);
  if (wait === null || result.rev === undefined) return result;
  const receipt = await context.receipts.receipt({ rev: result.rev, requestId: callId, ...wait });
  // LiteLLM answers some writes with a list or a number; a receipt was asked for, so it gets a place beside it.
  const json = isJsonObject(result.json) ? result.json : { result: result.json };
  return { ...result, json: { ...json, receipt } };
}

function isJsonObject(json: unknown): json is object {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

const EVENT_STREAM = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
};

function authorise(route: Route, path: string, caller: Caller, { settings }: ControlContext): void {
  switch (decide(route, settings.flags)) {
    case 'disabled_management':
      throw new ClavigerError('management_routes_disabled');
    case 'disabled_llm':
      throw new ClavigerError('llm_routes_disabled');
    case 'allowed':
      break;
  }
  if (caller.kind === 'master') return;
  const { allowed_routes } = caller.stored.key;
  if (!routeAllowedForKey(allowed_routes, path)) {
    throw new ClavigerError('route_not_allowed_for_key', { routes: listText(allowed_routes), route: path });
  }
}

const OPENAPI_PATH = '/openapi.json';

const BY_METHOD_AND_PATH: ReadonlyMap<string, Endpoint> = new Map(
  ENDPOINTS.map((endpoint) => [`${endpoint.route.method} ${endpoint.route.path}`, endpoint]),
);

function openApi({ versions, settings }: ControlContext): unknown {
  return openApiDocument(
    ENDPOINTS.map((endpoint) => endpoint.route),
    { version: versions.claviger, rootPath: settings.serverRootPath },
  );
}

/** Longer text in the header is cut; it is a name in an audit entry. */
const CHANGED_BY_CHARS_MAX = 256;

function originOf(request: Request, caller: Caller, requestId: string): Origin {
  return {
    actor: caller.userId ?? caller.token,
    actorKey: caller.token,
    changedBy: request.headers.get('litellm-changed-by')?.slice(0, CHANGED_BY_CHARS_MAX) ?? null,
    requestId,
  };
}

function translate(thrown: unknown): unknown {
  if (thrown instanceof DatabaseUnavailable || thrown instanceof DatabaseBusy) {
    return new ClavigerError('database_away', {}, { cause: thrown });
  }
  return thrown;
}

function targetError(refusal: string): ClavigerError {
  return refusal === 'outside_root'
    ? new ClavigerError('not_found')
    : new ClavigerError('target_not_normalisable', { reason: refusal });
}

function pathAndQuery(url: string): string {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

function callIdInBody(context: ControlContext): boolean {
  return context.config().generalSettings.include_call_id_in_error_body === true;
}

function setCommonHeaders(headers: Headers, callId: string, { settings, tail, versions }: ControlContext): void {
  headers.set('x-litellm-call-id', callId);
  headers.set('x-litellm-version', versions.litellm);
  headers.set('x-claviger-version', versions.claviger);
  headers.set('x-claviger-region', settings.region);
  const rev = tail.position?.rev;
  if (rev !== undefined && !headers.has('x-claviger-rev')) headers.set('x-claviger-rev', String(rev));
}

/** The query is never logged: `/key/info?key=` carries keys. */
function report(
  c: Context,
  callId: string,
  status: number,
  { route, error }: Seen,
  startedAtMs: number,
  { clock, log, metrics }: ControlContext,
): void {
  const durationMs = clock.monotonicMs() - startedAtMs;
  metrics.request(route, c.req.method, status, durationMs / 1000);
  const fields = { method: c.req.method, route, status, callId, durationMs: Math.round(durationMs) };
  if (error === undefined) log.info(fields, 'management request');
  else if (error.log === 'error') log.error({ ...fields, code: error.code, err: error }, 'management request failed');
  else log[error.log]({ ...fields, code: error.code }, 'management request refused');
}
