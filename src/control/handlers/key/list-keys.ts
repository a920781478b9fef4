import { listKeysRoute } from '../../../contract/routes/keys.ts';
import type { KeyListQuery } from '../../../contract/schemas/key-query.ts';
import { ClavigerError, listText } from '../../../domain/error-catalogue.ts';
import { KEY_SORT_COLUMNS, type KeyListFilter, listKeys } from '../../../storage/queries/list-keys.ts';
import { administeredTeams } from '../../accounts/rights.ts';
import { type Caller, seesEverything } from '../../auth/caller.ts';
import { tokenOfArgument } from '../../auth/key-token.ts';
import { endpoint } from '../handler.ts';
import { presentListedKey } from './present-key.ts';

export const listKeysEndpoint = endpoint(listKeysRoute, async ({ query, caller }, { staleReads, tail }) => {
  const { rows, total } = await staleReads.read(async (tx) => {
    const ownTeams = seesEverything(caller) ? [] : await administeredTeams(tx, caller);
    return listKeys(tx, filterFrom(query, caller, ownTeams));
  }, tail.position?.rev);
  const whole = query.return_full_object || query.expand.length > 0;
  return {
    json: {
      keys: rows.map((row) => (whole ? presentListedKey(row) : row.key.token)),
      total_count: total,
      current_page: query.page,
      total_pages: Math.ceil(total / query.size),
    },
  };
});

function filterFrom(query: KeyListQuery, caller: Caller, ownTeams: readonly string[]): KeyListFilter {
  const sortBy = oneOf('sort_by', query.sort_by, KEY_SORT_COLUMNS);
  const order = oneOf('sort_order', query.sort_order.toLowerCase(), ['asc', 'desc'] as const);
  const status = query.status === undefined ? undefined : oneOf('status', query.status, ['deleted'] as const);
  const expires =
    query.expires === undefined ? undefined : oneOf('expires', query.expires, ['expired', 'active'] as const);
  const admin = seesEverything(caller);
  if (!admin) refuseOthers(query, caller, ownTeams);
  const isOfTeam = query.include_team_keys || query.team_id !== undefined;
  return {
    deleted: status === 'deleted',
    userId: query.user_id,
    teamId: query.team_id,
    organizationId: query.organization_id,
    projectId: query.project_id,
    agentId: query.agent_id,
    accessGroupId: query.access_group_id,
    token: query.key_hash === undefined ? undefined : (tokenOfArgument(query.key_hash) ?? query.key_hash),
    keyAlias: query.key_alias,
    substring: query.substring_matching && admin,
    expires,
    scope: admin
      ? null
      : {
          token: caller.token,
          userId: caller.userId,
          includeCreatedBy: query.include_created_by_keys,
          teamIds: isOfTeam ? ownTeams : [],
        },
    sortBy,
    descending: order === 'desc',
    limit: query.size,
    offset: (query.page - 1) * query.size,
  };
}

/** Asking for somebody else's keys is refused rather than answered with nothing, as in LiteLLM. */
function refuseOthers(query: KeyListQuery, caller: Caller, ownTeams: readonly string[]): void {
  const own = caller.kind === 'key' ? caller.stored.key : null;
  const isOthers =
    (query.user_id !== undefined && query.user_id !== own?.user_id) ||
    (query.team_id !== undefined && query.team_id !== own?.team_id && !ownTeams.includes(query.team_id)) ||
    (query.organization_id !== undefined && query.organization_id !== own?.organization_id) ||
    (query.key_hash !== undefined && tokenOfArgument(query.key_hash) !== caller.token);
  if (isOthers) throw new ClavigerError('not_your_object', { action: 'list these keys' });
}

function oneOf<const T extends string>(field: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new ClavigerError('invalid_sort', { field, value, allowed: listText(allowed) }, { param: field });
}
