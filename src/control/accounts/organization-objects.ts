import type { RequestedOrganizationMember } from '../../contract/schemas/organization.ts';
import { ORGANIZATION_METADATA_FIELDS } from '../../contract/schemas/organization.ts';
import { memberId } from '../../domain/account.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { InternalUser } from '../../domain/internal-user.ts';
import type { Organization, OrganizationMember } from '../../domain/organization.ts';
import type { Tx } from '../../storage/db.ts';
import type { StoredObject } from '../../storage/repositories/object-table.ts';
import {
  membersOfOrganizations,
  organizationMembers,
  organizations,
  type StoredOrganization,
} from '../../storage/repositories/organizations.ts';
import type { FieldPlan, Moment } from './apply-object-fields.ts';
import { newBudget } from './budget-objects.ts';
import { createObject, type Writing } from './change-object.ts';
import { checkMoneyFields } from './check-money-fields.ts';
import { existingUserId, type NamedUser, namedUsers } from './user-objects.ts';

export const ORGANIZATION_PLAN: FieldPlan<Organization> = {
  plain: ['organization_alias', 'object_permission'],
  lists: ['models', 'allowed_regions'],
  objects: [],
  flags: ['blocked'],
  inMetadata: ORGANIZATION_METADATA_FIELDS,
  hasPeriod: false,
};

/** More in one organization are a 400: every answer about it lists them. */
export const ORGANIZATION_MEMBERS_MAX = 10_000;

/** Locked until the transaction ends. Throws 404. */
export async function lockOrganization({ tx }: Pick<Writing, 'tx'>, id: string): Promise<StoredOrganization> {
  const [stored] = await organizations.lock(tx, [id]);
  if (stored === undefined) throw organizationNotFound(id);
  return stored;
}

export async function findOrganization(tx: Tx, id: string): Promise<StoredOrganization> {
  const stored = await organizations.find(tx, id);
  if (stored === null) throw organizationNotFound(id);
  return stored;
}

function organizationNotFound(id: string): ClavigerError {
  const what = `Organization with organization_id=${id}`;
  return new ClavigerError('object_not_found', { what }, { param: 'organization_id' });
}

export interface AddedToOrganization {
  readonly users: readonly InternalUser[];
  readonly added: readonly StoredObject<OrganizationMember>[];
}

/** A user that does not exist is made; one that belongs to it already is a 400. With a budget, each gets a budget object of its own. */
export async function addToOrganization(
  write: Writing,
  organizationId: string,
  requested: readonly RequestedOrganizationMember[],
  maxBudget: number | null,
  moment: Moment,
): Promise<AddedToOrganization> {
  checkMoneyFields({ max_budget: maxBudget });
  await lockOrganization(write, organizationId);
  const users = await namedUsers(write, requested, moment);
  const count = (await membersOfOrganizations(write.tx, [organizationId], ORGANIZATION_MEMBERS_MAX)).length;
  if (count + users.length > ORGANIZATION_MEMBERS_MAX) {
    throw new ClavigerError('bad_request', {
      reason: `An organization has at most ${ORGANIZATION_MEMBERS_MAX} members.`,
    });
  }
  const added: StoredObject<OrganizationMember>[] = [];
  for (const [index, { user_id }] of users.entries()) {
    const now = new Date(moment.nowMs).toISOString();
    const budget =
      maxBudget === null
        ? null
        : await createObject(write, 'budget', newBudget(null, { max_budget: maxBudget }, moment));
    added.push(
      await createObject(write, 'organization_member', {
        organization_id: organizationId,
        user_id,
        user_role: requested[index]!.role,
        budget_id: budget?.object.budget_id ?? null,
        created_at: now,
        updated_at: now,
      }),
    );
  }
  return { users, added };
}

/** A member that is named by id or address, locked. Throws 404 when there is none. */
export async function lockOrganizationMember(
  write: Pick<Writing, 'tx'>,
  organizationId: string,
  named: NamedUser,
): Promise<StoredObject<OrganizationMember>> {
  const userId = await existingUserId(write, named);
  const [member] = userId === null ? [] : await organizationMembers.lock(write.tx, [memberId(organizationId, userId)]);
  if (member !== undefined) return member;
  const what = `User ${named.user_id || named.user_email} in organization ${organizationId}`;
  throw new ClavigerError('object_not_found', { what }, { param: 'user_id' });
}
