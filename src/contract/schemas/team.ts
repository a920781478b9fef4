import { z } from 'zod';
import { TEAM_ROLES } from '../../domain/team-member.ts';
import {
  ids,
  limitMetadataFields,
  list,
  moneyFields,
  object,
  page,
  pageSize,
  shownMoney,
  time,
} from './account-fields.ts';
import { intPerName, objectPermission, regions } from './key-request.ts';
import { bool, dict, float, id, int, json, money, text, texts } from './lax.ts';

/** Members that one request names; more are a 422. */
export const MEMBERS_PER_REQUEST_MAX = 500;

const member = z.object({ role: z.enum(TEAM_ROLES).default('user'), user_id: id.nullish(), user_email: id.nullish() });
export type RequestedMember = z.output<typeof member>;

/** Asked for at the top level and kept inside `metadata`. */
const metadataFields = {
  ...limitMetadataFields,
  guardrails: texts.nullish(),
  prompts: texts.nullish(),
  tags: texts.nullish(),
  allowed_passthrough_routes: texts.nullish(),
  secret_manager_settings: dict.nullish(),
  logging: z.array(dict).nullish(),
  allowed_vector_store_indexes: z.array(z.object({ index_name: text, index_permissions: texts })).nullish(),
  enforced_batch_output_expires_after: dict.nullish(),
  enforced_file_expires_after: dict.nullish(),
  default_estimated_output_tokens: int.nullish(),
  default_estimated_output_tokens_per_model: intPerName.nullish(),
  team_member_key_duration: text.nullish(),
};
export const TEAM_METADATA_FIELDS = Object.keys(metadataFields);

const teamFields = {
  team_alias: id.nullish(),
  organization_id: id.nullish(),
  ...moneyFields,
  ...metadataFields,
  metadata: dict.nullish(),
  models: texts.nullish(),
  model_aliases: dict.nullish(),
  blocked: bool.nullish(),
  team_member_permissions: texts.nullish(),
  default_team_member_models: texts.nullish(),
  router_settings: dict.nullish(),
  access_group_ids: texts.nullish(),
  policies: texts.nullish(),
  object_permission: objectPermission.nullish(),
  allowed_regions: regions.nullish(),
  team_member_budget: money.optional(),
  team_member_budget_duration: text.nullish(),
  team_member_rpm_limit: int.nullish(),
  team_member_tpm_limit: int.nullish(),
  team_member_model_max_budget: dict.nullish(),
};

export const newTeamBody = z.object({
  team_id: id.nullish(),
  ...teamFields,
  spend: float.nullish(),
  members_with_roles: z.array(member).max(MEMBERS_PER_REQUEST_MAX).nullish(),
  admins: z.array(id).max(MEMBERS_PER_REQUEST_MAX).nullish(),
  members: z.array(id).max(MEMBERS_PER_REQUEST_MAX).nullish(),
});
export type NewTeamBody = z.output<typeof newTeamBody>;
export const updateTeamBody = z.object({ team_id: id, ...teamFields });
export type TeamFields = Omit<z.output<typeof updateTeamBody>, 'team_id'>;
export const patchTeamQuery = z.object({ team_id: id });
export const patchTeamBody = z.object(teamFields);
export const teamIdBody = z.object({ team_id: id });
export const teamIdsBody = z.object({ team_ids: ids });
export const teamModelsBody = z.object({ team_id: id, models: texts });
export const teamInfoQuery = z.object({ team_id: text, key_limit: int.pipe(z.number().min(0)).optional() });
export const teamListQuery = z.object({ user_id: text.optional(), organization_id: text.optional() });
export const teamPageQuery = z.object({
  user_id: text.optional(),
  organization_id: text.optional(),
  team_id: text.optional(),
  team_alias: text.optional(),
  search: text.optional(),
  page,
  page_size: pageSize(10),
  sort_by: text.optional(),
  sort_order: text.default('asc'),
  status: text.optional(),
});
export type TeamPageQuery = z.output<typeof teamPageQuery>;
export const teamFilterQuery = z.object({
  team_id: text.optional(),
  team_alias: text.optional(),
  page,
  page_size: pageSize(50),
});

