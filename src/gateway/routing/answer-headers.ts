import type { Deployment } from '../../domain/deployment.ts';
import type { Exchange } from '../exchange.ts';
import { headerText } from '../http/header-text.ts';
import type { AnswerHead } from '../providers/openai-compatible/answer-head.ts';

/** Headers of an answer that came from a provider. `apiMs` 0: it is not over yet, as when a stream begins. */
export function answerHeaders(
  exchange: Exchange,
  deployment: Deployment,
  head: AnswerHead,
  dispatchedMonotonicMs: number,
  apiMs: number,
): string[] {
  const headers = exchange.headers();
  const now = exchange.context.clock.monotonicMs();
  // Of a stream, what was added before the first event; of an answer, all that was added.
  const providerMs = apiMs > 0 ? apiMs : now - dispatchedMonotonicMs;
  const overheadMs = Math.max(0, now - exchange.startedMonotonicMs - providerMs);
  headers.push(
    'x-litellm-model-id',
    headerText(deployment.id),
    'x-litellm-model-group',
    exchange.model!.headerName,
    'x-litellm-model-api-base',
    headerText(deployment.apiBase),
    'x-litellm-overhead-duration-ms',
    overheadMs.toFixed(3),
  );
  for (const entry of head.providerHeaders) headers.push(entry);
  return headers;
}
