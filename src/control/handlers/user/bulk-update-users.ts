import { bulkUpdateUsersRoute } from '../../../contract/routes/users.ts';
import { type UpdateUserBody, USERS_PER_UPDATE_MAX } from '../../../contract/schemas/user.ts';
import type { Revision } from '../../../domain/change.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import { allUserIds } from '../../../storage/queries/list-users.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint } from '../handler.ts';
import { updateUser } from './update-user.ts';

export const bulkUpdateUsersEndpoint = endpoint(bulkUpdateUsersRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const wanted = await wantedUpdates(body, context);
  const results: (JsonObject & { success: boolean })[] = [];
  let newest: Revision | undefined;
  for (const update of wanted) {
    const which = { user_id: update.user_id ?? null, user_email: update.user_email ?? null };
    try {
      const { value, rev } = await writeObjects(context, origin, (write) =>
        updateUser(write, update, caller, moment, context),
      );
      newest = rev ?? newest;
      results.push({ ...which, user_id: value.user_id!, success: true, error: null, updated_user: value });
    } catch (error) {
      // What is wrong with one says nothing about the others; a database that is away ends the whole.
      if (!(error instanceof ClavigerError) || error.status >= 500) throw error;
      results.push({ ...which, success: false, error: error.message, updated_user: null });
    }
  }
  const successful = results.filter(({ success }) => success).length;
  return {
    json: {
      results,
      total_requested: wanted.length,
      successful_updates: successful,
      failed_updates: wanted.length - successful,
    },
    rev: newest,
  };
});

async function wantedUpdates(
  {
    users,
    all_users,
    user_updates,
  }: {
    users?: UpdateUserBody[] | null | undefined;
    all_users?: boolean | null | undefined;
    user_updates?: UpdateUserBody | null | undefined;
  },
  { db }: ControlContext,
): Promise<UpdateUserBody[]> {
  if (all_users && user_updates) {
    const ids = await db.read((tx) => allUserIds(tx, USERS_PER_UPDATE_MAX + 1));
    if (ids.length > USERS_PER_UPDATE_MAX) {
      throw new ClavigerError('bad_request', {
        reason: `There are more than ${USERS_PER_UPDATE_MAX} users. Pass them as \`users\`, at most ${USERS_PER_UPDATE_MAX} at once.`,
      });
    }
    return ids.map((user_id) => ({ ...user_updates, user_id }));
  }
  if (users && users.length > 0) return users;
  throw new ClavigerError('bad_request', { reason: 'Pass `users`, or `all_users` together with `user_updates`.' });
}
