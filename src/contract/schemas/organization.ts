import { z } from 'zod';
import { ORGANIZATION_ROLES } from '../../domain/organization.ts';
import { ids, limitMetadataFields, list, object, time } from './account-fields.ts';
import { budgetFields } from './budget.ts';
import { objectPermission, regions } from './key-request.ts';
import { bool, dict, id, money, text, texts } from './lax.ts';

export const ORGANIZATION_METADATA_FIELDS = Object.keys(limitMetadataFields);

const organizationFields = {
  ...budgetFields,
  ...limitMetadataFields,
  budget_id: id.nullish(),
  models: texts.nullish(),
  metadata: dict.nullish(),
  blocked: bool.nullish(),
  object_permission: objectPermission.nullish(),
  allowed_regions: regions.nullish(),
};

export const newOrganizationBody = z.object({
  organization_id: id.nullish(),
  organization_alias: id,
  ...organizationFields,
});
export const updateOrganizationBody = z.object({
  organization_id: id,
  organization_alias: id.optional(),
  ...organizationFields,
});
export const organizationIdsBody = z.object({ organization_ids: ids });
export const organizationInfoQuery = z.object({ organization_id: text });
export const organizationInfoBody = z.object({ organizations: ids });
export const organizationListQuery = z.object({ org_id: text.optional(), org_alias: text.optional() });

const member = z.object({ role: z.enum(ORGANIZATION_ROLES), user_id: id.nullish(), user_email: id.nullish() });
export type RequestedOrganizationMember = z.output<typeof member>;
/** Members that one request names; more are a 422. */
const MEMBERS_PER_REQUEST_MAX = 500;
export const addOrganizationMemberBody = z.object({
  organization_id: id,
  member: z.union([member, z.array(member).min(1).max(MEMBERS_PER_REQUEST_MAX)]),
  max_budget_in_organization: money.optional(),
});
const whichMember = { organization_id: id, user_id: id.nullish(), user_email: id.nullish() };
export const updateOrganizationMemberBody = z.object({
  ...whichMember,
  role: z.enum(ORGANIZATION_ROLES).nullish(),
  max_budget_in_organization: money.optional(),
});
export const deleteOrganizationMemberBody = z.object(whichMember);

export const organizationMemberRow = z.looseObject({
  organization_id: z.string(),
  user_id: z.string(),
  user_role: z.string(),
  budget_id: z.string().nullable(),
});
export const organizationRow = z.looseObject({
  organization_id: z.string(),
  organization_alias: z.string(),
  budget_id: z.string(),
  spend: z.number(),
  models: list,
  blocked: z.boolean(),
  metadata: object,
  allowed_regions: list.describe('Regions whose instances serve its keys; empty: all.'),
  litellm_budget_table: object.nullable(),
  created_at: time,
  updated_at: time,
});
export const wholeOrganization = organizationRow.extend({
  members: z.array(organizationMemberRow),
  teams: z.array(object),
});
export const organizationInfo = wholeOrganization.extend({ users: z.array(object) });
export const organizationRows = z.array(wholeOrganization);
export const addedOrganizationMembers = z.object({
  organization_id: z.string(),
  updated_users: z.array(object),
  updated_organization_memberships: z.array(organizationMemberRow),
});
