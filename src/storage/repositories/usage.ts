import { sql } from 'kysely';
import type { UsageRecord } from '../../domain/usage.ts';
import type { Tx } from '../db.ts';

/** A stretch of the usage log of one gateway process. */
export interface LogStretch {
  readonly gatewayId: string;
  readonly incarnation: string;
  readonly region: string;
  readonly from: number;
  readonly to: number;
}

export interface DeadLetter {
  /** The record exactly as it came, as JSON text. */
  readonly record: string;
  readonly reason: string;
}

export interface DailySum {
  /** `YYYY-MM-DD`, UTC. */
  readonly date: string;
  /** Hex digest of the dimensions. */
  readonly series: string;
  readonly token: string;
  readonly user_id: string | null;
  readonly team_id: string | null;
  readonly model: string;
  readonly model_group: string;
  readonly provider: string;
  readonly region: string;
  readonly spend_nano: bigint;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly cached_tokens: number;
  readonly cache_write_tokens: number;
  readonly requests: number;
  readonly successful_requests: number;
  readonly failed_requests: number;
}

/**
 * Moves the cursor over a stretch, if it stands exactly before it; the row stays locked until the transaction ends. Returns null when it
 * moved, else where it stands.
 */
export async function advanceCursor(tx: Tx, { gatewayId, incarnation, from, to }: LogStretch): Promise<number | null> {
  await sql`
    insert into claviger.usage_cursor (gateway_id, incarnation, seq) values (${gatewayId}, ${incarnation}, 0)
    on conflict (gateway_id, incarnation) do nothing
  `.execute(tx);
  const moved = await sql`
    update claviger.usage_cursor set seq = ${to}, updated_at = now()
     where gateway_id = ${gatewayId} and incarnation = ${incarnation} and seq = ${from}
    returning seq
  `.execute(tx);
  if (moved.rows.length === 1) return null;
  const { rows } = await sql<{ seq: bigint }>`
    select seq from claviger.usage_cursor where gateway_id = ${gatewayId} and incarnation = ${incarnation}
  `.execute(tx);
  return Number(rows[0]!.seq);
}

/** Inserts the rows that are not there yet and returns their request ids. Sorted, so that two batches can not deadlock. */
export async function insertRecords(
  tx: Tx,
  { gatewayId, incarnation, region }: LogStretch,
  records: readonly UsageRecord[],
): Promise<Set<string>> {
  const rows = JSON.stringify(records.map(rowFromRecord));
  const inserted = await sql<{ request_id: string }>`
    insert into claviger.spend_log (${sql.raw(COLUMN_NAMES)}, region, gateway_id, incarnation)
    select ${sql.raw(COLUMN_NAMES)}, ${region}, ${gatewayId}, ${incarnation}
      from jsonb_to_recordset(${rows}::jsonb) as r (${sql.raw(COLUMN_TYPES)})
     order by request_id
    on conflict (request_id) do nothing
    returning request_id
  `.execute(tx);
  return new Set(inserted.rows.map((row) => row.request_id));
}

/** Adds to the spend of keys. `sums` must be in order of token: all writers lock rows in the same order. */
export async function addKeySpend(tx: Tx, sums: readonly { token: string; spendNano: bigint }[]): Promise<void> {
  if (sums.length === 0) return;
  const rows = JSON.stringify(sums.map(({ token, spendNano }) => ({ token, spend_nano: String(spendNano) })));
  await sql`
    insert into claviger.key_spend (token, spend_nano)
    select token, spend_nano from jsonb_to_recordset(${rows}::jsonb) as r (token text, spend_nano bigint) order by token
    on conflict (token) do update set spend_nano = key_spend.spend_nano + excluded.spend_nano
  `.execute(tx);
}

export async function addDailySpend(tx: Tx, sums: readonly DailySum[]): Promise<void> {
  if (sums.length === 0) return;
  const rows = JSON.stringify(sums.map((sum) => ({ ...sum, spend_nano: String(sum.spend_nano) })));
  await sql`
    insert into claviger.daily_spend as d
           (date, series, token, user_id, team_id, model, model_group, provider, region, spend_nano, prompt_tokens,
            completion_tokens, cached_tokens, cache_write_tokens, requests, successful_requests, failed_requests)
    select date, decode(series, 'hex'), token, user_id, team_id, model, model_group, provider, region, spend_nano, prompt_tokens,
           completion_tokens, cached_tokens, cache_write_tokens, requests, successful_requests, failed_requests
      from jsonb_to_recordset(${rows}::jsonb) as r (
        date date, series text, token text, user_id text, team_id text, model text, model_group text, provider text, region text,
        spend_nano bigint, prompt_tokens bigint, completion_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
        requests bigint, successful_requests bigint, failed_requests bigint)
     order by date, series
    on conflict (date, series) do update set
      spend_nano = d.spend_nano + excluded.spend_nano,
      prompt_tokens = d.prompt_tokens + excluded.prompt_tokens,
      completion_tokens = d.completion_tokens + excluded.completion_tokens,
      cached_tokens = d.cached_tokens + excluded.cached_tokens,
      cache_write_tokens = d.cache_write_tokens + excluded.cache_write_tokens,
      requests = d.requests + excluded.requests,
      successful_requests = d.successful_requests + excluded.successful_requests,
      failed_requests = d.failed_requests + excluded.failed_requests
  `.execute(tx);
}

