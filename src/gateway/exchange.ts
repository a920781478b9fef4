import type { Deployment } from '../domain/deployment.ts';
import { ClavigerError, type ErrorCode, toClavigerError } from '../domain/error-catalogue.ts';
import { ZERO_NANO } from '../domain/money.ts';
import { planAttempts } from '../domain/plan-attempts.ts';
import type { LlmEndpoint, Route } from '../domain/route-class.ts';
import { NO_USAGE, type TokenUsage } from '../domain/usage.ts';
import type { JsonValue } from '../domain/virtual-key.ts';
import { accountsOfCall } from './auth/accounts-of-call.ts';
import type { Identity } from './auth/authenticate.ts';
import { authorise } from './auth/authorise.ts';
import { tagsOfCall } from './auth/call-tags.ts';
import { customerIdOf } from './auth/customer-id.ts';
import type { CallAccount } from './auth/with-budget-object.ts';
import type { GatewayContext } from './gateway-context.ts';
import { clientAddress } from './http/client-address.ts';
import type { ClientRequest } from './http/client-request.ts';
import type { ClientResponse } from './http/client-response.ts';
import { guardBody } from './http/guard-body.ts';
import { type LlmBody, parseLlmBody } from './http/llm-body.ts';
import type { BodyReader } from './http/read-body.ts';
import { endsConnection, writeError } from './http/write-error.ts';
import { CallBudgets, type Funds, usesOfCall } from './limits/call-budgets.ts';
import { CallLimits } from './limits/call-limits.ts';
import { pushKeyLimitHeaders } from './limits/rate-limit-headers.ts';
import { subjectsOfCall } from './limits/subjects-of-call.ts';
import { Attempt } from './routing/attempt.ts';
import { type ResolvedModel, resolveModel } from './routing/resolve-model.ts';

/** A caller who was identified longer ago, before its body came, is identified again. */
const IDENTITY_AGE_MAX_MS = 100;

/**
 * One LLM request from socket to usage row; one object per request. The order is that of the pipeline:
 * authenticate, instance switches, allowed routes, read body once, guard, resolve and authorise the model, plan the attempts,
 * then one `Attempt` after another until one answers. The first answer or error wins; after it nothing is sent.
 */
export class Exchange implements BodyReader {
  readonly context: GatewayContext;
  readonly request: ClientRequest;
  readonly response: ClientResponse;
  readonly endpoint: LlmEndpoint;
  /** Normalised path. */
  readonly route: string;
  readonly callId: string;
  /** False when the client chose it. */
  readonly callIdIsOurs: boolean;
  readonly startedAtMs: number;
  readonly startedMonotonicMs: number;
  readonly #routeRow: Route;
  identity: Identity | null = null;
  body: LlmBody | null = null;
  /** Whom the call is made for, as its client names it. */
  customerId: string | null = null;
  tags: readonly string[] = [];
  /** Who is limited and charged besides the key, which `identity.scope` has; order as in `accountsOfCall`. */
  accounts: readonly CallAccount[] = [];
  model: ResolvedModel | null = null;
  stream = false;
  /** The client asked for the usage chunk of a stream. */
  wantsStreamUsage = false;
  /** Set when the client is gone: nothing more is sent to it. */
  clientGone = false;
  #attempts: readonly Deployment[] = [];
  #nextAttempt = 0;
  #current: Attempt | null = null;
  /** Null: nobody limits this call. */
  #limits: CallLimits | null = null;
  /** Null: no budget pays for this call. */
  #budgets: CallBudgets | null = null;
  #finished = false;
  #identifiedMonotonicMs: number;

  constructor(
    context: GatewayContext,
    request: ClientRequest,
    response: ClientResponse,
    endpoint: LlmEndpoint,
    routeRow: Route,
    route: string,
    clientCallId: string | null,
  ) {
    this.context = context;
    this.request = request;
    this.response = response;
    this.endpoint = endpoint;
    this.route = route;
    this.callIdIsOurs = clientCallId === null;
    this.callId = clientCallId ?? context.newId();
    this.#routeRow = routeRow;
    this.startedAtMs = context.clock.nowMs();
    this.startedMonotonicMs = context.clock.monotonicMs();
    this.#identifiedMonotonicMs = this.startedMonotonicMs;
  }

