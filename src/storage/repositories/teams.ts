import { sql } from 'kysely';
import type { Team } from '../../domain/team.ts';
import type { TeamMember } from '../../domain/team-member.ts';
import type { Tx } from '../db.ts';
import type { Deletion } from './keys.ts';
import { objectTable, type StoredObject } from './object-table.ts';

export type StoredTeam = StoredObject<Team>;

/** Unique violation: `team_team_id_key`. */
export const teams = objectTable<Team>({
  table: 'team',
  spendKind: 'team',
  idColumn: 'team_id',
  idOf: (team) => team.team_id,
  columns: {
    team_id: 'text',
    team_alias: 'text',
    organization_id: 'text',
    models: 'texts',
    model_aliases: 'json',
    max_budget: 'number',
    soft_budget: 'number',
    budget_duration: 'text',
    budget_reset_at: 'time',
    budget_limits: 'json',
    model_max_budget: 'json',
    max_parallel_requests: 'int8',
    rpm_limit: 'int8',
    tpm_limit: 'int8',
    blocked: 'boolean',
    team_member_permissions: 'texts',
    default_team_member_models: 'texts',
    router_settings: 'json',
    access_group_ids: 'texts',
    policies: 'texts',
    object_permission: 'json',
    metadata: 'json',
    allowed_regions: 'texts',
    created_at: 'time',
    created_by: 'text',
    updated_at: 'time',
    updated_by: 'text',
  },
});

export interface DeletedTeam {
  readonly team: Team;
  readonly members: readonly TeamMember[];
  readonly spendNano: bigint;
  readonly deletion: Deletion;
}

export async function keepDeletedTeam(tx: Tx, { team, members, spendNano, deletion }: DeletedTeam): Promise<void> {
  await sql`
    insert into claviger.deleted_team (team_id, organization_id, team_alias, team, members, spend_nano, deleted_at, deleted_by,
                                       deleted_by_api_key, litellm_changed_by)
    values (${team.team_id}, ${team.organization_id}, ${team.team_alias}, ${JSON.stringify(team)}, ${JSON.stringify(members)},
            ${spendNano}, ${deletion.deletedAt}, ${deletion.deletedBy}, ${deletion.deletedByApiKey}, ${deletion.changedBy})
  `.execute(tx);
}

/** Newest first. */
export async function deletedTeams(
  tx: Tx,
  { limit, offset, organizationId }: { limit: number; offset: number; organizationId: string | null },
): Promise<{ rows: DeletedTeam[]; total: number }> {
  const where = organizationId === null ? sql`true` : sql`organization_id = ${organizationId}`;
  const count = await sql<{
    total: bigint;
  }>`select count(*) as total from claviger.deleted_team where ${where}`.execute(tx);
  const { rows } = await sql<DeletedTeamRow>`
    select * from claviger.deleted_team where ${where} order by deleted_at desc, id desc limit ${limit} offset ${offset}
  `.execute(tx);
  return {
    total: Number(count.rows[0]!.total),
    rows: rows.map((row) => ({
      team: row.team,
      members: row.members,
      spendNano: row.spend_nano,
      deletion: {
        deletedAt: row.deleted_at.toISOString(),
        deletedBy: row.deleted_by,
        deletedByApiKey: row.deleted_by_api_key,
        changedBy: row.litellm_changed_by,
      },
    })),
  };
}

interface DeletedTeamRow {
  readonly team: Team;
  readonly members: TeamMember[];
  readonly spend_nano: bigint;
  readonly deleted_at: Date;
  readonly deleted_by: string | null;
  readonly deleted_by_api_key: string | null;
  readonly litellm_changed_by: string | null;
}
