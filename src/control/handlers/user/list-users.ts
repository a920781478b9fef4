import { filterUsersRoute, listUsersRoute } from '../../../contract/routes/users.ts';
import type { UserListQuery } from '../../../contract/schemas/user.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { Tx } from '../../../storage/db.ts';
import { listUsers, USER_SORT_COLUMNS } from '../../../storage/queries/list-users.ts';
import { keyCountsOfUsers } from '../../../storage/queries/owned-keys.ts';
import { membershipsOfUsers } from '../../../storage/repositories/team-members.ts';
import { checkedChoice, isDescending } from '../../accounts/checked-choice.ts';
import { presentUser } from '../../accounts/present-objects.ts';
import { organizationsOf } from '../../accounts/rights.ts';
import { type Caller, seesEverything } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';

/** Memberships of all users of one page that the answer names. */
const MEMBERSHIPS_SHOWN_MAX = 10_000;

export const listUsersEndpoint = endpoint(listUsersRoute, async ({ query, caller }, { staleReads, tail }) => {
  const { page, page_size } = query;
  const sort = {
    sortBy: checkedChoice('sort_by', query.sort_by ?? 'created_at', USER_SORT_COLUMNS),
    // Without a column to sort by: newest first.
    descending: isDescending(query.sort_order) || query.sort_by === undefined,
  };
  return {
    json: await staleReads.read(async (tx) => {
      const { rows, total } = await listUsers(tx, {
        role: query.role,
        userIds: listed(query.user_ids),
        ssoUserIds: listed(query.sso_user_ids),
        email: query.user_email,
        teamId: query.team,
        organizationIds: await organizationsShown(tx, caller, query),
        ...sort,
        limit: page_size,
        offset: (page - 1) * page_size,
      });
      const ids = rows.map(({ object }) => object.user_id);
      const counts = await keyCountsOfUsers(tx, ids);
      const memberships = await membershipsOfUsers(tx, ids, MEMBERSHIPS_SHOWN_MAX);
      const teamsOf = (id: string) =>
        memberships.filter(({ object }) => object.user_id === id).map(({ object }) => object.team_id);
      return {
        users: rows.map((row) => ({
          ...presentUser(row, teamsOf(row.object.user_id)),
          key_count: counts.get(row.object.user_id) ?? 0,
        })),
        total,
        page,
        page_size,
        total_pages: Math.ceil(total / page_size),
      };
    }, tail.position?.rev),
  };
});

export const filterUsersEndpoint = endpoint(filterUsersRoute, async ({ query, caller }, { staleReads, tail }) => {
  const { page, page_size, user_id, user_email } = query;
  return {
    json: await staleReads.read(async (tx) => {
      const { rows } = await listUsers(tx, {
        userIds: user_id === undefined ? undefined : [user_id],
        email: user_email,
        organizationIds: await organizationsShown(tx, caller, {}),
        sortBy: 'created_at',
        descending: true,
        limit: page_size,
        offset: (page - 1) * page_size,
      });
      return rows.map(({ object: { user_id, user_email, user_alias } }) => ({ user_id, user_email, user_alias }));
    }, tail.position?.rev),
  };
});

/** Undefined: all users. An organization admin sees the users of its organizations, and others none. */
async function organizationsShown(
  tx: Tx,
  caller: Caller,
  query: Pick<UserListQuery, 'organization_ids'>,
): Promise<readonly string[] | undefined> {
  const wanted = listed(query.organization_ids);
  if (seesEverything(caller)) return wanted;
  const own = await organizationsOf(tx, caller, { onlyAdministered: true });
  const isOthers = wanted?.some((id) => !own.includes(id)) ?? false;
  if (own.length === 0 || isOthers) throw new ClavigerError('not_your_object', { action: 'list these users' });
  return wanted ?? own;
}

function listed(text: string | undefined): readonly string[] | undefined {
  const names = text?.split(',').map((name) => name.trim()) ?? [];
  const given = names.filter((name) => name !== '');
  return given.length === 0 ? undefined : given;
}
