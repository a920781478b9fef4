import { sql } from 'kysely';
import { memberId } from '../../domain/account.ts';
import type { Organization, OrganizationMember } from '../../domain/organization.ts';
import type { Tx } from '../db.ts';
import { objectTable, type StoredObject } from './object-table.ts';

export type StoredOrganization = StoredObject<Organization>;

/** Unique violation: `organization_organization_id_key`. */
export const organizations = objectTable<Organization>({
  table: 'organization',
  spendKind: 'organization',
  idColumn: 'organization_id',
  idOf: (organization) => organization.organization_id,
  columns: {
    organization_id: 'text',
    organization_alias: 'text',
    budget_id: 'text',
    models: 'texts',
    blocked: 'boolean',
    object_permission: 'json',
    metadata: 'json',
    allowed_regions: 'texts',
    created_at: 'time',
    created_by: 'text',
    updated_at: 'time',
    updated_by: 'text',
  },
});

/** Unique violation: `organization_member_member_id_key`. */
export const organizationMembers = objectTable<OrganizationMember>({
  table: 'organization_member',
  spendKind: null,
  idColumn: 'member_id',
  idOf: (member) => memberId(member.organization_id, member.user_id),
  columns: {
    organization_id: 'text',
    user_id: 'text',
    user_role: 'text',
    budget_id: 'text',
    created_at: 'time',
    updated_at: 'time',
  },
});

/** In the order in which they joined. */
export async function membersOfOrganizations(
  tx: Tx,
  organizationIds: readonly string[],
  limit: number,
): Promise<StoredObject<OrganizationMember>[]> {
  if (organizationIds.length === 0) return [];
  const { rows } = await organizationMembers.page(tx, {
    where: [sql`o.organization_id = any (${[...organizationIds]}::text[])`],
    orderBy: sql`o.id`,
    limit,
    offset: 0,
  });
  return rows;
}

export async function organizationMembershipsOf(
  tx: Tx,
  userIds: readonly string[],
  limit: number,
): Promise<StoredObject<OrganizationMember>[]> {
  if (userIds.length === 0) return [];
  const { rows } = await organizationMembers.page(tx, {
    where: [sql`o.user_id = any (${[...userIds]}::text[])`],
    orderBy: sql`o.id`,
    limit,
    offset: 0,
  });
  return rows;
}
