import type { Deployment } from '../../domain/deployment.ts';
import { ClavigerError, toClavigerError } from '../../domain/error-catalogue.ts';
import { invalidProviderAnswer, mapProviderError, mapUpstreamFailure } from '../../domain/map-provider-error.ts';
import { dollarsFromNano, ZERO_NANO } from '../../domain/money.ts';
import { parseUsage } from '../../domain/parse-usage.ts';
import type { CallCost } from '../../domain/price-usage.ts';
import { NO_USAGE, type TokenUsage, type UsageStatus } from '../../domain/usage.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import type { Exchange } from '../exchange.ts';
import type { Funds } from '../limits/call-budgets.ts';
import { BYTES_PER_TOKEN, estimateCost } from '../metering/estimate-cost.ts';
import type { UsageWaiter } from '../metering/usage-sink.ts';
import { parseAnswer } from '../providers/openai-compatible/answer.ts';
import { type AnswerHead, answerHead } from '../providers/openai-compatible/answer-head.ts';
import { chunksFromAnswer } from '../providers/openai-compatible/chunks-from-answer.ts';
import { buildUpstreamRequest } from '../providers/openai-compatible/request.ts';
import type { UpstreamError, UpstreamHandler } from '../providers/upstream.ts';
import { StreamTap } from '../streaming/stream-tap.ts';
import { usageInTail } from '../streaming/usage-in-tail.ts';
import { answerHeaders } from './answer-headers.ts';
import { secretsOf } from './deployment-secrets.ts';
import { errorFrame, FAILURE_TEXT, statusInError } from './failure-text.ts';
import { intentOf } from './intent.ts';
import { estimatedUsage, isUnpriced, NO_COST, priceAttempt } from './price-attempt.ts';

/** Bytes of a provider's error answer that are read; the rest of the answer is cut off. */
const ERROR_BODY_BYTES_MAX = 64 * 1024;
/** What a provider gets to end its answer after `[DONE]`, so that its connection can be used again; then it is cut. */
const END_AFTER_DONE_MS = 1_000;
/** Bytes kept of the end of an answer that was too large to hold: OpenAI-compatible servers put `usage` last. */
const TAIL_BYTES = 64 * 1024;

type Mode = 'waiting' | 'error' | 'held' | 'large' | 'stream' | 'over';
/** What happens once the SETTLE frame is written. */
type AfterSettle = 'answer' | 'end-stream' | 'cut-stream' | 'next-or-fail' | 'nothing';

/**
 * One attempt at one deployment: INTENT, dispatch, answer, SETTLE, last byte. Settled exactly once on end, abort or failure.
 * A failure before anything was sent to the client goes back to the exchange, which may try another deployment.
 */
export class Attempt implements UsageWaiter, UpstreamHandler {
  readonly #exchange: Exchange;
  readonly #deployment: Deployment;
  readonly #requestId: string;
  readonly #funds: Funds | null;
  #mode: Mode = 'waiting';
  #afterSettle: AfterSettle = 'nothing';
  #abort: (() => void) | null = null;
  /** Runs while a provider that has sent `[DONE]` has not ended its answer. */
  #endTimer: NodeJS.Timeout | null = null;
  #resume: (() => void) | null = null;
  #head: AnswerHead | null = null;
  #chunks: Buffer[] = [];
  #length = 0;
  #tap: StreamTap | null = null;
  #error: ClavigerError | null = null;
  #usage: TokenUsage = NO_USAGE;
  #estimated = false;
  #cost: CallCost = NO_COST;
  #settled = false;
  #providerId: string | null = null;
  #answeredModel: string | null = null;
  #dispatchedMonotonicMs = 0;
  #firstTokenMonotonicMs: number | null = null;
  #apiMs = 0;

  constructor(exchange: Exchange, deployment: Deployment, ordinal: number, funds: Funds | null) {
    this.#exchange = exchange;
    this.#funds = funds;
    this.#deployment = deployment;
    // The first attempt of a call that the client gave no id has the call id as its key. An id of the client's is never a key:
    // it may come twice.
    this.#requestId = ordinal === 1 && exchange.callIdIsOurs ? exchange.callId : exchange.context.newId();
  }

