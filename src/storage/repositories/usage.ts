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

/**
 * Inserts the rows that are not there yet and returns their request ids. Sorted, so that two batches can not deadlock. Each column travels
 * as one array: PostgreSQL reads that with a third less work than an object per row.
 */
export async function insertRecords(
  tx: Tx,
  { gatewayId, incarnation, region }: LogStretch,
  records: readonly UsageRecord[],
): Promise<Set<string>> {
  const sorted = [...records].sort((a, b) => (a.requestId < b.requestId ? -1 : 1));
  const columns = COLUMNS.map(([, type, read]) => sql`${arrayLiteral(sorted, read)}::${sql.raw(type)}[]`);
  // When all are new, which is nearly always, their ids need not come back.
  const { rows } = await sql<{ inserted: number; request_ids: string[] | null }>`
    with inserted as (
      insert into claviger.spend_log (${sql.raw(COLUMN_NAMES)}, region, gateway_id, incarnation)
      select ${sql.raw(COLUMN_VALUES)}, ${region}, ${gatewayId}, ${incarnation}
        from unnest(${sql.join(columns)}) as r (${sql.raw(COLUMN_NAMES)})
      on conflict (request_id) do nothing
      returning request_id
    )
    select count(*)::integer as inserted, case when count(*) < ${sorted.length} then array_agg(request_id) end as request_ids
      from inserted
  `.execute(tx);
  const { inserted, request_ids } = rows[0]!;
  if (inserted === sorted.length) return new Set(sorted.map((record) => record.requestId));
  return new Set(request_ids);
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

type Column = readonly [name: string, type: string, read: (record: UsageRecord) => string | number | boolean | null];

/** Type of moments on their way, in seconds since the epoch: PostgreSQL reads a number faster than ISO text. */
const SECONDS = 'double precision';

const COLUMNS: readonly Column[] = [
  ['request_id', 'text', (record) => record.requestId],
  ['call_id', 'text', (record) => record.callId],
  ['provider_id', 'text', (record) => record.providerId],
  ['session_id', 'text', (record) => record.sessionId],
  ['call_type', 'text', (record) => record.callType],
  ['route', 'text', (record) => record.route],
  ['status', 'text', (record) => record.status],
  ['http_status', 'integer', (record) => record.httpStatus],
  ['error_code', 'text', (record) => record.errorCode],
  ['token', 'text', (record) => record.token],
  ['key_alias', 'text', (record) => record.keyAlias],
  ['user_id', 'text', (record) => record.userId],
  ['team_id', 'text', (record) => record.teamId],
  ['organization_id', 'text', (record) => record.organizationId],
  ['end_user', 'text', (record) => record.endUser],
  ['model_group', 'text', (record) => record.modelGroup],
  ['model', 'text', (record) => record.model],
  ['model_id', 'text', (record) => record.modelId],
  ['answered_model', 'text', (record) => record.answeredModel],
  ['provider', 'text', (record) => record.provider],
  ['api_base', 'text', (record) => record.apiBase],
  ['stream', 'boolean', (record) => record.stream],
  ['tags', 'jsonb', (record) => (record.tags.length === 0 ? '[]' : JSON.stringify(record.tags))],
  ['client_ip', 'text', (record) => record.clientIp],
  ['started_at', SECONDS, (record) => record.startedAtMs / 1_000],
  ['first_token_at', SECONDS, (record) => (record.firstTokenAtMs === null ? null : record.firstTokenAtMs / 1_000)],
  ['ended_at', SECONDS, (record) => record.endedAtMs / 1_000],
  ['prompt_tokens', 'bigint', (record) => record.usage.promptTokens],
  ['completion_tokens', 'bigint', (record) => record.usage.completionTokens],
  ['total_tokens', 'bigint', (record) => record.usage.totalTokens],
  ['cached_tokens', 'bigint', (record) => record.usage.cachedTokens],
  ['cache_write_tokens', 'bigint', (record) => record.usage.cacheWriteTokens],
  ['reasoning_tokens', 'bigint', (record) => record.usage.reasoningTokens],
  ['audio_input_tokens', 'bigint', (record) => record.usage.audioInputTokens],
  ['audio_output_tokens', 'bigint', (record) => record.usage.audioOutputTokens],
  ['usage_extras', 'jsonb', (record) => jsonOrNull(record.usage.extras)],
  ['estimated', 'boolean', (record) => record.estimated],
  ['cost_nano', 'bigint', (record) => record.costNano],
  ['provider_cost_nano', 'bigint', (record) => record.providerCostNano ?? null],
  // Absent: our prices made the cost.
  [
    'formula_cost_nano',
    'bigint',
    (record) => (record.formulaCostNano === undefined ? record.costNano : record.formulaCostNano),
  ],
  ['cost_breakdown', 'jsonb', (record) => jsonOrNull(record.breakdown)],
  ['seq', 'bigint', (record) => record.seq],
];
function jsonOrNull(value: object | null | undefined): string | null {
  return value == null ? null : JSON.stringify(value);
}

const COLUMN_NAMES = COLUMNS.map(([name]) => name).join(', ');
const COLUMN_VALUES = COLUMNS.map(([name, type]) => (type === SECONDS ? `to_timestamp(r.${name})` : `r.${name}`)).join(
  ', ',
);

/** One column as the text of a PostgreSQL array. */
function arrayLiteral(records: readonly UsageRecord[], read: Column[2]): string {
  const parts = records.map((record) => {
    const value = read(record);
    if (value === null) return 'NULL';
    if (typeof value !== 'string') return String(value);
    return NEEDS_ESCAPE.test(value) ? `"${value.replace(TO_ESCAPE, '\\$&')}"` : `"${value}"`;
  });
  return `{${parts.join(',')}}`;
}

const NEEDS_ESCAPE = /["\\]/;
const TO_ESCAPE = /["\\]/g;
