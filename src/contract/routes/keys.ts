import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import { keyInfoQuery, keyListQuery } from '../schemas/key-query.ts';
import { blockKeyBody, deleteKeyBody, generateKeyBody, updateKeyBody } from '../schemas/key-request.ts';
import { deletedKeys, generatedKey, keyInfo, keyPage, keyRow, updatedKey } from '../schemas/key-response.ts';

const none = z.object({});
const tag = 'key management';

export const generateKey = defineRoute({
  method: 'POST',
  path: '/key/generate',
  operationId: 'generate_key',
  tag,
  summary: 'Make a virtual key',
  description:
    'The answer is the only place where the key itself is shown; the database keeps its hash. Users make keys for themselves, ' +
    'admins of a team for its members.',
  access: 'any key',
  query: none,
  body: generateKeyBody,
  response: generatedKey,
  errors: {
    400: 'A value is not allowed: alias taken, bound exceeded, duration not understood.',
    403: 'For somebody else, or with models that the team may not use.',
  },
});

export const updateKey = defineRoute({
  method: 'POST',
  path: '/key/update',
  operationId: 'update_key',
  tag,
  summary: 'Change a virtual key',
  description:
    'A field that is left out stays as it is. Null clears a limit; `duration` null or "-1" means that the key never expires.',
  access: 'any key',
  query: none,
  body: updateKeyBody,
  response: updatedKey,
  errors: {
    400: 'A value is not allowed.',
    403: 'It does not fit the team, or only an admin may change this.',
    404: 'There is no such key.',
  },
});

export const deleteKey = defineRoute({
  method: 'POST',
  path: '/key/delete',
  operationId: 'delete_key',
  tag,
  summary: 'Delete virtual keys',
  description: 'By `keys` (keys or hashes) or by `key_aliases`, one of the two.',
  access: 'any key',
  query: none,
  body: deleteKeyBody,
  response: deletedKeys,
  errors: { 400: 'Too many keys at once.', 404: 'None of the keys exists.' },
});

export const blockKey = defineRoute({
  method: 'POST',
  path: '/key/block',
  operationId: 'block_key',
  tag,
  summary: 'Block a virtual key',
  description: 'It is refused until it is unblocked.',
  access: 'any key',
  query: none,
  body: blockKeyBody,
  response: keyRow,
  errors: { 400: 'Neither a key nor a hash.', 404: 'There is no such key.' },
});

export const unblockKey = defineRoute({
  method: 'POST',
  path: '/key/unblock',
  operationId: 'unblock_key',
  tag,
  summary: 'Unblock a virtual key',
  description: 'The reverse of `/key/block`.',
  access: 'any key',
  query: none,
  body: blockKeyBody,
  response: keyRow,
  errors: { 400: 'Neither a key nor a hash.', 404: 'There is no such key.' },
});

export const keyInfoRoute = defineRoute({
  method: 'GET',
  path: '/key/info',
  operationId: 'info_key',
  tag,
  summary: 'Show a virtual key',
  description:
    'Without `key`: the key that makes the call. A key that is not an admin sees itself and the keys of its user.',
  access: 'any key',
  query: keyInfoQuery,
  body: null,
  response: keyInfo,
  errors: { 403: 'It belongs to somebody else.', 404: 'There is no such key.' },
});

export const listKeysRoute = defineRoute({
  method: 'GET',
  path: '/key/list',
  operationId: 'list_keys',
  tag,
  summary: 'List virtual keys',
  description: 'Hashes, or whole objects with `return_full_object`.',
  access: 'any key',
  query: keyListQuery,
  body: null,
  response: keyPage,
  errors: { 400: 'Unknown sort order or status.', 403: 'A filter names somebody else.' },
});
