import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../db.ts';
import { type KeyRow, keyFromRow, type StoredKey } from '../repositories/key-columns.ts';
import type { Deletion } from '../repositories/keys.ts';

export const KEY_SORT_COLUMNS = ['spend', 'max_budget', 'created_at', 'updated_at', 'token', 'key_alias'] as const;
export type KeySortColumn = (typeof KEY_SORT_COLUMNS)[number];

export interface KeyListFilter {
  readonly deleted: boolean;
  readonly userId?: string | undefined;
  readonly teamId?: string | undefined;
  readonly organizationId?: string | undefined;
  readonly projectId?: string | undefined;
  readonly agentId?: string | undefined;
  readonly accessGroupId?: string | undefined;
  readonly token?: string | undefined;
  readonly keyAlias?: string | undefined;
  /** `userId` and `keyAlias` match anywhere inside, without regard to case. */
  readonly substring: boolean;
  readonly expires?: 'expired' | 'active' | undefined;
  /** What the caller may see; null = everything. */
  readonly scope: KeyScope | null;
  readonly sortBy: KeySortColumn;
  readonly descending: boolean;
  readonly limit: number;
  readonly offset: number;
}

/** A caller that is not an admin sees its own key, the keys of its user, and on request those that its user created. */
export interface KeyScope {
  readonly token: string;
  readonly userId: string | null;
  readonly includeCreatedBy: boolean;
  /** All keys of these teams too. */
  readonly teamIds: readonly string[];
}

export interface ListedKey extends StoredKey {
  readonly deletion: Deletion | null;
}

/**
 * One page of keys and the number of all that match. Live and deleted keys have the same columns but for spend and deletion, so one
 * text serves both; the sort column is one of a fixed list and the row's id breaks ties, so that pages do not overlap.
 */
export async function listKeys(tx: Tx, filter: KeyListFilter): Promise<{ rows: ListedKey[]; total: number }> {
  const source = filter.deleted
    ? sql`(select d.*, d.spend_nano as spend from claviger.deleted_virtual_key d) k`
    : sql`(select v.*, coalesce(s.spend_nano, 0) as spend
             from claviger.virtual_key v left join claviger.key_spend s on s.token = v.token) k`;
  const where = sql.join(conditions(filter), sql` and `);
  const order = sql`${sql.ref(`k.${filter.sortBy}`)} ${filter.descending ? sql`desc` : sql`asc`} nulls last, k.id desc`;
  const count = await sql<{ total: bigint }>`select count(*) as total from ${source} where ${where}`.execute(tx);
  const page = await sql<ListRow>`
    select k.* from ${source} where ${where} order by ${order} limit ${filter.limit} offset ${filter.offset}
  `.execute(tx);
  return { rows: page.rows.map(listed), total: Number(count.rows[0]!.total) };
}

/** Keys of browser sessions are in the same table in LiteLLM and in no list. */
const SESSION_TEAM = 'litellm-dashboard';

function conditions(filter: KeyListFilter): RawBuilder<unknown>[] {
  const all: RawBuilder<unknown>[] = [sql`k.team_id is distinct from ${SESSION_TEAM}`];
  const equal = (column: string, value: string | undefined) => {
    if (value !== undefined) all.push(sql`${sql.ref(`k.${column}`)} = ${value}`);
  };
  const matching = (column: string, value: string | undefined) => {
    if (value === undefined) return;
    if (filter.substring) all.push(sql`strpos(lower(${sql.ref(`k.${column}`)}), lower(${value})) > 0`);
    else equal(column, value);
  };
  matching('user_id', filter.userId);
  matching('key_alias', filter.keyAlias);
  equal('team_id', filter.teamId);
  equal('organization_id', filter.organizationId);
  equal('project_id', filter.projectId);
  equal('agent_id', filter.agentId);
  equal('token', filter.token);
  if (filter.accessGroupId !== undefined) all.push(sql`${filter.accessGroupId} = any (k.access_group_ids)`);
  if (filter.expires === 'expired') all.push(sql`k.expires <= now()`);
  if (filter.expires === 'active') all.push(sql`(k.expires is null or k.expires > now())`);
  if (filter.scope !== null) all.push(visible(filter.scope));
  return all;
}

function visible({ token, userId, includeCreatedBy, teamIds }: KeyScope): RawBuilder<unknown> {
  if (userId === null) return sql`k.token = ${token}`;
  const createdBy = includeCreatedBy ? sql` or k.created_by = ${userId}` : sql``;
  const ofTeams = teamIds.length === 0 ? sql`` : sql` or k.team_id = any (${[...teamIds]}::text[])`;
  return sql`(k.token = ${token} or k.user_id = ${userId}${createdBy}${ofTeams})`;
}

interface ListRow extends KeyRow {
  readonly spend: bigint;
  readonly deleted_at?: Date;
  readonly deleted_by?: string | null;
  readonly deleted_by_api_key?: string | null;
  readonly litellm_changed_by?: string | null;
}

function listed(row: ListRow): ListedKey {
  return {
    key: keyFromRow(row),
    objectRev: Number(row.object_rev),
    spendNano: row.spend,
    deletion:
      row.deleted_at === undefined
        ? null
        : {
            deletedAt: row.deleted_at.toISOString(),
            deletedBy: row.deleted_by ?? null,
            deletedByApiKey: row.deleted_by_api_key ?? null,
            changedBy: row.litellm_changed_by ?? null,
          },
  };
}
