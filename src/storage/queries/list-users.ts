import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../db.ts';
import { type StoredUser, users } from '../repositories/users.ts';

export const USER_SORT_COLUMNS = ['user_id', 'user_email', 'created_at', 'spend', 'user_alias', 'user_role'] as const;
export type UserSortColumn = (typeof USER_SORT_COLUMNS)[number];

export interface UserListFilter {
  readonly role?: string | undefined;
  /** Several: exactly these. One: every id that contains it. */
  readonly userIds?: readonly string[] | undefined;
  readonly ssoUserIds?: readonly string[] | undefined;
  /** A part, without regard to case. */
  readonly email?: string | undefined;
  readonly teamId?: string | undefined;
  /** Members of any of them. */
  readonly organizationIds?: readonly string[] | undefined;
  readonly sortBy: UserSortColumn;
  readonly descending: boolean;
  readonly limit: number;
  readonly offset: number;
}

export function listUsers(tx: Tx, filter: UserListFilter): Promise<{ rows: StoredUser[]; total: number }> {
  const { sortBy, descending, limit, offset } = filter;
  const orderBy = sql`${sql.ref(`o.${sortBy}`)} ${descending ? sql`desc` : sql`asc`} nulls last`;
  return users.page(tx, { where: conditions(filter), orderBy, limit, offset });
}

export async function allUserIds(tx: Tx, limit: number): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    select user_id from claviger.internal_user order by user_id limit ${limit}
  `.execute(tx);
  return rows.map((row) => row.user_id);
}

export async function countUsersAndTeams(tx: Tx): Promise<{ users: number; teams: number }> {
  const { rows } = await sql<{ users: bigint; teams: bigint }>`
    select (select count(*) from claviger.internal_user) as users, (select count(*) from claviger.team) as teams
  `.execute(tx);
  return { users: Number(rows[0]!.users), teams: Number(rows[0]!.teams) };
}

function conditions(filter: UserListFilter): RawBuilder<unknown>[] {
  const { role, userIds, ssoUserIds, email, teamId, organizationIds } = filter;
  const all: RawBuilder<unknown>[] = [];
  if (role !== undefined) all.push(sql`o.user_role = ${role}`);
  if (userIds?.length === 1) all.push(sql`strpos(lower(o.user_id), lower(${userIds[0]})) > 0`);
  else if (userIds !== undefined) all.push(sql`o.user_id = any (${[...userIds]}::text[])`);
  if (ssoUserIds !== undefined) all.push(sql`o.sso_user_id = any (${[...ssoUserIds]}::text[])`);
  if (email !== undefined) all.push(sql`strpos(lower(o.user_email), lower(${email})) > 0`);
  if (teamId !== undefined) {
    all.push(sql`o.user_id in (select m.user_id from claviger.team_member m where m.team_id = ${teamId})`);
  }
  if (organizationIds !== undefined) {
    all.push(sql`o.user_id in (
      select m.user_id from claviger.organization_member m where m.organization_id = any (${[...organizationIds]}::text[])
    )`);
  }
  return all;
}
