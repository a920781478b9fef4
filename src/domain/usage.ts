import type { Nano } from './money.ts';

/** Token counts in OpenAI's convention: `promptTokens` includes cache reads. */
export interface TokenUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly totalTokens: number;
  readonly cachedTokens: number;
  readonly cacheWriteTokens: number;
  readonly reasoningTokens: number;
  readonly audioInputTokens: number;
  readonly audioOutputTokens: number;
}

export const NO_USAGE: TokenUsage = {
  promptTokens: 0,
  completionTokens: 0,
  totalTokens: 0,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0,
  audioInputTokens: 0,
  audioOutputTokens: 0,
};

export type CallType = 'acompletion' | 'atext_completion' | 'aembedding';
export type UsageStatus = 'success' | 'failure';

/** Written before a call is dispatched. With no settlement (the process was killed) it is settled at its estimate. */
export interface UsageIntent {
  /** Our UUIDv7; the primary key of the row. One per attempt. */
  readonly requestId: string;
  /** The id on the answer: the client's `x-litellm-call-id` / `x-request-id`, else equal to the first `requestId`. */
  readonly callId: string;
  /** Key digest, or `litellm_proxy_master_key`. */
  readonly token: string;
  readonly keyAlias: string | null;
  readonly userId: string | null;
  readonly teamId: string | null;
  readonly organizationId: string | null;
  readonly endUser: string | null;
  readonly sessionId: string | null;
  readonly callType: CallType;
  readonly route: string;
  /** The name the client asked for, after aliases: the model group. */
  readonly modelGroup: string;
  /** `provider/model` of the deployment. */
  readonly model: string;
  readonly modelId: string;
  readonly provider: string;
  readonly apiBase: string;
  readonly stream: boolean;
  readonly tags: readonly string[];
  readonly clientIp: string | null;
  readonly startedAtMs: number;
  readonly estimateNano: Nano;
}

/** The end of a call: on success, abort or failure, exactly once per intent. */
export interface UsageSettlement {
  readonly requestId: string;
  readonly status: UsageStatus;
  /** HTTP status that the client got; 499 when it left. */
  readonly httpStatus: number;
  readonly errorCode: string | null;
  /** The provider's id of the answer (`chatcmpl-...`). */
  readonly providerId: string | null;
  /** Model name in the provider's answer. */
  readonly answeredModel: string | null;
  readonly usage: TokenUsage;
  /** True when the counts are ours, not the provider's. */
  readonly estimated: boolean;
  readonly costNano: Nano;
  readonly firstTokenAtMs: number | null;
  readonly endedAtMs: number;
}

/** What goes up the feed and into a row: intent and settlement joined, with its place in the log. */
export interface UsageRecord extends UsageIntent, Omit<UsageSettlement, 'requestId'> {
  /** Number of the SETTLE frame in the log of its gateway process. */
  readonly seq: number;
}