  start(): void {
    const { context } = this;
    context.metrics.inFlight.inc();
    this.response.on('close', this.#onClose);
    try {
      if (!context.takesCalls()) throw new ClavigerError('instance_leaving');
      const identity = context.authenticate.identify(this.request.headers);
      if (identity === null) void this.#awaitKey();
      else this.#readBody(identity);
    } catch (thrown) {
      this.fail(toClavigerError(thrown));
    }
  }

  /** The key may have been made a moment ago. */
  async #awaitKey(): Promise<void> {
    const { context, request } = this;
    try {
      const identity = await context.authenticate.identifyNew(request.headers, clientAddress(request, context) ?? '');
      if (this.clientGone) return;
      this.#identifiedMonotonicMs = context.clock.monotonicMs();
      this.#readBody(identity);
    } catch (thrown) {
      this.fail(toClavigerError(thrown));
    }
  }

  #readBody(identity: Identity): void {
    const { context } = this;
    this.identity = identity;
    authorise(identity, this.#routeRow, this.route, context);
    const limit = context.knowledge.configuration.general.requestBytesMax;
    this.request.readBody(limit === null ? context.bodyBytesMax : Math.min(limit, context.bodyBytesMax), this);
  }

  /** A body may take minutes to arrive; what was known when it began says nothing about its end. */
  #identifyAgain(): void {
    const { context } = this;
    const identity = context.authenticate.identify(this.request.headers);
    if (identity === null) throw new ClavigerError('key_not_known_here');
    this.identity = identity;
    authorise(identity, this.#routeRow, this.route, context);
  }

  onBody(bytes: Buffer): void {
    if (this.clientGone) return;
    try {
      if (this.context.clock.monotonicMs() - this.#identifiedMonotonicMs > IDENTITY_AGE_MAX_MS) this.#identifyAgain();
      const body = parseLlmBody(bytes);
      if ('problem' in body) {
        throw body.problem === 'malformed'
          ? new ClavigerError('malformed_json', { reason: body.detail })
          : new ClavigerError('body_not_an_object', { found: 'another JSON value' });
      }
      this.body = body;
      const requestedModel = guardBody(body, this.endpoint);
      this.stream = body.read['stream'] === true && this.endpoint.kind !== 'embeddings';
      const { knowledge } = this.context;
      const { configuration } = knowledge;
      const { entry, scope } = this.identity!;
      const { headers } = this.request;
      this.customerId = customerIdOf(headers, configuration.general.customerHeaders, body.read);
      this.tags = tagsOfCall(entry.principal.tags, headers, body.read);
      const { accounts, customerRule } = accountsOfCall(knowledge, scope, this.customerId, this.tags);
      this.accounts = accounts;
      this.wantsStreamUsage =
        configuration.general.alwaysIncludeStreamUsage || asksForUsage(body.read['stream_options']);
      this.model = resolveModel(configuration, entry.principal, scope, customerRule, requestedModel, this.route);
      this.#attempts = planAttempts(this.model.group.deployments, configuration.router.numRetries, this.context.random);
      this.#limits = this.#limitsOf();
      this.#budgets = this.#budgetsOf();
      if (this.#limits === null) this.tryNext();
      else this.#limits.admit(this.#proceed, this.#refuse);
    } catch (thrown) {
      this.fail(toClavigerError(thrown));
    }
  }

  onBodyError(error: ClavigerError): void {
    this.fail(error);
  }

  get hasNextAttempt(): boolean {
    return this.#nextAttempt < this.#attempts.length && !this.clientGone;
  }

  /** Starts the next planned attempt. Called for the first one, and by an attempt that failed before anything was sent. */
  tryNext(): void {
    const deployment = this.#attempts[this.#nextAttempt++];
    if (deployment === undefined) {
      const limited = this.#limits?.deploymentError ?? null;
      this.fail(limited ?? new ClavigerError('no_healthy_deployment', { model: this.model!.requested }));
      return;
    }
    if (this.#limits === null) this.#fund(deployment);
    else this.#limits.admitDeployment(deployment, () => this.#fund(deployment), this.#skipDeployment, this.#refuse);
  }

  #fund(deployment: Deployment): void {
    if (this.#budgets === null) this.#start(deployment, null);
    else this.#budgets.fund(deployment, (funds) => this.#start(deployment, funds), this.#refuse);
  }

  #start(deployment: Deployment, funds: Funds | null): void {
    if (this.#finished) {
      // The client left while the control plane was asked.
      funds?.settle(ZERO_NANO, null);
      return;
    }
    this.#current = new Attempt(this, deployment, this.#nextAttempt, funds);
    this.#current.start();
  }

  /** Null when neither the call nor a deployment of its model has limits. The master key has none. */
  #limitsOf(): CallLimits | null {
    const { identity, model, context, body } = this;
    const { entry, scope, isMaster } = identity!;
    const isOfKey = this.customerId === null && this.tags.length === 0;
    const subjects = isMaster ? [] : subjectsOfCall(entry.principal, scope, this.accounts, model!, isOfKey);
    if (subjects.length === 0 && !model!.group.deployments.some(({ limits }) => limits !== undefined)) return null;
    return new CallLimits(context.limiter, subjects, {
      requestedModel: model!.requested,
      modelGroup: model!.group.name,
      body: body!,
      counted: context.knowledge.configuration.general.tokenRateLimitType,
    });
  }

  /** Null when neither the key nor anybody that the call is counted for has a budget. */
  #budgetsOf(): CallBudgets | null {
    const { identity, model, context, body, accounts } = this;
    const { entry, scope } = identity!;
    const modelGroup = model!.group.name;
    const uses = usesOfCall(scope.charges, accounts, modelGroup);
    if (uses.length === 0) return null;
    const { token, keyName, keyAlias } = entry.principal;
    const { unpricedReservationNano } = context.knowledge.configuration.general;
    return new CallBudgets(context.purse, uses, {
      token,
      keyName: keyAlias === null ? keyName : `${keyAlias} (${keyName})`,
      modelGroup,
      body: body!,
      unpricedNano: unpricedReservationNano,
    });
  }

