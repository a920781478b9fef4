import { type RawBuilder, type Selectable, sql } from 'kysely';
import type { Tx } from '../db.ts';
import type { SpendLogTable } from '../tables.ts';

export interface SpendLogFilter {
  readonly token?: string | undefined;
  readonly userId?: string | undefined;
  /** Our request id, the call id on the answer, or the provider's id. */
  readonly requestId?: string | undefined;
  /** First and last UTC day, `YYYY-MM-DD`, both included. */
  readonly startDate?: string | undefined;
  readonly endDate?: string | undefined;
  /** What the caller may see; null = everything. */
  readonly scope: SpendScope | null;
}

export interface SpendScope {
  readonly token: string;
  readonly userId: string | null;
}

export type SpendLogRow = Selectable<SpendLogTable>;

/** Newest first. The three id columns have an index each, which PostgreSQL combines. */
export async function spendLogs(tx: Tx, filter: SpendLogFilter, limit: number): Promise<SpendLogRow[]> {
  const { rows } = await sql<SpendLogRow>`
    select l.* from claviger.spend_log l
     where ${sql.join(conditions(filter), sql` and `)}
     order by l.started_at desc, l.request_id desc
     limit ${limit}
  `.execute(tx);
  return rows;
}

function conditions(filter: SpendLogFilter): RawBuilder<unknown>[] {
  const all: RawBuilder<unknown>[] = [sql`true`];
  const { token, userId, requestId, startDate, endDate, scope } = filter;
  if (token !== undefined) all.push(sql`l.token = ${token}`);
  if (userId !== undefined) all.push(sql`l.user_id = ${userId}`);
  if (requestId !== undefined) {
    all.push(sql`(l.request_id = ${requestId} or l.call_id = ${requestId} or l.provider_id = ${requestId})`);
  }
  if (startDate !== undefined) all.push(sql`l.started_at >= ${startDate}::date::timestamp at time zone 'UTC'`);
  if (endDate !== undefined) all.push(sql`l.started_at < (${endDate}::date + 1)::timestamp at time zone 'UTC'`);
  if (scope !== null) all.push(inScope(scope));
  return all;
}

function inScope({ token, userId }: SpendScope): RawBuilder<unknown> {
  return userId === null ? sql`l.token = ${token}` : sql`(l.token = ${token} or l.user_id = ${userId})`;
}
