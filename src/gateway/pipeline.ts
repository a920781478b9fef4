import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ClavigerError, errorBody, toClavigerError } from '../domain/error-catalogue.ts';
import { normaliseTarget } from '../domain/normalise-path.ts';
import {
  classify,
  decide,
  type LlmEndpoint,
  llmEndpoint,
  methodStatus,
  plainLlmEndpoint,
  type Route,
} from '../domain/route-class.ts';
import type { Identity } from './auth/authenticate.ts';
import { authorise } from './auth/authorise.ts';
import { ALIVE, deploymentHealth, readiness } from './endpoints/health.ts';
import { getModel, listModels } from './endpoints/models.ts';
import type { Relay } from './endpoints/relay-to-control.ts';
import { Exchange } from './exchange.ts';
import type { FrontResponse } from './front/front-response.ts';
import type { FrontHandler } from './front/front-server.ts';
import type { SimpleRequest } from './front/parse-simple-request.ts';
import type { GatewayContext } from './gateway-context.ts';
import { clientCallId } from './http/call-id.ts';
import { clientAddress, plainAddress } from './http/client-address.ts';
import { CompleteClientRequest, NodeClientRequest } from './http/client-request.ts';
import { type CorsSettings, corsHeaders, preflightHeaders } from './http/cors.ts';
import { waitsForContinue } from './http/read-body.ts';
import { endsConnection, writeError } from './http/write-error.ts';
import type { OpenRequest } from './server.ts';

export interface PipelineOptions {
  readonly cors: CorsSettings;
  /** Null on an instance without a control process. */
  readonly relay: Relay | null;
  /** Metrics of the whole instance as exposition text. */
  readonly metricsText: () => Promise<string>;
}

/**
 * Where a request goes, in order: one reading of the path; LLM endpoints to an `Exchange`; health, models and metrics answered
 * here from memory; what this instance has switched off refused (401 before 403); everything else relayed to the control process.
 */
export class Pipeline implements FrontHandler {
  readonly #context: GatewayContext;
  readonly #options: PipelineOptions;

