import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import { object } from '../schemas/account-fields.ts';
import {
  addedMembers,
  addMemberBody,
  bulkAddedMembers,
  bulkAddMembersBody,
  bulkPermissions,
  bulkPermissionsBody,
  deleteMemberBody,
  listedTeams,
  memberPathQuery,
  memberRow,
  memberSpend,
  newTeamBody,
  patchTeamBody,
  patchTeamQuery,
  permissionsQuery,
  resetSpendBody,
  teamFilterQuery,
  teamIdBody,
  teamIdsBody,
  teamInfo,
  teamInfoQuery,
  teamListQuery,
  teamModelsBody,
  teamPage,
  teamPageQuery,
  teamPermissions,
  teamRow,
  teamRows,
  updatedMember,
  updatedTeam,
  updateMemberBody,
  updatePermissionsBody,
  updateTeamBody,
} from '../schemas/team.ts';

const none = z.object({});
const tag = 'team management';
const writeErrors = { 400: 'A value is not allowed.', 403: 'The caller may not.', 404: 'There is no such team.' };

export const newTeamRoute = defineRoute({
  method: 'POST',
  path: '/team/new',
  operationId: 'new_team',
  tag,
  summary: 'Add a team',
  description:
    'The caller becomes its admin, unless `general_settings.disable_auto_add_proxy_admin_to_teams` is set and it is a proxy admin.',
  access: 'any key',
  query: none,
  body: newTeamBody,
  response: teamRow,
  errors: {
    400: 'A value is not allowed, or the id is taken.',
    403: 'The caller may not, or limits exceed the organization.',
  },
});

export const updateTeamRoute = defineRoute({
  method: 'POST',
  path: '/team/update',
  operationId: 'update_team',
  tag,
  summary: 'Change a team',
  description: 'A field that is left out stays as it is. A team admin can not raise budget and limits of its own team.',
  access: 'any key',
  query: none,
  body: updateTeamBody,
  response: updatedTeam,
  errors: writeErrors,
});

export const patchTeamRoute = defineRoute({
  method: 'PATCH',
  path: '/team/{team_id}',
  operationId: 'patch_team',
  tag,
  summary: 'Change some fields of a team',
  description: 'A JSON merge patch: null removes, and `metadata` is merged instead of replaced.',
  access: 'any key',
  query: patchTeamQuery,
  body: patchTeamBody,
  response: teamRow,
  errors: writeErrors,
});

export const deleteTeamsRoute = defineRoute({
  method: 'POST',
  path: '/team/delete',
  operationId: 'delete_teams',
  tag,
  summary: 'Delete teams',
  description: 'With their keys and memberships, in one transaction.',
  access: 'any key',
  query: none,
  body: teamIdsBody,
  response: teamRows,
  errors: {
    403: 'The caller may not.',
    404: 'One of them does not exist; none is deleted.',
    409: 'Too many keys for one transaction.',
  },
});

export const blockTeamRoute = defineRoute({
  method: 'POST',
  path: '/team/block',
  operationId: 'block_team',
  tag,
  summary: 'Block a team',
  description: 'Its keys are refused until it is unblocked.',
  access: 'proxy admin',
  query: none,
  body: teamIdBody,
  response: teamRow,
  errors: { 404: 'There is no such team.' },
});

export const unblockTeamRoute = defineRoute({
  method: 'POST',
  path: '/team/unblock',
  operationId: 'unblock_team',
  tag,
  summary: 'Unblock a team',
  description: 'The reverse of `/team/block`.',
  access: 'proxy admin',
  query: none,
  body: teamIdBody,
  response: teamRow,
  errors: { 404: 'There is no such team.' },
});

export const teamInfoRoute = defineRoute({
  method: 'GET',
  path: '/team/info',
  operationId: 'team_info',
  tag,
  summary: 'Show a team with keys and members',
  description: 'For its members and for admins. At most `key_limit` keys, newest first.',
  access: 'any key',
  query: teamInfoQuery,
  body: null,
  response: teamInfo,
  errors: { 403: 'The caller is not in the team.', 404: 'There is no such team.' },
});

export const listTeamsRoute = defineRoute({
  method: 'GET',
  path: '/team/list',
  operationId: 'list_teams',
  tag,
  summary: 'List teams with members and keys',
  description:
    'Up to 1,000, newest first; `x-claviger-truncated: true` says that there are more. Callers that are not admins see their own.',
  access: 'any key',
  query: teamListQuery,
  body: null,
  response: listedTeams,
  errors: { 401: 'Somebody else.' },
});

export const pageTeamsRoute = defineRoute({
  method: 'GET',
  path: '/v2/team/list',
  operationId: 'list_teams_v2',
  tag,
  summary: 'List teams, page by page',
  description: 'With `status=deleted`: deleted teams, newest first.',
  access: 'any key',
  query: teamPageQuery,
  body: null,
  response: teamPage,
  errors: { 400: 'Unknown sort order or status.', 401: 'Somebody else.' },
});

export const filterTeamsRoute = defineRoute({
  method: 'GET',
  path: '/team/filter/ui',
  operationId: 'filter_teams',
  tag,
  summary: 'Look up teams by a part of id or alias',
  description: 'Id and alias only.',
  access: 'proxy admin',
  query: teamFilterQuery,
  body: null,
  response: z.array(object),
  errors: {},
});

