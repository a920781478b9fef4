import type { LimitScope, LimitType } from '../../domain/limit.ts';

/** What a limit belongs to, as LiteLLM's texts and headers name it; `deployment` is ours. */
export type Descriptor =
  | 'api_key'
  | 'user'
  | 'team'
  | 'team_member'
  | 'end_user'
  | 'organization'
  | 'project'
  | 'tag'
  | 'model_per_key'
  | 'model_per_team'
  | 'deployment';

/** Somebody or something with limits that apply to a call. The same descriptor and id is the same subject, whatever its limits are at the moment. */
export interface LimitedSubject {
  readonly descriptor: Descriptor;
  readonly id: string;
  /** Requests in any window. */
  readonly rpm: number | null;
  /** Tokens in any window. */
  readonly tpm: number | null;
  readonly maxParallelRequests: number | null;
  /** dynamic: rpm and tpm are counted always and enforced only while deployments of the model fail. */
  readonly type: LimitType;
  readonly scope: LimitScope;
}

/** LiteLLM's names of what is limited. */
export type LimitedQuantity = 'requests' | 'tokens' | 'max_parallel_requests';
