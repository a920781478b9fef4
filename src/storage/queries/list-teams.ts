import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../db.ts';
import { type StoredTeam, teams } from '../repositories/teams.ts';

export const TEAM_SORT_COLUMNS = ['team_id', 'team_alias', 'created_at', 'updated_at', 'spend', 'max_budget'] as const;
export type TeamSortColumn = (typeof TEAM_SORT_COLUMNS)[number];

export interface TeamListFilter {
  /** Teams that this user is in. */
  readonly userId?: string | undefined;
  /** Null: teams without one. */
  readonly organizationId?: string | null | undefined;
  readonly teamId?: string | undefined;
  /** A part, without regard to case. */
  readonly alias?: string | undefined;
  /** A part of id or alias. */
  readonly search?: string | undefined;
  /** What the caller may see; null = everything. */
  readonly scope: TeamScope | null;
  readonly sortBy: TeamSortColumn;
  readonly descending: boolean;
  readonly limit: number;
  readonly offset: number;
}

/** Teams of a user, of its organizations, and the one of its key. */
export interface TeamScope {
  readonly userId: string | null;
  readonly organizationIds: readonly string[];
  readonly teamId: string | null;
}

export function listTeams(tx: Tx, filter: TeamListFilter): Promise<{ rows: StoredTeam[]; total: number }> {
  const { sortBy, descending, limit, offset } = filter;
  const orderBy = sql`${sql.ref(`o.${sortBy}`)} ${descending ? sql`desc` : sql`asc`} nulls last`;
  return teams.page(tx, { where: conditions(filter), orderBy, limit, offset });
}

export async function newestTeams(tx: Tx, limit: number): Promise<StoredTeam[]> {
  const page = await listTeams(tx, { scope: null, sortBy: 'created_at', descending: true, limit, offset: 0 });
  return page.rows;
}

export async function allTeamIds(tx: Tx, limit: number): Promise<string[]> {
  const { rows } = await sql<{ team_id: string }>`
    select team_id from claviger.team order by team_id limit ${limit}
  `.execute(tx);
  return rows.map((row) => row.team_id);
}

export async function teamIdsOfOrganizations(
  tx: Tx,
  organizationIds: readonly string[],
  limit: number,
): Promise<string[]> {
  const { rows } = await sql<{ team_id: string }>`
    select team_id from claviger.team where organization_id = any (${[...organizationIds]}::text[]) order by team_id limit ${limit}
  `.execute(tx);
  return rows.map((row) => row.team_id);
}

function conditions(filter: TeamListFilter): RawBuilder<unknown>[] {
  const { userId, organizationId, teamId, alias, search, scope } = filter;
  const all: RawBuilder<unknown>[] = [];
  if (userId !== undefined) all.push(isMember(userId));
  if (organizationId !== undefined) all.push(sql`o.organization_id is not distinct from ${organizationId}::text`);
  if (teamId !== undefined) all.push(sql`o.team_id = ${teamId}`);
  if (alias !== undefined) all.push(sql`strpos(lower(o.team_alias), lower(${alias})) > 0`);
  if (search !== undefined) {
    all.push(
      sql`(strpos(lower(o.team_id), lower(${search})) > 0 or strpos(lower(o.team_alias), lower(${search})) > 0)`,
    );
  }
  if (scope !== null) {
    all.push(sql`(${isMember(scope.userId ?? '')} or o.team_id = ${scope.teamId}::text
                  or o.organization_id = any (${[...scope.organizationIds]}::text[]))`);
  }
  return all;
}

function isMember(userId: string): RawBuilder<unknown> {
  return sql`o.team_id in (select m.team_id from claviger.team_member m where m.user_id = ${userId})`;
}
