import { z } from 'zod';
import { USER_ROLES } from '../../domain/internal-user.ts';
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
import { objectPermission } from './key-request.ts';
import { bool, dict, float, id, json, money, text, texts } from './lax.ts';

/** Asked for at the top level and kept inside `metadata`. */
const metadataFields = {
  ...limitMetadataFields,
  guardrails: texts.nullish(),
  prompts: texts.nullish(),
  tags: texts.nullish(),
};
export const USER_METADATA_FIELDS = Object.keys(metadataFields);

const teamOfUser = z.union([
  id,
  z.object({ team_id: id, max_budget_in_team: money.optional(), user_role: z.enum(TEAM_ROLES).nullish() }),
]);

const userFields = {
  user_email: id.nullish(),
  user_alias: id.nullish(),
  user_role: z.enum(USER_ROLES).nullish(),
  sso_user_id: id.nullish(),
  organization_id: id.nullish(),
  password: z.string().min(8).max(128).nullish(),
  spend: float.nullish(),
  ...moneyFields,
  ...metadataFields,
  models: texts.nullish(),
  metadata: dict.nullish(),
  allowed_cache_controls: texts.nullish(),
  policies: texts.nullish(),
  object_permission: objectPermission.nullish(),
  blocked: bool.nullish(),
};

/** Of the key that is made with a user. */
const keyOfUser = {
  key_alias: id.nullish(),
  duration: text.nullish(),
  aliases: dict.nullish(),
  config: dict.nullish(),
  permissions: dict.nullish(),
};

/** Teams or organizations that a user is put into at once. */
const MEMBERSHIPS_AT_ONCE_MAX = 100;

export const newUserBody = z.object({
  user_id: id.nullish(),
  ...userFields,
  ...keyOfUser,
  teams: z.array(teamOfUser).max(MEMBERSHIPS_AT_ONCE_MAX).nullish(),
  organizations: z.array(id).max(MEMBERSHIPS_AT_ONCE_MAX).nullish(),
  auto_create_key: bool.default(true),
  send_invite_email: bool.nullish(),
});
export type NewUserBody = z.output<typeof newUserBody>;

export const updateUserBody = z.object({ user_id: id.nullish(), ...userFields });
export type UpdateUserBody = z.output<typeof updateUserBody>;

/** More users in one bulk update are a 422. */
export const USERS_PER_UPDATE_MAX = 500;
export const bulkUpdateUsersBody = z.object({
  users: z.array(updateUserBody).max(USERS_PER_UPDATE_MAX).nullish(),
  all_users: bool.nullish(),
  user_updates: updateUserBody.nullish(),
});

export const deleteUsersBody = z.object({ user_ids: ids });
export const userInfoQuery = z.object({ user_id: text.optional() });
export const userListQuery = z.object({
  role: text.optional(),
  user_ids: text.optional(),
  sso_user_ids: text.optional(),
  user_email: text.optional(),
  team: text.optional(),
  organization_ids: text.optional(),
  page,
  page_size: pageSize(25),
  sort_by: text.optional(),
  sort_order: text.default('asc'),
});
export type UserListQuery = z.output<typeof userListQuery>;
export const userFilterQuery = z.object({
  user_id: text.optional(),
  user_email: text.optional(),
  page,
  page_size: pageSize(50),
});

export const userRow = z.looseObject({
  user_id: z.string(),
  user_email: z.string().nullable(),
  user_alias: z.string().nullable(),
  user_role: z.string().nullable(),
  sso_user_id: z.string().nullable(),
  organization_id: z.string().nullable(),
  spend: z.number().describe('Dollars, of personal keys.'),
  ...shownMoney,
  models: list,
  teams: list.describe('Ids.'),
  allowed_cache_controls: list,
  policies: list,
  object_permission: json,
  metadata: object,
  blocked: z.boolean(),
  created_at: time,
  updated_at: time,
});
export const newUser = userRow.extend({
  key: z.string().nullable().describe('The key itself, shown here and never again; null with `auto_create_key` false.'),
  token: z.string().nullable(),
});
export const userInfo = z.object({
  user_id: z.string().nullable(),
  user_info: userRow.nullable(),
  keys: z.array(object),
  teams: z.array(object),
});
export const updatedUser = z.object({ user_id: z.string(), data: userRow });
export const bulkUpdatedUsers = z.object({
  results: z.array(
    z.object({
      user_id: z.string().nullable(),
      user_email: z.string().nullable(),
      success: z.boolean(),
      error: z.string().nullable(),
      updated_user: userRow.nullable(),
    }),
  ),
  total_requested: z.int(),
  successful_updates: z.int(),
  failed_updates: z.int(),
});
export const userPage = z.object({
  users: z.array(userRow.extend({ key_count: z.int() })),
  total: z.int(),
  page: z.int(),
  page_size: z.int(),
  total_pages: z.int(),
});
export const availableRoles = z.record(z.string(), z.object({ description: z.string(), ui_label: z.string() }));
export const availableUsers = z.object({
  total_users: z.int().nullable(),
  total_users_used: z.int(),
  total_users_remaining: z.int().nullable(),
  total_teams: z.int().nullable(),
  total_teams_used: z.int(),
  total_teams_remaining: z.int().nullable(),
});
