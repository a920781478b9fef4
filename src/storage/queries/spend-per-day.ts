import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../db.ts';
import type { SpendLogFilter } from './spend-logs.ts';

export interface SpendPerDay {
  /** `YYYY-MM-DD`, UTC. */
  readonly date: string;
  readonly token: string;
  readonly user_id: string | null;
  readonly model: string;
  readonly spend_nano: bigint;
}

/**
 * Spend by UTC day, key, user and model. Read from the daily sums, so that a month of a busy installation is some thousand rows and not
 * millions; only a filter on a request id, which has few rows, needs the log itself.
 */
export async function spendPerDay(tx: Tx, filter: SpendLogFilter): Promise<SpendPerDay[]> {
  const source =
    filter.requestId === undefined
      ? sql`select date, token, user_id, model, spend_nano from claviger.daily_spend`
      : sql`select (started_at at time zone 'UTC')::date as date, token, user_id, model, cost_nano as spend_nano
              from claviger.spend_log
             where request_id = ${filter.requestId} or call_id = ${filter.requestId} or provider_id = ${filter.requestId}`;
  const { rows } = await sql<SpendPerDay>`
    select d.date, d.token, d.user_id, d.model, sum(d.spend_nano)::bigint as spend_nano
      from (${source}) d
     where ${sql.join(conditions(filter), sql` and `)}
     group by d.date, d.token, d.user_id, d.model
     order by d.date, d.token, d.user_id, d.model
  `.execute(tx);
  return rows;
}

function conditions({ token, userId, startDate, endDate, scope }: SpendLogFilter): RawBuilder<unknown>[] {
  const all: RawBuilder<unknown>[] = [sql`true`];
  if (token !== undefined) all.push(sql`d.token = ${token}`);
  if (userId !== undefined) all.push(sql`d.user_id = ${userId}`);
  if (startDate !== undefined) all.push(sql`d.date >= ${startDate}::date`);
  if (endDate !== undefined) all.push(sql`d.date <= ${endDate}::date`);
  if (scope !== null) {
    all.push(
      scope.userId === null
        ? sql`d.token = ${scope.token}`
        : sql`(d.token = ${scope.token} or d.user_id = ${scope.userId})`,
    );
  }
  return all;
}
