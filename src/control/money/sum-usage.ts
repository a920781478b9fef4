import { createHash } from 'node:crypto';
import type { UsageRecord } from '../../domain/usage.ts';
import type { DailySum } from '../../storage/repositories/usage.ts';

/** What each key spent, in order of token: everybody who adds to several keys locks their rows in that order. */
export function sumByKey(records: readonly UsageRecord[]): { token: string; spendNano: bigint }[] {
  const sums = new Map<string, bigint>();
  for (const { token, costNano } of records) sums.set(token, (sums.get(token) ?? 0n) + BigInt(costNano));
  return [...sums].map(([token, spendNano]) => ({ token, spendNano })).sort((a, b) => (a.token < b.token ? -1 : 1));
}

/** Sums per UTC day and series. */
export function sumByDay(records: readonly UsageRecord[], region: string): DailySum[] {
  const sums = new Map<string, DailySum>();
  for (const record of records) {
    const { token, userId, teamId, model, modelGroup, provider } = record;
    const day = Math.floor(record.startedAtMs / MS_PER_DAY);
    const dimensions = JSON.stringify([token, userId, teamId, model, modelGroup, provider, region]);
    const id = `${day} ${dimensions}`;
    const known = sums.get(id);
    // The digest is made once per series: a batch has many records and few of these.
    sums.set(id, known === undefined ? dailySum(record, region, dimensions) : add(known, countsOf(record)));
  }
  return [...sums.values()];
}

const MS_PER_DAY = 86_400_000;

function dailySum(record: UsageRecord, region: string, dimensions: string): DailySum {
  return {
    date: new Date(record.startedAtMs).toISOString().slice(0, 10),
    series: createHash('sha256').update(dimensions).digest('hex').slice(0, 32),
    token: record.token,
    user_id: record.userId,
    team_id: record.teamId,
    model: record.model,
    model_group: record.modelGroup,
    provider: record.provider,
    region,
    ...countsOf(record),
  };
}

type Counts = Omit<
  DailySum,
  'date' | 'series' | 'token' | 'user_id' | 'team_id' | 'model' | 'model_group' | 'provider' | 'region'
>;

function countsOf({ costNano, status, usage }: UsageRecord): Counts {
  const succeeded = status === 'success';
  return {
    spend_nano: BigInt(costNano),
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    cached_tokens: usage.cachedTokens,
    cache_write_tokens: usage.cacheWriteTokens,
    requests: 1,
    successful_requests: succeeded ? 1 : 0,
    failed_requests: succeeded ? 0 : 1,
  };
}

function add(a: DailySum, b: Counts): DailySum {
  return {
    ...a,
    spend_nano: a.spend_nano + b.spend_nano,
    prompt_tokens: a.prompt_tokens + b.prompt_tokens,
    completion_tokens: a.completion_tokens + b.completion_tokens,
    cached_tokens: a.cached_tokens + b.cached_tokens,
    cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
    requests: a.requests + b.requests,
    successful_requests: a.successful_requests + b.successful_requests,
    failed_requests: a.failed_requests + b.failed_requests,
  };
}