  constructor(context: GatewayContext, options: PipelineOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** One request. Never throws and never leaves a request without an answer. */
  handle(request: IncomingMessage, response: ServerResponse): OpenRequest {
    const callId = clientCallId(request.headers);
    try {
      if (request.headers.host === undefined && request.httpVersion === '1.1')
        throw new ClavigerError('malformed_http');
      const cors = corsHeaders(request, this.#options.cors);
      if (cors.length > 0)
        for (let index = 0; index < cors.length; index += 2) response.setHeader(cors[index]!, cors[index + 1]!);
      if (this.#context.isDraining()) response.shouldKeepAlive = false;
      const target = normaliseTarget(request.url ?? '/', this.#context.serverRootPath);
      if (!target.ok) {
        throw target.refusal === 'outside_root'
          ? new ClavigerError('not_found')
          : new ClavigerError('target_not_normalisable', { reason: target.refusal });
      }
      const { path, query } = target;
      if (request.method === 'POST') {
        const endpoint = llmEndpoint(path);
        if (endpoint !== null) {
          const client = new NodeClientRequest(request, response);
          const exchange = new Exchange(this.#context, client, response, endpoint, classify(path), path, callId);
          exchange.start();
          return { request, response, fail: (error) => exchange.fail(error) };
        }
      }
      this.#awaitingKey(
        request,
        () => this.#handleOther(request, response, path, query, callId),
        (error) => this.#fail(request, response, error, callId),
      );
    } catch (thrown) {
      this.#fail(request, response, toClavigerError(thrown), callId);
    }
    return { request, response, fail: (error) => this.#fail(request, response, error, callId) };
  }

  /** Only plain paths of LLM endpoints: whatever needs a second look is not for the front. */
  endpointOf(target: string): LlmEndpoint | null {
    const root = this.#context.serverRootPath;
    if (root !== '' && !target.startsWith(`${root}/`)) return null;
    return plainLlmEndpoint(root === '' ? target : target.slice(root.length));
  }

  isDraining(): boolean {
    return this.#context.isDraining();
  }

  /** A complete request to an LLM endpoint, from the front. */
  handleSimple(
    request: SimpleRequest,
    socket: Socket,
    response: FrontResponse,
    endpoint: LlmEndpoint,
    body: Buffer | null,
  ): void {
    const path = request.target.slice(this.#context.serverRootPath.length);
    const client = new CompleteClientRequest(request.headers, socket, body);
    const callId = clientCallId(request.headers);
    new Exchange(this.#context, client, response, endpoint, classify(path), path, callId).start();
  }

  /** A request to speak another protocol (WebSocket). Only the control process has such routes. */
  handleUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const callId = clientCallId(request.headers);
    const refuse = (error: ClavigerError): void => {
      if (!socket.destroyed) socket.end(this.rawError(error, callId));
    };
    socket.on('error', () => socket.destroy());
    const upgrade = (): void => {
      const target = normaliseTarget(request.url ?? '/', this.#context.serverRootPath);
      if (!target.ok) {
        throw target.refusal === 'outside_root'
          ? new ClavigerError('not_found')
          : new ClavigerError('target_not_normalisable', { reason: target.refusal });
      }
      const route = classify(target.path);
      const isAnsweredHere = route.class === 'health' || route.class === 'metrics';
      if (this.#guard(request, route, target.path) || isAnsweredHere) throw new ClavigerError('upgrade_not_supported');
      if (this.#options.relay === null) throw new ClavigerError('no_control_process');
      const id = callId ?? this.#context.newId();
      this.#options.relay.relayUpgrade(
        request,
        socket,
        head,
        this.#relayTarget(request, target.path, target.query, id),
        refuse,
      );
    };
    try {
      this.#awaitingKey(request, upgrade, refuse);
    } catch (thrown) {
      refuse(toClavigerError(thrown));
    }
  }

  /** A whole HTTP answer as text, for sockets that never got a `ServerResponse`. */
  rawError(error: ClavigerError, callId: string | null): string {
    const body = JSON.stringify(errorBody(error));
    const headers = this.#answerHeaders(callId ?? this.#context.newId());
    let head = `HTTP/1.1 ${error.status} ${error.status === 408 ? 'Request Timeout' : 'Error'}\r\n`;
    for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
    return `${head}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
  }

  #handleOther(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    query: string,
    callId: string | null,
  ): void {
    const method = request.method ?? 'GET';
    if (method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
      response.writeHead(200, [
        ...this.#answerHeaders(callId ?? this.#context.newId()),
        ...preflightHeaders(request),
        'content-length',
        '0',
      ]);
      response.end();
      return;
    }
    const route = classify(path);
    switch (route.class) {
      case 'health':
        this.#health(request, response, path, query, route, callId);
        break;
      case 'metrics':
        if (this.#configuration.general.requireAuthForMetrics) this.#identify(request, route, '/metrics');
        void this.#metrics(request, response, callId);
        break;
      case 'info': {
        if (method !== 'GET' && method !== 'HEAD') throw new ClavigerError('method_not_allowed');
        const identity = this.#identify(request, route, path);
        this.#json(response, 200, listModels(this.#configuration, identity, new URLSearchParams(query)), callId);
        break;
      }
      case 'llm':
      case 'pass_through': {
        const identity = this.#identify(request, route, path);
        const status = methodStatus(route, method);
        if (status === 'wrong_method') throw new ClavigerError('method_not_allowed');
        const id = modelIdIn(path);
        if (status !== 'served' || id === null) throw new ClavigerError('route_not_served', { route: path });
        this.#json(response, 200, getModel(this.#configuration, identity, id), callId);
        break;
      }
      default:
        this.#guard(request, route, path);
        this.#relay(request, response, path, query, callId);
    }
  }

  /**
   * What this instance has switched off is refused here, after authentication, so that a worker needs no control process to
   * say no. Returns whether the route is an LLM route (which is served here and never relayed).
   */
  #guard(request: IncomingMessage, route: Route, path: string): boolean {
    const isLlm = route.class === 'llm' || route.class === 'pass_through' || route.class === 'info';
    if (isLlm || decide(route, this.#context.flags) !== 'allowed') this.#identify(request, route, path);
    return isLlm;
  }

  #identify(request: IncomingMessage, route: Route, path: string): Identity {
    const identity = this.#context.authenticate.identify(request.headers);
    if (identity === null) throw KEY_AWAITED;
    authorise(identity, route, path, this.#context);
    return identity;
  }

  /** Runs `attempt`; once more when it was thrown out because its key may have been made a moment ago, after waiting for that. */
  #awaitingKey(request: IncomingMessage, attempt: () => void, refuse: (error: ClavigerError) => void): void {
    try {
      attempt();
    } catch (thrown) {
      if (thrown !== KEY_AWAITED) throw thrown;
      this.#context.authenticate
        .identifyNew(request.headers, clientAddress(request, this.#context) ?? '')
        .then(attempt)
        .catch((refusal: unknown) => refuse(toClavigerError(refusal)));
    }
  }

  #health(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    query: string,
    route: Route,
    callId: string | null,
  ): void {
    const { knowledge } = this.#context;
    const method = request.method ?? 'GET';
    if (method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS') {
      if (methodStatus(route, method) === 'wrong_method') throw new ClavigerError('method_not_allowed');
      this.#identify(request, route, path);
      throw new ClavigerError('route_not_served', { route: path });
    }
    switch (path) {
      case '/health/liveliness':
      case '/health/liveness':
        this.#json(response, 200, ALIVE, callId);
        break;
      case '/health/readiness': {
        const { status, body } = readiness(knowledge, this.#context.isDraining());
        this.#json(response, status, body, callId);
        break;
      }
      case '/health': {
        const identity = this.#identify(request, route, path);
        this.#json(response, 200, deploymentHealth(knowledge, identity, new URLSearchParams(query)), callId);
        break;
      }
      default:
        this.#identify(request, route, path);
        throw new ClavigerError('route_not_served', { route: path });
    }
  }

  async #metrics(request: IncomingMessage, response: ServerResponse, callId: string | null): Promise<void> {
    try {
      if (request.method !== 'GET' && request.method !== 'HEAD') throw new ClavigerError('method_not_allowed');
      const text = Buffer.from(await this.#options.metricsText());
      if (response.destroyed) return;
      response.writeHead(200, [
        ...this.#answerHeaders(callId ?? this.#context.newId()),
        'content-type',
        'text/plain; version=0.0.4; charset=utf-8',
        'content-length',
        String(text.length),
      ]);
      response.end(text);
    } catch (thrown) {
      this.#fail(request, response, toClavigerError(thrown), callId);
    }
  }

  #relay(request: IncomingMessage, response: ServerResponse, path: string, query: string, callId: string | null): void {
    const { relay } = this.#options;
    if (relay === null) throw new ClavigerError('no_control_process');
    // It would be cut a moment later; another process or instance can keep it.
    if (isFeed(path) && this.#context.isDraining()) throw new ClavigerError('draining');
    const id = callId ?? this.#context.newId();
    if (waitsForContinue(request)) response.writeContinue();
    relay.relay(request, response, this.#relayTarget(request, path, query, id), (error) =>
      this.#fail(request, response, error, id),
    );
  }

  #relayTarget(request: IncomingMessage, path: string, query: string, callId: string) {
    const peer = plainAddress(request.socket.remoteAddress);
    return {
      // The control process reads the same target as this process, so it gets the root path again.
      path: this.#context.serverRootPath + (query === '' ? path : `${path}?${query}`),
      callId,
      clientAddress: clientAddress(request, this.#context),
      trusted: peer !== null && this.#context.trustsProxy(peer),
      isTls: (request.socket as TLSSocket).encrypted === true,
      isFeed: isFeed(path),
    };
  }

  #json(response: ServerResponse, status: number, body: unknown, callId: string | null): void {
    const bytes = Buffer.from(JSON.stringify(body));
    response.writeHead(status, [
      ...this.#answerHeaders(callId ?? this.#context.newId()),
      'content-type',
      'application/json',
      'content-length',
      String(bytes.length),
    ]);
    response.end(bytes);
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: ClavigerError, callId: string | null): void {
    const id = callId ?? this.#context.newId();
    if (error.log === 'error')
      this.#context.log.error({ callId: id, code: error.code, cause: error.cause }, error.message);
    writeError(response, error, this.#answerHeaders(id), {
      includeCallId: this.#configuration.general.includeCallIdInErrorBody ? id : null,
      close: endsConnection(error),
    });
    request.resume();
  }

  #answerHeaders(callId: string): string[] {
    const { staticHeaders, knowledge } = this.#context;
    return ['x-litellm-call-id', callId, ...staticHeaders, 'x-claviger-rev', String(knowledge.position?.rev ?? 0)];
  }

  get #configuration() {
    return this.#context.knowledge.configuration;
  }
}

/** Thrown by a look-up that is worth another one; whoever can not wait answers with it. */
const KEY_AWAITED = new ClavigerError('key_not_known_here');

/** What joined workers ask of an admin. */
function isFeed(path: string): boolean {
  return path.startsWith('/feed/v1/');
}

function modelIdIn(path: string): string | null {
  const match = /^(?:\/v1)?\/models\/(.+)$/.exec(path);
  if (match?.[1] === undefined) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}
