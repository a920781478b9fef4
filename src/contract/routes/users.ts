import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import { object } from '../schemas/account-fields.ts';
import {
  availableRoles,
  availableUsers,
  bulkUpdatedUsers,
  bulkUpdateUsersBody,
  deleteUsersBody,
  newUser,
  newUserBody,
  updatedUser,
  updateUserBody,
  userFilterQuery,
  userInfo,
  userInfoQuery,
  userListQuery,
  userPage,
  userRow,
} from '../schemas/user.ts';

const none = z.object({});
const tag = 'user management';

export const newUserRoute = defineRoute({
  method: 'POST',
  path: '/user/new',
  operationId: 'new_user',
  tag,
  summary: 'Add a user',
  description:
    'With a key of its own, unless `auto_create_key` is false. An organization admin adds users to its organizations.',
  access: 'any key',
  query: none,
  body: newUserBody,
  response: newUser,
  errors: {
    400: 'A value is not allowed, or the address is taken.',
    403: 'The caller may not.',
    409: 'The id is taken.',
  },
});

export const updateUserRoute = defineRoute({
  method: 'POST',
  path: '/user/update',
  operationId: 'update_user',
  tag,
  summary: 'Change a user',
  description:
    'By `user_id` or `user_email`; an address that nobody has makes a user. Everybody may change their own alias, address and password.',
  access: 'any key',
  query: none,
  body: updateUserBody,
  response: updatedUser,
  errors: { 400: 'A value is not allowed.', 403: 'The caller may not.', 404: 'There is no such user.' },
});

export const bulkUpdateUsersRoute = defineRoute({
  method: 'POST',
  path: '/user/bulk_update',
  operationId: 'bulk_update_users',
  tag,
  summary: 'Change many users',
  description: 'Each in a transaction of its own; the answer says of each how it went.',
  access: 'proxy admin',
  query: none,
  body: bulkUpdateUsersBody,
  response: bulkUpdatedUsers,
  errors: { 400: 'Neither users nor all_users, or too many.' },
});

export const deleteUsersRoute = defineRoute({
  method: 'POST',
  path: '/user/delete',
  operationId: 'delete_users',
  tag,
  summary: 'Delete users',
  description: 'With their keys and memberships, in one transaction.',
  access: 'proxy admin',
  query: none,
  body: deleteUsersBody,
  response: z.int().describe('How many were deleted.'),
  errors: { 404: 'One of them does not exist; none is deleted.', 409: 'They have too many keys for one transaction.' },
});

export const userInfoRoute = defineRoute({
  method: 'GET',
  path: '/user/info',
  operationId: 'user_info',
  tag,
  summary: 'Show a user with keys and teams',
  description:
    'Without `user_id`: the caller; an admin gets its own record and all keys and teams, newest first, up to 1,000.',
  access: 'any key',
  query: userInfoQuery,
  body: null,
  response: userInfo,
  errors: { 403: 'Somebody else.', 404: 'There is no such user.' },
});

export const userInfoV2Route = defineRoute({
  method: 'GET',
  path: '/v2/user/info',
  operationId: 'user_info_v2',
  tag,
  summary: 'Show a user',
  description: 'The record alone.',
  access: 'any key',
  query: userInfoQuery,
  body: null,
  response: userRow,
  errors: { 403: 'Somebody else.', 404: 'There is no such user.' },
});

export const listUsersRoute = defineRoute({
  method: 'GET',
  path: '/user/list',
  operationId: 'list_users',
  tag,
  summary: 'List users',
  description:
    'For admins, and for organization admins over their organizations. Several ids in a filter are separated by commas.',
  access: 'any key',
  query: userListQuery,
  body: null,
  response: userPage,
  errors: { 400: 'Unknown sort order.', 403: 'The caller may not.' },
});

export const filterUsersRoute = defineRoute({
  method: 'GET',
  path: '/user/filter/ui',
  operationId: 'filter_users',
  tag,
  summary: 'Look up users by a part of id or address',
  description: 'Id, address and alias only.',
  access: 'any key',
  query: userFilterQuery,
  body: null,
  response: z.array(object),
  errors: { 403: 'The caller may not.' },
});

export const availableRolesRoute = defineRoute({
  method: 'GET',
  path: '/user/available_roles',
  operationId: 'available_roles',
  tag,
  summary: 'Show the roles that users may have',
  description: 'With a sentence about each.',
  access: 'any key',
  query: none,
  body: null,
  response: availableRoles,
  errors: {},
});

export const availableUsersRoute = defineRoute({
  method: 'GET',
  path: '/user/available_users',
  operationId: 'available_users',
  tag,
  summary: 'Count users and teams',
  description: 'There is no limit on either, so what remains is null.',
  access: 'proxy admin',
  query: none,
  body: null,
  response: availableUsers,
  errors: {},
});
