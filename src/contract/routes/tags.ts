import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import {
  deleteTagBody,
  newTagBody,
  tagAnswer,
  tagDeleted,
  tagInfoBody,
  tagRows,
  tagsByName,
  updateTagBody,
} from '../schemas/tag.ts';

const none = z.object({});
const tag = 'tag management';

export const newTagRoute = defineRoute({
  method: 'POST',
  path: '/tag/new',
  operationId: 'new_tag',
  tag,
  summary: 'Add a tag',
  description: 'With `budget_id`, or with budget fields, from which a budget object is made.',
  access: 'proxy admin',
  query: none,
  body: newTagBody,
  response: tagAnswer,
  errors: { 400: 'The name is taken, or a value is not allowed.' },
});

export const updateTagRoute = defineRoute({
  method: 'POST',
  path: '/tag/update',
  operationId: 'update_tag',
  tag,
  summary: 'Change a tag',
  description: 'Budget fields change its budget object, or make one.',
  access: 'proxy admin',
  query: none,
  body: updateTagBody,
  response: tagAnswer,
  errors: { 400: 'A value is not allowed.', 404: 'There is no such tag.' },
});

export const deleteTagRoute = defineRoute({
  method: 'POST',
  path: '/tag/delete',
  operationId: 'delete_tag',
  tag,
  summary: 'Delete a tag',
  description: 'Its budget object stays.',
  access: 'proxy admin',
  query: none,
  body: deleteTagBody,
  response: tagDeleted,
  errors: { 404: 'There is no such tag.' },
});

export const tagInfoRoute = defineRoute({
  method: 'POST',
  path: '/tag/info',
  operationId: 'tag_info',
  tag,
  summary: 'Show tags',
  description: 'By name.',
  access: 'proxy admin',
  query: none,
  body: tagInfoBody,
  response: tagsByName,
  errors: { 404: 'One of them does not exist.' },
});

export const listTagsRoute = defineRoute({
  method: 'GET',
  path: '/tag/list',
  operationId: 'list_tags',
  tag,
  summary: 'List tags',
  description: 'Up to 1,000, newest first; `x-claviger-truncated: true` says that there are more.',
  access: 'proxy admin',
  query: none,
  body: null,
  response: tagRows,
  errors: {},
});