export const availableTeamsRoute = defineRoute({
  method: 'GET',
  path: '/team/available',
  operationId: 'available_teams',
  tag,
  summary: 'Show the teams that everybody may join',
  description:
    'Those of `litellm_settings.default_internal_user_params.available_teams` in which the caller is not yet.',
  access: 'any key',
  query: none,
  body: null,
  response: teamRows,
  errors: {},
});

export const addMemberRoute = defineRoute({
  method: 'POST',
  path: '/team/member_add',
  operationId: 'add_team_member',
  tag,
  summary: 'Add members to a team',
  description: 'By id or address. A user that does not exist is made.',
  access: 'any key',
  query: none,
  body: addMemberBody,
  response: addedMembers,
  errors: { ...writeErrors, 400: 'Already a member, or a value is not allowed.' },
});

export const bulkAddMembersRoute = defineRoute({
  method: 'POST',
  path: '/team/bulk_member_add',
  operationId: 'bulk_add_team_members',
  tag,
  summary: 'Add many members to a team',
  description: 'Who is a member already is reported and left as it is.',
  access: 'any key',
  query: none,
  body: bulkAddMembersBody,
  response: bulkAddedMembers,
  errors: writeErrors,
});

export const updateMemberRoute = defineRoute({
  method: 'POST',
  path: '/team/member_update',
  operationId: 'update_team_member',
  tag,
  summary: 'Change role, budget or limits of a member',
  description: 'By `user_id` or `user_email`.',
  access: 'any key',
  query: none,
  body: updateMemberBody,
  response: updatedMember,
  errors: { ...writeErrors, 400: 'Not a member, or a value is not allowed.' },
});

export const deleteMemberRoute = defineRoute({
  method: 'POST',
  path: '/team/member_delete',
  operationId: 'delete_team_member',
  tag,
  summary: 'Take a member out of a team',
  description: "With the member's keys of this team.",
  access: 'any key',
  query: none,
  body: deleteMemberBody,
  response: teamRow,
  errors: { ...writeErrors, 400: 'Not a member.' },
});

export const resetMemberSpendRoute = defineRoute({
  method: 'POST',
  path: '/team/{team_id}/member/{user_id}/reset_spend',
  operationId: 'reset_team_member_spend',
  tag,
  summary: 'Set what a member has spent',
  description: 'To a value between zero and what it is now.',
  access: 'any key',
  query: memberPathQuery,
  body: resetSpendBody,
  response: memberSpend,
  errors: {
    400: 'Out of range.',
    403: 'The caller may not, or means itself.',
    404: 'There is no such team or member.',
  },
});

export const ownMembershipRoute = defineRoute({
  method: 'GET',
  path: '/team/{team_id}/members/me',
  operationId: 'own_team_membership',
  tag,
  summary: 'Show the own membership',
  description: 'Spend, budget and limits of the caller in this team.',
  access: 'any key',
  query: teamIdBody,
  body: null,
  response: memberRow,
  errors: { 404: 'The caller is not in this team.' },
});

export const addTeamModelsRoute = defineRoute({
  method: 'POST',
  path: '/team/model/add',
  operationId: 'add_team_models',
  tag,
  summary: 'Let a team use more models',
  description: 'Adds to `models`.',
  access: 'any key',
  query: none,
  body: teamModelsBody,
  response: teamRow,
  errors: writeErrors,
});

export const deleteTeamModelsRoute = defineRoute({
  method: 'POST',
  path: '/team/model/delete',
  operationId: 'delete_team_models',
  tag,
  summary: 'Take models from a team',
  description: 'Removes from `models`. The last one can not be removed, because an empty list means all.',
  access: 'any key',
  query: none,
  body: teamModelsBody,
  response: teamRow,
  errors: writeErrors,
});

export const teamPermissionsRoute = defineRoute({
  method: 'GET',
  path: '/team/permissions_list',
  operationId: 'list_team_permissions',
  tag,
  summary: 'Show what members may do with keys',
  description: 'For admins of the team.',
  access: 'any key',
  query: permissionsQuery,
  body: null,
  response: teamPermissions,
  errors: { 403: 'The caller may not.', 404: 'There is no such team.' },
});

export const updateTeamPermissionsRoute = defineRoute({
  method: 'POST',
  path: '/team/permissions_update',
  operationId: 'update_team_permissions',
  tag,
  summary: 'Set what members may do with keys',
  description: 'For admins of the team.',
  access: 'any key',
  query: none,
  body: updatePermissionsBody,
  response: teamRow,
  errors: writeErrors,
});

export const bulkTeamPermissionsRoute = defineRoute({
  method: 'POST',
  path: '/team/permissions_bulk_update',
  operationId: 'bulk_update_team_permissions',
  tag,
  summary: 'Set what members of many teams may do with keys',
  description: 'The teams that are named, or all, in one transaction.',
  access: 'proxy admin',
  query: none,
  body: bulkPermissionsBody,
  response: bulkPermissions,
  errors: {
    400: 'Neither team_ids nor apply_to_all_teams.',
    404: 'One of them does not exist.',
    409: 'Too many teams.',
  },
});
