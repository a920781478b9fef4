import { sql } from 'kysely';
import { memberId } from '../../domain/account.ts';
import type { TeamMember } from '../../domain/team-member.ts';
import type { Tx } from '../db.ts';
import { objectTable, type StoredObject } from './object-table.ts';

export type StoredMember = StoredObject<TeamMember>;

/** Unique violations: `team_member_member_id_key`, `team_member_team_id_user_id_key`. */
export const teamMembers = objectTable<TeamMember>({
  table: 'team_member',
  spendKind: 'team_member',
  idColumn: 'member_id',
  idOf: (member) => memberId(member.team_id, member.user_id),
  columns: {
    team_id: 'text',
    user_id: 'text',
    user_email: 'text',
    role: 'text',
    max_budget: 'number',
    budget_duration: 'text',
    budget_reset_at: 'time',
    rpm_limit: 'int8',
    tpm_limit: 'int8',
    models: 'texts',
    budget_id: 'text',
    created_at: 'time',
    created_by: 'text',
    updated_at: 'time',
    updated_by: 'text',
  },
});

/** Members of the teams, in the order in which they joined. */
export async function membersOfTeams(tx: Tx, teamIds: readonly string[], limit: number): Promise<StoredMember[]> {
  if (teamIds.length === 0) return [];
  const { rows } = await teamMembers.page(tx, {
    where: [sql`o.team_id = any (${[...teamIds]}::text[])`],
    orderBy: sql`o.id`,
    limit,
    offset: 0,
  });
  return rows;
}

export async function membershipsOfUsers(tx: Tx, userIds: readonly string[], limit: number): Promise<StoredMember[]> {
  if (userIds.length === 0) return [];
  const { rows } = await teamMembers.page(tx, {
    where: [sql`o.user_id = any (${[...userIds]}::text[])`],
    orderBy: sql`o.id`,
    limit,
    offset: 0,
  });
  return rows;
}
