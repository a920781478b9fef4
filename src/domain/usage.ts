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
  /** What few calls have; absent: nothing. */
  readonly extras?: UsageExtras | undefined;
}

/** Usage beyond plain tokens; absent = 0, or not said. */
export interface UsageExtras extends UsageCounts {
  /** `flex`, `priority`, `batch`, ...; absent: the standard one. */
  readonly serviceTier?: string;
  readonly searchContextSize?: SearchContextSize;
  /** What the answer says of itself that has a factor in the price list (`fast`, `us`). */
  readonly factors?: readonly string[];
  /** What the provider says that the call cost. */
  readonly reportedNano?: Nano;
}

export type SearchContextSize = 'low' | 'medium' | 'high';

/** Names of the counts in `UsageExtras`. */
export const USAGE_COUNTS = [
  // Of the cache writes, those that are kept for an hour.
  'cacheWrite1hTokens',
  'imageInputTokens',
  'imageOutputTokens',
  'videoInputTokens',
  'videoOutputTokens',
  'citationTokens',
  'inputImages',
  'outputImages',
  'inputPixels',
  'outputPixels',
  'inputMs',
  'outputMs',
  'inputVideoMs',
  'outputVideoMs',
  'inputCharacters',
  'outputCharacters',
  'queries',
  'pages',
  'webSearches',
  'mapsQueries',
  'fileSearches',
  'codeSessions',
  'computerInputTokens',
  'computerOutputTokens',
] as const;

type UsageCounts = { readonly [name in (typeof USAGE_COUNTS)[number]]?: number };

export const NO_USAGE: TokenUsage = {
  promptTokens: 0,
  completionTokens: 0,
  totalTokens: 0,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0,
  audioInputTokens: 0,
  audioOutputTokens: 0,
  extras: undefined,
};

/** Names of the parts that a cost is made of. */
export const COST_PARTS = [
  'input',
  'cacheRead',
  'cacheWrite',
  'inputAudio',
  'inputImage',
  'inputVideo',
  'output',
  'reasoning',
  'outputAudio',
  'outputImage',
  'outputVideo',
  // Seconds, characters, pages, queries.
  'units',
  'request',
  'webSearch',
  'tools',
  // What the provider says that the call cost, in the place of all of the above.
  'reported',
  'discount',
  'margin',
] as const;

export type CostPart = (typeof COST_PARTS)[number];

/** Nano-dollars; they add up to the cost. Only `discount` is negative. A part that is not there is 0. */
export type CostBreakdown = { readonly [part in CostPart]?: number };

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
  /** Budgets that the call is paid from, each with the start of its period; absent when there are none. */
  readonly charges?: readonly Charge[];
}

/** A ledger and the start of the period (milliseconds since the epoch) of it that a call is charged to. */
export type Charge = readonly [ledger: string, periodStartMs: number];

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
  /** What the provider says that the call cost, which then is the cost; absent: it says nothing. */
  readonly providerCostNano?: Nano | null | undefined;
  /** What our prices make of the usage; absent: the cost is that. Null: no price is known. */
  readonly formulaCostNano?: Nano | null | undefined;
  /** Absent or null: it has no parts but input and output. */
  readonly breakdown?: CostBreakdown | null | undefined;
  readonly firstTokenAtMs: number | null;
  readonly endedAtMs: number;
}

/** What goes up the feed and into a row: intent and settlement joined, with its place in the log. */
export interface UsageRecord extends UsageIntent, Omit<UsageSettlement, 'requestId'> {
  /** Number of the SETTLE frame in the log of its gateway process. */
  readonly seq: number;
}
