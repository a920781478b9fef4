import { deleteUsersRoute } from '../../../contract/routes/users.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { users } from '../../../storage/repositories/users.ts';
import { deleteKeysOf, deleteMembershipsOf, deletionBy } from '../../accounts/cascade.ts';
import { deleteObject } from '../../accounts/change-object.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const deleteUsersEndpoint = endpoint(deleteUsersRoute, async ({ body, caller, origin }, context) => {
  const userIds = [...new Set(body.user_ids)];
  const deletion = deletionBy(caller, origin, momentOf(context, caller));
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const found = await users.lock(write.tx, userIds);
    const known = new Set(found.map(({ object }) => object.user_id));
    const missing = userIds.find((id) => !known.has(id));
    if (missing !== undefined || found.length === 0) {
      throw new ClavigerError(
        'object_not_found',
        { what: `User with user_id=${missing ?? ''}` },
        { param: 'user_ids' },
      );
    }
    await deleteMembershipsOf(write, userIds);
    await deleteKeysOf(write, { userIds }, deletion);
    for (const user of found) await deleteObject(write, 'user', user);
    return found.length;
  });
  return { json: value, rev };
});