  readonly #proceed = (): void => this.tryNext();
  readonly #refuse = (error: ClavigerError): void => this.fail(error);

  /** Its limits are reached: one that is not in the plan takes its place. */
  readonly #skipDeployment = (): void => {
    const others = this.model!.group.deployments.filter((deployment) => !this.#attempts.includes(deployment));
    this.#attempts = [...this.#attempts, ...planAttempts(others, 0, this.context.random).slice(0, 1)];
    this.tryNext();
  };

  /** Ends the request with an error, if nothing was sent yet. */
  fail(error: ClavigerError): void {
    if (this.#finished) return;
    const { context, response } = this;
    const close = endsConnection(error) || context.isDraining();
    writeError(response, error, this.headers(), {
      includeCallId: context.knowledge.configuration.general.includeCallIdInErrorBody ? this.callId : null,
      close,
    });
    if (endsConnection(error)) response.once('finish', () => this.request.destroy());
    if (error.log === 'error') {
      context.log.error(
        { callId: this.callId, code: error.code, cause: error.cause, route: this.route },
        error.message,
      );
    }
    this.finish(error.status, error.code, NO_USAGE, 0, null);
  }

  /** The request is over, however it ended: metrics and the access log, exactly once. */
  finish(
    status: number,
    errorCode: ErrorCode | null,
    usage: TokenUsage,
    costNano: number,
    deployment: Deployment | null,
  ): void {
    if (this.#finished) return;
    this.#finished = true;
    const { context, identity, model } = this;
    context.metrics.inFlight.dec();
    this.#limits?.finish(usage);
    const entry = identity?.entry ?? null;
    if (errorCode !== null) {
      context.metrics.requestFailed(entry, model?.requested ?? 'None', this.#routeRow.path, status, errorCode);
    }
    const principal = entry?.principal;
    context.accessLog.record({
      atMs: context.clock.nowMs(),
      callId: this.callId,
      method: 'POST',
      route: this.route,
      status,
      durationMs: context.clock.monotonicMs() - this.startedMonotonicMs,
      modelGroup: model?.requested ?? '',
      modelId: deployment?.id ?? '',
      key: principal === undefined ? '-' : (principal.keyAlias ?? principal.keyName),
      stream: this.stream,
      promptTokens: usage.promptTokens,
      completionTokens: usage.completionTokens,
      costNano,
      errorCode,
    });
  }

  /** Headers that every answer carries, as a flat list that may be appended to. */
  headers(): string[] {
    const { context, identity } = this;
    const headers = [
      'x-litellm-call-id',
      this.callId,
      ...context.staticHeaders,
      'x-claviger-rev',
      String(context.knowledge.position?.rev ?? 0),
    ];
    if (identity !== null && !identity.isMaster) pushKeyLimitHeaders(headers, identity.scope.limits);
    this.#limits?.pushHeaders(headers);
    return headers;
  }

  readonly #onClose = (): void => {
    if (this.response.writableFinished || this.clientGone) return;
    this.clientGone = true;
    if (this.#current !== null) this.#current.onClientGone();
    else this.finish(499, 'client_closed_request', NO_USAGE, 0, null);
  };
}

function asksForUsage(streamOptions: JsonValue | undefined): boolean {
  return (
    typeof streamOptions === 'object' &&
    streamOptions !== null &&
    !Array.isArray(streamOptions) &&
    streamOptions['include_usage'] === true
  );
}