const memberLimits = { max_budget_in_team: money.optional(), budget_id: id.nullish() };
export const addMemberBody = z.object({
  team_id: id,
  member: z.union([member, z.array(member).min(1).max(MEMBERS_PER_REQUEST_MAX)]),
  ...memberLimits,
});
export const bulkAddMembersBody = z.object({
  team_id: id,
  members: z.array(member).max(MEMBERS_PER_REQUEST_MAX).nullish(),
  all_users: bool.nullish(),
  ...memberLimits,
});
const whichMember = { team_id: id, user_id: id.nullish(), user_email: id.nullish() };
export const updateMemberBody = z.object({
  ...whichMember,
  ...memberLimits,
  role: z.enum(TEAM_ROLES).nullish(),
  budget_duration: text.nullish(),
  rpm_limit: int.nullish(),
  tpm_limit: int.nullish(),
  allowed_models: texts.nullish(),
});
export const deleteMemberBody = z.object(whichMember);
export const memberPathQuery = z.object({ team_id: id, user_id: id });
export const resetSpendBody = z.object({ reset_to: float });
export const permissionsQuery = z.object({ team_id: text });
export const updatePermissionsBody = z.object({ team_id: id, team_member_permissions: texts });
export const bulkPermissionsBody = z.object({
  team_ids: ids.nullish(),
  apply_to_all_teams: bool.nullish(),
  permissions: texts,
});

export const memberRow = z.looseObject({
  user_id: z.string(),
  team_id: z.string(),
  spend: z.number(),
  budget_id: z.string().nullable(),
  litellm_budget_table: z.unknown(),
});
export const teamRow = z.looseObject({
  team_id: z.string(),
  team_alias: z.string().nullable(),
  organization_id: z.string().nullable(),
  admins: list,
  members: list,
  members_with_roles: z.array(z.object({ role: z.string(), user_id: z.string(), user_email: z.string().nullable() })),
  spend: z.number(),
  ...shownMoney,
  models: list,
  model_aliases: object,
  blocked: z.boolean(),
  team_member_permissions: list,
  default_team_member_models: list,
  router_settings: json,
  access_group_ids: list,
  policies: list,
  object_permission: json,
  metadata: object,
  allowed_regions: list.describe('Regions whose instances serve its keys; empty: all.'),
  created_at: time,
  updated_at: time,
});
export const updatedTeam = z.object({ team_id: z.string(), data: teamRow });
export const teamRows = z.array(teamRow);
export const teamInfo = z.object({
  team_id: z.string(),
  team_info: teamRow,
  keys: z.array(object),
  team_memberships: z.array(memberRow),
});
export const listedTeams = z.array(teamRow.extend({ team_memberships: z.array(memberRow), keys: z.array(object) }));
export const teamPage = z.object({
  teams: teamRows,
  total: z.int(),
  page: z.int(),
  page_size: z.int(),
  total_pages: z.int(),
});
export const addedMembers = teamRow.extend({
  updated_users: z.array(object),
  updated_team_memberships: z.array(memberRow),
});
export const bulkAddedMembers = z.object({
  team_id: z.string(),
  results: z.array(object),
  total_requested: z.int(),
  successful_additions: z.int(),
  failed_additions: z.int(),
  updated_team: teamRow,
});
export const updatedMember = z.looseObject({
  team_id: z.string(),
  user_id: z.string(),
  user_email: z.string().nullable(),
  max_budget_in_team: z.number().nullable(),
  tpm_limit: z.int().nullable(),
  rpm_limit: z.int().nullable(),
});
export const memberSpend = z.object({
  team_id: z.string(),
  user_id: z.string(),
  spend: z.number(),
  previous_spend: z.number(),
  max_budget: z.number().nullable(),
});
export const teamPermissions = z.object({
  team_id: z.string(),
  team_member_permissions: list,
  all_available_permissions: list,
});
export const bulkPermissions = z.object({ message: z.string(), teams_updated: z.int() });
