import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import { object } from '../schemas/account-fields.ts';
import {
  addedOrganizationMembers,
  addOrganizationMemberBody,
  deleteOrganizationMemberBody,
  newOrganizationBody,
  organizationIdsBody,
  organizationInfo,
  organizationInfoBody,
  organizationInfoQuery,
  organizationListQuery,
  organizationMemberRow,
  organizationRow,
  organizationRows,
  updateOrganizationBody,
  updateOrganizationMemberBody,
  wholeOrganization,
} from '../schemas/organization.ts';

const none = z.object({});
const tag = 'organization management';
const writeErrors = {
  400: 'A value is not allowed.',
  403: 'The caller may not.',
  404: 'There is no such organization.',
};

export const newOrganizationRoute = defineRoute({
  method: 'POST',
  path: '/organization/new',
  operationId: 'new_organization',
  tag,
  summary: 'Add an organization',
  description: 'With `budget_id`, or with a budget object of its own that is made from the budget fields.',
  access: 'proxy admin',
  query: none,
  body: newOrganizationBody,
  response: organizationRow,
  errors: { 400: 'A value is not allowed, the id is taken, or the budget does not exist.' },
});

export const updateOrganizationRoute = defineRoute({
  method: 'PATCH',
  path: '/organization/update',
  operationId: 'update_organization',
  tag,
  summary: 'Change an organization',
  description: 'Budget fields change its budget object. An organization admin may change the alias.',
  access: 'any key',
  query: none,
  body: updateOrganizationBody,
  response: wholeOrganization,
  errors: writeErrors,
});

export const deleteOrganizationsRoute = defineRoute({
  method: 'DELETE',
  path: '/organization/delete',
  operationId: 'delete_organizations',
  tag,
  summary: 'Delete organizations',
  description: 'With their teams, keys and memberships, in one transaction.',
  access: 'proxy admin',
  query: none,
  body: organizationIdsBody,
  response: organizationRows,
  errors: { 404: 'One of them does not exist; none is deleted.', 409: 'Too many keys for one transaction.' },
});

export const listOrganizationsRoute = defineRoute({
  method: 'GET',
  path: '/organization/list',
  operationId: 'list_organizations',
  tag,
  summary: 'List organizations',
  description:
    'Up to 1,000, newest first; `x-claviger-truncated: true` says that there are more. Callers that are not admins see their own.',
  access: 'any key',
  query: organizationListQuery,
  body: null,
  response: organizationRows,
  errors: {},
});

export const organizationInfoRoute = defineRoute({
  method: 'GET',
  path: '/organization/info',
  operationId: 'organization_info',
  tag,
  summary: 'Show an organization',
  description: 'With members, teams, users and budget.',
  access: 'any key',
  query: organizationInfoQuery,
  body: null,
  response: organizationInfo,
  errors: { 403: 'The caller does not belong to it.', 404: 'There is no such organization.' },
});

export const organizationInfosRoute = defineRoute({
  method: 'POST',
  path: '/organization/info',
  operationId: 'organization_infos',
  tag,
  summary: 'Show several organizations',
  description: 'Deprecated in LiteLLM. Those that exist.',
  access: 'proxy admin',
  query: none,
  body: organizationInfoBody,
  response: z.array(organizationInfo),
  errors: { 400: 'None was named.' },
});

export const addOrganizationMemberRoute = defineRoute({
  method: 'POST',
  path: '/organization/member_add',
  operationId: 'add_organization_member',
  tag,
  summary: 'Add members to an organization',
  description: 'By id or address. A user that does not exist is made.',
  access: 'any key',
  query: none,
  body: addOrganizationMemberBody,
  response: addedOrganizationMembers,
  errors: writeErrors,
});

export const updateOrganizationMemberRoute = defineRoute({
  method: 'PATCH',
  path: '/organization/member_update',
  operationId: 'update_organization_member',
  tag,
  summary: 'Change a member of an organization',
  description: 'By `user_id` or `user_email`.',
  access: 'any key',
  query: none,
  body: updateOrganizationMemberBody,
  response: organizationMemberRow,
  errors: writeErrors,
});

export const deleteOrganizationMemberRoute = defineRoute({
  method: 'DELETE',
  path: '/organization/member_delete',
  operationId: 'delete_organization_member',
  tag,
  summary: 'Take a member out of an organization',
  description: 'The user, its keys and its teams stay.',
  access: 'any key',
  query: none,
  body: deleteOrganizationMemberBody,
  response: object,
  errors: writeErrors,
});