  start(): void {
    const { context } = this.#exchange;
    const estimateNano = this.#funds?.estimateNano ?? estimateCost(this.#exchange.body!, this.#deployment.pricing);
    const intent = intentOf(this.#exchange, this.#deployment, this.#requestId, estimateNano, this.#funds?.charges);
    context.usage.intent(intent, this);
  }

  onIntentWritten(): void {
    const exchange = this.#exchange;
    if (exchange.clientGone) {
      this.#error = new ClavigerError('client_closed_request');
      this.#finish('failure', 499, 'nothing');
      return;
    }
    try {
      const request = buildUpstreamRequest(exchange, this.#deployment);
      this.#dispatchedMonotonicMs = exchange.context.clock.monotonicMs();
      exchange.context.upstreamOf(this.#deployment).dispatch(request, this);
    } catch (thrown) {
      this.#fail(toClavigerError(thrown));
    }
  }

  onIntentRefused(cause: Error): void {
    this.#mode = 'over';
    this.#settled = true;
    this.#funds?.settle(ZERO_NANO, null);
    this.#exchange.fail(new ClavigerError('usage_log_unavailable', {}, { cause }));
  }

  onStart(abort: () => void): void {
    this.#abort = abort;
  }

  onHead(status: number, headers: readonly Buffer[] | readonly string[], resume: () => void): void {
    if (this.#mode !== 'waiting') return;
    const head = answerHead(status, headers);
    this.#head = head;
    this.#resume = resume;
    if (status >= 300) this.#mode = 'error';
    else if (this.#exchange.stream && head.isEventStream) {
      this.#mode = 'stream';
      this.#tap = new StreamTap();
    } else this.#mode = 'held';
  }

  onData(chunk: Buffer): boolean {
    switch (this.#mode) {
      case 'stream':
        return this.#relay(chunk);
      case 'held':
        this.#chunks.push(chunk);
        this.#length += chunk.length;
        return this.#length <= this.#exchange.context.responseHeldBytesMax ? true : this.#becomeLarge();
      case 'large':
        return this.#relayLarge(chunk);
      case 'error':
        if (this.#length < ERROR_BODY_BYTES_MAX) this.#chunks.push(chunk);
        this.#length += chunk.length;
        if (this.#length >= ERROR_BODY_BYTES_MAX) this.onEnd();
        return true;
      default:
        return true;
    }
  }

  onEnd(): void {
    this.#clearEndTimer();
    this.#apiMs = this.#exchange.context.clock.monotonicMs() - this.#dispatchedMonotonicMs;
    switch (this.#mode) {
      case 'error': {
        const { status } = this.#head!;
        const text = Buffer.concat(this.#chunks).toString('utf8', 0, ERROR_BODY_BYTES_MAX);
        this.#fail(
          mapProviderError(
            status >= 400 ? status : 502,
            text,
            this.#deployment.providerName,
            secretsOf(this.#deployment),
          ),
        );
        if (this.#length >= ERROR_BODY_BYTES_MAX) this.#abort?.();
        return;
      }
      case 'held':
        this.#finishHeld();
        return;
      case 'large':
        this.#finishLarge();
        return;
      case 'stream': {
        const last = this.#tap!.end();
        if (last !== null) this.#forward(last);
        if (this.#mode === 'stream') this.#finishStream();
        return;
      }
      case 'waiting':
        this.#fail(
          mapUpstreamFailure(
            'protocol',
            this.#deployment.providerName,
            'The provider ended the answer before it began.',
          ),
        );
    }
  }

  onError(error: UpstreamError): void {
    this.#clearEndTimer();
    if (this.#mode === 'over') return;
    // Complete but for its end, which never came.
    if (error.kind === 'timeout' && this.#tap?.sawFinishReason === true) {
      this.#finishStream();
      return;
    }
    this.#apiMs = this.#exchange.context.clock.monotonicMs() - this.#dispatchedMonotonicMs;
    const kind = error.kind === 'aborted' ? 'reset' : error.kind;
    const text = FAILURE_TEXT[kind];
    const failure = mapUpstreamFailure(kind, this.#deployment.providerName, text, secretsOf(this.#deployment), error);
    if (this.#tap !== null && this.#exchange.response.headersSent) this.#cutStream(failure);
    else if (this.#mode === 'large') this.#breakLarge(failure);
    else this.#fail(failure);
  }

  /** The client left: the provider is told at once, and what it will bill is settled as well as it can be known. */
  onClientGone(): void {
    if (this.#mode === 'over') return;
    const dispatched = this.#dispatchedMonotonicMs > 0;
    if (!dispatched && this.#abort === null) return; // onIntentWritten follows, and sees that the client is gone
    this.#mode = 'over';
    this.#abort?.();
    this.#estimateDelivered();
    this.#error = new ClavigerError('client_closed_request');
    this.#settle('failure', 499, 'nothing');
  }

  /** The SETTLE frame is in the file: the last byte may go out. */
  onSettled(): void {
    try {
      this.#afterSettlement();
    } catch (thrown) {
      // Whatever went wrong here, the client must not be left waiting.
      const { response } = this.#exchange;
      const begun = response.headersSent;
      this.#exchange.fail(toClavigerError(thrown));
      if (begun) response.destroy();
    }
  }

  #afterSettlement(): void {
    const exchange = this.#exchange;
    switch (this.#afterSettle) {
      case 'answer':
        this.#sendAnswer();
        break;
      case 'end-stream':
        this.#endStream();
        break;
      case 'cut-stream':
        if (!exchange.response.destroyed) exchange.response.end(errorFrame(this.#error!));
        break;
      case 'next-or-fail': {
        const error = this.#error!;
        if (error.retryable && exchange.hasNextAttempt) {
          exchange.tryNext();
          return;
        }
        exchange.fail(error);
        return;
      }
      case 'nothing':
        break;
    }
    this.#report();
  }

  // -- JSON answers ---------------------------------------------------------------------------------------------------------

  #finishHeld(): void {
    const body = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#length);
    const answer = parseAnswer(body);
    if (answer === null) {
      this.#fail(
        invalidProviderAnswer(
          body.toString('utf8', 0, 2_000),
          this.#deployment.providerName,
          secretsOf(this.#deployment),
        ),
      );
      return;
    }
    if (answer.hasError) {
      this.#fail(
        mapProviderError(
          502,
          body.toString('utf8', 0, ERROR_BODY_BYTES_MAX),
          this.#deployment.providerName,
          secretsOf(this.#deployment),
        ),
      );
      return;
    }
    this.#providerId = answer.id;
    this.#answeredModel = answer.model;
    this.#chunks = [body];
    this.#firstTokenMonotonicMs = null;
    this.#takeUsage(answer.usage, answer.serviceTier, () => Math.ceil(answer.contentBytes / BYTES_PER_TOKEN));
    this.#finish('success', 200, 'answer');
  }

  #sendAnswer(): void {
    const { response, stream } = this.#exchange;
    if (response.destroyed) return;
    const body = this.#chunks[0]!;
    const headers = this.#headers();
    if (stream) {
      // The client asked for a stream and the provider answered in one piece.
      headers.push('content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache');
      response.writeHead(200, headers);
      response.end(chunksFromAnswer(body, this.#exchange.wantsStreamUsage));
      return;
    }
    headers.push('content-type', this.#head!.contentType, 'content-length', String(body.length));
    this.#pushCost(headers);
    response.writeHead(200, headers);
    response.end(body);
  }

  #becomeLarge(): boolean {
    const { response } = this.#exchange;
    this.#mode = 'large';
    this.#watchDrain();
    response.writeHead(200, [...this.#headers(), 'content-type', this.#head!.contentType]);
    // The newest chunk always waits for the one after it, so that SETTLE can come before the last byte.
    const held = this.#chunks.pop()!;
    let flowing = true;
    for (const chunk of this.#chunks) flowing = response.write(chunk);
    this.#chunks = [held];
    return flowing;
  }

  #relayLarge(chunk: Buffer): boolean {
    const tail = this.#chunks;
    tail.push(chunk);
    this.#length += chunk.length;
    const flowing = this.#exchange.response.write(tail[tail.length - 2]!);
    let kept = 0;
    for (let index = tail.length - 1; index >= 0; index--) {
      kept += tail[index]!.length;
      if (kept >= TAIL_BYTES && index > 0) {
        tail.splice(0, index);
        break;
      }
    }
    return flowing;
  }

  #finishLarge(): void {
    const tail = Buffer.concat(this.#chunks).toString('latin1');
    const usage = usageInTail(tail);
    this.#takeUsage(usage, null, () => Math.ceil(this.#length / BYTES_PER_TOKEN));
    this.#finish('success', 200, 'end-stream');
  }

  #breakLarge(failure: ClavigerError): void {
    // Half of a JSON document can not be completed: the connection is ended so that the client sees the cut.
    this.#error = failure;
    this.#estimateDelivered();
    this.#finish('failure', failure.status, 'nothing');
    this.#exchange.response.destroy();
  }

  // -- Streams --------------------------------------------------------------------------------------------------------------

  #relay(chunk: Buffer): boolean {
    const tap = this.#tap!;
    const forward = tap.push(chunk);
    if (tap.overflowed) {
      this.#finishStream();
      this.#abort?.();
      return true;
    }
    return this.#forward(forward);
  }

  /** Sends whole events to the client, and ends the stream when its last one has come. */
  #forward(events: Buffer | null): boolean {
    const tap = this.#tap!;
    const { response } = this.#exchange;
    if (!response.headersSent) {
      // The status waits for the first event, so that a failure before it is a real status and another deployment can try.
      if (tap.error !== undefined) {
        this.#failStreamEarly();
        return true;
      }
      if (tap.events === 0 && !tap.sawDone) return true;
      this.#firstTokenMonotonicMs = this.#exchange.context.clock.monotonicMs();
      this.#watchDrain();
      response.writeHead(200, [
        ...this.#headers(),
        'content-type',
        'text/event-stream; charset=utf-8',
        'cache-control',
        'no-cache',
      ]);
    }
    const flowing = events === null ? !response.writableNeedDrain : response.write(events);
    if (tap.error !== undefined) {
      this.#finishStream();
      this.#abort?.();
    } else if (tap.sawDone && this.#mode === 'stream') {
      this.#endTimer = setTimeout(() => this.#abort?.(), END_AFTER_DONE_MS);
      this.#finishStream();
    }
    return flowing;
  }

  /** `[DONE]` was seen, or the provider ended the stream. */
  #finishStream(): void {
    const tap = this.#tap!;
    const { response } = this.#exchange;
    const provider = this.#deployment.providerName;
    this.#apiMs = this.#exchange.context.clock.monotonicMs() - this.#dispatchedMonotonicMs;
    if (tap.error !== undefined) {
      if (!response.headersSent) {
        this.#failStreamEarly();
        return;
      }
      this.#cutStream(
        mapProviderError(500, JSON.stringify({ error: tap.error }), provider, secretsOf(this.#deployment)),
      );
      return;
    }
    if (!tap.sawDone && !tap.sawFinishReason) {
      const text = tap.overflowed
        ? 'The provider sent an event that is larger than an event may be.'
        : 'The provider ended the stream before it was complete.';
      const failure = new ClavigerError('upstream_stream_cut', { provider, text });
      if (response.headersSent) this.#cutStream(failure);
      else this.#fail(mapUpstreamFailure('reset', provider, text));
      return;
    }
    if (!response.headersSent) {
      response.writeHead(200, [
        ...this.#headers(),
        'content-type',
        'text/event-stream; charset=utf-8',
        'cache-control',
        'no-cache',
      ]);
    }
    this.#providerId = tap.providerId;
    this.#answeredModel = tap.answeredModel;
    this.#takeUsage(tap.usage, tap.serviceTier, () => tap.estimateCompletionTokens(BYTES_PER_TOKEN));
    this.#finish('success', 200, 'end-stream');
  }

  #failStreamEarly(): void {
    const text = JSON.stringify({ error: this.#tap!.error });
    this.#fail(
      mapProviderError(
        statusInError(this.#tap!.error),
        text,
        this.#deployment.providerName,
        secretsOf(this.#deployment),
      ),
    );
    this.#abort?.();
  }

  /** The client has part of the stream: it gets one last event that says why it ends, and no `[DONE]`. */
  #cutStream(error: ClavigerError): void {
    this.#error = error;
    this.#providerId = this.#tap!.providerId;
    this.#answeredModel = this.#tap!.answeredModel;
    this.#estimateDelivered();
    this.#finish('failure', error.status, 'cut-stream');
  }

  #endStream(): void {
    const { response, wantsStreamUsage, context } = this.#exchange;
    if (response.destroyed) return;
    const tap = this.#tap;
    if (tap === null) {
      response.end(this.#chunks[this.#chunks.length - 1]);
      return;
    }
    let tail = '';
    if (wantsStreamUsage && tap.usageEvent !== null) {
      const event = context.knowledge.configuration.general.includeCostInStreamingUsage
        ? {
            ...tap.usageEvent,
            usage: { ...(tap.usageEvent['usage'] as JsonObject), cost: dollarsFromNano(this.#cost.costNano) },
          }
        : tap.usageEvent;
      tail = `data: ${JSON.stringify(event)}\n\n`;
    }
    response.end(`${tail}data: [DONE]\n\n`);
  }

  #clearEndTimer(): void {
    if (this.#endTimer !== null) clearTimeout(this.#endTimer);
    this.#endTimer = null;
  }

  // -- Both -----------------------------------------------------------------------------------------------------------------

  #watchDrain(): void {
    this.#exchange.response.on('drain', () => this.#resume?.());
  }

  #takeUsage(reported: JsonObject | null, serviceTier: string | null, estimateCompletion: () => number): void {
    const parsed = reported === null ? null : parseUsage(reported, serviceTier);
    this.#usage = parsed ?? estimatedUsage(this.#exchange, estimateCompletion());
    this.#estimated = parsed === null;
    this.#price();
  }

  #estimateDelivered(): void {
    this.#apiMs ||= this.#exchange.context.clock.monotonicMs() - this.#dispatchedMonotonicMs;
    const tap = this.#tap;
    const reported = tap?.usage == null ? null : parseUsage(tap.usage, tap.serviceTier);
    // Of a JSON answer what had come of it, also when the client had not got it yet: the provider bills it.
    const received = this.#head !== null && this.#head.status < 300 ? Math.ceil(this.#length / BYTES_PER_TOKEN) : 0;
    this.#usage =
      reported ?? estimatedUsage(this.#exchange, tap?.estimateCompletionTokens(BYTES_PER_TOKEN) ?? received);
    this.#estimated = reported === null;
    this.#price();
  }

  #price(): void {
    const answeredModel = this.#answeredModel ?? this.#tap?.answeredModel ?? null;
    this.#cost = priceAttempt(this.#exchange, this.#deployment, this.#usage, answeredModel, this.#apiMs);
  }

  #fail(error: ClavigerError): void {
    this.#error = error;
    this.#finish('failure', error.status, 'next-or-fail');
  }

  #finish(status: UsageStatus, httpStatus: number, after: AfterSettle): void {
    if (this.#mode === 'over') return;
    this.#mode = 'over';
    this.#settle(status, httpStatus, after);
  }

  #settle(status: UsageStatus, httpStatus: number, after: AfterSettle): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#afterSettle = after;
    const { context, identity, startedMonotonicMs, startedAtMs } = this.#exchange;
    identity!.entry.spendNano += BigInt(this.#cost.costNano);
    this.#funds?.settle(this.#cost.costNano, this.#estimated ? null : this.#usage);
    if (status === 'failure' && this.#error !== null) {
      context.limiter.attemptFailed(this.#exchange.model!.group.name, this.#error);
      context.metrics.attemptFailed(this.#exchange.model!.requested, this.#deployment, httpStatus, this.#error.code);
      this.#logCause(this.#error);
    }
    const firstToken = this.#firstTokenMonotonicMs;
    context.usage.settle(
      {
        requestId: this.#requestId,
        status,
        httpStatus,
        errorCode: this.#error?.code ?? null,
        providerId: this.#providerId ?? this.#tap?.providerId ?? null,
        answeredModel: this.#answeredModel ?? this.#tap?.answeredModel ?? null,
        usage: this.#usage,
        estimated: this.#estimated,
        costNano: this.#cost.costNano,
        providerCostNano: this.#cost.providerNano,
        formulaCostNano: this.#cost.formulaNano,
        breakdown: this.#cost.breakdown,
        firstTokenAtMs: firstToken === null ? null : startedAtMs + Math.round(firstToken - startedMonotonicMs),
        endedAtMs: context.clock.nowMs(),
      },
      this,
    );
  }

  /** The client is told in general what went wrong below HTTP; the operator needs to know exactly. */
  #logCause({ cause, code, message }: ClavigerError): void {
    if (!(cause instanceof Error)) return;
    const { id, apiBase } = this.#deployment;
    const fields = { callId: this.#exchange.callId, modelId: id, apiBase, code, reason: cause.message };
    this.#exchange.context.log.warn(fields, message);
  }

  /** Metrics and access log of a request that this attempt ended. */
  #report(): void {
    const exchange = this.#exchange;
    const error = this.#error;
    if (error === null) {
      exchange.context.metrics.succeeded(
        exchange.identity!.entry,
        exchange.model!.requested,
        this.#deployment,
        exchange.route,
        {
          usage: this.#usage,
          costNano: this.#cost.costNano,
          isUnpriced: isUnpriced(this.#cost),
          totalMs: exchange.context.clock.monotonicMs() - exchange.startedMonotonicMs,
          apiMs: this.#apiMs,
          firstTokenMs:
            this.#firstTokenMonotonicMs === null ? null : this.#firstTokenMonotonicMs - this.#dispatchedMonotonicMs,
        },
      );
    }
    exchange.finish(error?.status ?? 200, error?.code ?? null, this.#usage, this.#cost.costNano, this.#deployment);
  }

  #headers(): string[] {
    return answerHeaders(this.#exchange, this.#deployment, this.#head!, this.#dispatchedMonotonicMs, this.#apiMs);
  }

  #pushCost(headers: string[]): void {
    const { entry, isMaster } = this.#exchange.identity!;
    if (!isUnpriced(this.#cost)) headers.push('x-litellm-response-cost', String(dollarsFromNano(this.#cost.costNano)));
    if (!isMaster) headers.push('x-litellm-key-spend', String(dollarsFromNano(entry.spendNano)));
  }
}
