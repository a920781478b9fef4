import type { Deployment } from '../../domain/deployment.ts';
import type { Nano } from '../../domain/money.ts';
import type { CallType, Charge, UsageIntent } from '../../domain/usage.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import type { Exchange } from '../exchange.ts';
import { clientAddress } from '../http/client-address.ts';

const CALL_TYPES: Readonly<Record<'chat' | 'completions' | 'embeddings', CallType>> = {
  chat: 'acompletion',
  completions: 'atext_completion',
  embeddings: 'aembedding',
};

const TEXT_CHARS_MAX = 256;

/** What is known of a call before it is dispatched. */
export function intentOf(
  exchange: Exchange,
  deployment: Deployment,
  requestId: string,
  estimateNano: Nano,
  charges: readonly Charge[] | undefined,
): UsageIntent {
  const { principal } = exchange.identity!.entry;
  const { headers } = exchange.request;
  const read = exchange.body!.read;
  return {
    requestId,
    callId: exchange.callId,
    token: principal.token,
    keyAlias: principal.keyAlias,
    userId: principal.userId,
    teamId: principal.teamId,
    organizationId: exchange.identity!.scope.organizationId,
    endUser: exchange.customerId,
    sessionId:
      text(headers['x-litellm-session-id']) ??
      text(read['litellm_session_id']) ??
      text(headers['x-litellm-trace-id']) ??
      text(read['litellm_trace_id']),
    callType: CALL_TYPES[exchange.endpoint.kind],
    route: exchange.route,
    modelGroup: exchange.model!.requested,
    model: deployment.litellmModel,
    modelId: deployment.id,
    provider: deployment.provider,
    apiBase: deployment.apiBase,
    stream: exchange.stream,
    tags: exchange.tags,
    clientIp: clientAddress(exchange.request, exchange.context),
    startedAtMs: exchange.startedAtMs,
    estimateNano,
    ...(charges === undefined ? {} : { charges }),
  };
}

function text(value: JsonValue | string[] | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, TEXT_CHARS_MAX) : null;
}