export async function insertDeadLetters(tx: Tx, stretch: LogStretch, letters: readonly DeadLetter[]): Promise<void> {
  if (letters.length === 0) return;
  const { gatewayId, incarnation, region, from, to } = stretch;
  await tx
    .insertInto('claviger.usage_dead_letter')
    .values(
      letters.map(({ record, reason }) => ({
        gateway_id: gatewayId,
        incarnation,
        region,
        from_seq: from,
        to_seq: to,
        record,
        reason,
      })),
    )
    .execute();
}

/** Spend of the keys as decimal text, by token; a key that never spent is left out. */
export async function spendOf(tx: Tx, tokens: readonly string[]): Promise<Record<string, string>> {
  if (tokens.length === 0) return {};
  const rows = await tx
    .selectFrom('claviger.key_spend')
    .select(['token', 'spend_nano'])
    .where('token', 'in', [...tokens])
    .execute();
  return Object.fromEntries(rows.map((row) => [row.token, String(row.spend_nano)]));
}

/** Runs `step` so that its failure undoes only itself. */
export async function attempt<T>(tx: Tx, step: () => Promise<T>): Promise<{ value: T } | { error: unknown }> {
  await sql`savepoint attempt`.execute(tx);
  try {
    const value = await step();
    await sql`release savepoint attempt`.execute(tx);
    return { value };
  } catch (error) {
    await sql`rollback to savepoint attempt`.execute(tx);
    return { error };
  }
}

const COLUMNS = {
  request_id: 'text',
  call_id: 'text',
  provider_id: 'text',
  session_id: 'text',
  call_type: 'text',
  route: 'text',
  status: 'text',
  http_status: 'integer',
  error_code: 'text',
  token: 'text',
  key_alias: 'text',
  user_id: 'text',
  team_id: 'text',
  organization_id: 'text',
  end_user: 'text',
  model_group: 'text',
  model: 'text',
  model_id: 'text',
  answered_model: 'text',
  provider: 'text',
  api_base: 'text',
  stream: 'boolean',
  tags: 'jsonb',
  client_ip: 'text',
  started_at: 'timestamptz',
  first_token_at: 'timestamptz',
  ended_at: 'timestamptz',
  prompt_tokens: 'bigint',
  completion_tokens: 'bigint',
  total_tokens: 'bigint',
  cached_tokens: 'bigint',
  cache_write_tokens: 'bigint',
  reasoning_tokens: 'bigint',
  audio_input_tokens: 'bigint',
  audio_output_tokens: 'bigint',
  estimated: 'boolean',
  cost_nano: 'bigint',
  seq: 'bigint',
} as const;
const COLUMN_NAMES = Object.keys(COLUMNS).join(', ');
const COLUMN_TYPES = Object.entries(COLUMNS)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ');

function rowFromRecord(record: UsageRecord): Record<keyof typeof COLUMNS, unknown> {
  return {
    request_id: record.requestId,
    call_id: record.callId,
    provider_id: record.providerId,
    session_id: record.sessionId,
    call_type: record.callType,
    route: record.route,
    status: record.status,
    http_status: record.httpStatus,
    error_code: record.errorCode,
    token: record.token,
    key_alias: record.keyAlias,
    user_id: record.userId,
    team_id: record.teamId,
    organization_id: record.organizationId,
    end_user: record.endUser,
    model_group: record.modelGroup,
    model: record.model,
    model_id: record.modelId,
    answered_model: record.answeredModel,
    provider: record.provider,
    api_base: record.apiBase,
    stream: record.stream,
    tags: record.tags,
    client_ip: record.clientIp,
    started_at: new Date(record.startedAtMs).toISOString(),
    first_token_at: record.firstTokenAtMs === null ? null : new Date(record.firstTokenAtMs).toISOString(),
    ended_at: new Date(record.endedAtMs).toISOString(),
    prompt_tokens: record.usage.promptTokens,
    completion_tokens: record.usage.completionTokens,
    total_tokens: record.usage.totalTokens,
    cached_tokens: record.usage.cachedTokens,
    cache_write_tokens: record.usage.cacheWriteTokens,
    reasoning_tokens: record.usage.reasoningTokens,
    audio_input_tokens: record.usage.audioInputTokens,
    audio_output_tokens: record.usage.audioOutputTokens,
    estimated: record.estimated,
    cost_nano: record.costNano,
    seq: record.seq,
  };
}
