import { filterTeamsRoute, listTeamsRoute, pageTeamsRoute } from '../../../contract/routes/teams.ts';
import type { TeamPageQuery } from '../../../contract/schemas/team.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { Tx } from '../../../storage/db.ts';
import {
  listTeams,
  TEAM_SORT_COLUMNS,
  type TeamListFilter,
  type TeamScope,
} from '../../../storage/queries/list-teams.ts';
import { keysOfOwners } from '../../../storage/queries/owned-keys.ts';
import { membersOfTeams } from '../../../storage/repositories/team-members.ts';
import { deletedTeams } from '../../../storage/repositories/teams.ts';
import { checkedChoice, isDescending } from '../../accounts/checked-choice.ts';
import { TEAM_MEMBERS_MAX } from '../../accounts/members.ts';
import { budgetsOf, presentDeletedTeam, presentMember, presentTeam } from '../../accounts/present-objects.ts';
import { organizationsOf } from '../../accounts/rights.ts';
import { type Caller, seesEverything } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';
import { presentKey } from '../key/present-key.ts';
import { KEYS_SHOWN_MAX } from '../user/user-info.ts';

/** `/team/list` has no pages. `x-claviger-truncated: true` says that there are more; `/v2/team/list` has them all. */
export const TEAMS_LISTED_MAX = 1_000;
/** Members of all teams of one answer. */
const MEMBERS_SHOWN_MAX = 2 * TEAM_MEMBERS_MAX;
/** What LiteLLM's clients send for teams without an organization. */
const NO_ORGANIZATION = 'default_organization';

export const listTeamsEndpoint = endpoint(listTeamsRoute, async ({ query, caller }, { staleReads, tail }) => {
  const { user_id, organization_id } = query;
  refuseOthers(caller, user_id);
  return staleReads.read(async (tx) => {
    const { rows, total } = await listTeams(tx, {
      userId: user_id,
      organizationId: organization_id === NO_ORGANIZATION ? null : organization_id,
      scope: await scopeOf(tx, caller),
      sortBy: 'created_at',
      descending: true,
      limit: TEAMS_LISTED_MAX,
      offset: 0,
    });
    const teamIds = rows.map(({ object }) => object.team_id);
    const members = await membersOfTeams(tx, teamIds, MEMBERS_SHOWN_MAX);
    const known = await budgetsOf(tx, members);
    const keys = await keysOfOwners(tx, { teamIds }, KEYS_SHOWN_MAX);
    const json = rows.map((team) => ({
      ...presentTeam(team, members),
      team_memberships: members
        .filter(({ object }) => object.team_id === team.object.team_id)
        .map((member) => presentMember(member, known)),
      keys: keys
        .filter(({ key }) => key.team_id === team.object.team_id)
        .map(({ key, spendNano }) => presentKey(key, spendNano)),
    }));
    return { json, headers: total > rows.length ? { 'x-claviger-truncated': 'true' } : {} };
  }, tail.position?.rev);
});

export const pageTeamsEndpoint = endpoint(pageTeamsRoute, async ({ query, caller }, { staleReads, tail }) => {
  const { page, page_size } = query;
  refuseOthers(caller, query.user_id);
  const isDeleted = query.status !== undefined && checkedChoice('status', query.status, ['deleted']) === 'deleted';
  if (isDeleted && !seesEverything(caller)) throw others();
  const sort = sortOf(query);
  return {
    json: await staleReads.read(async (tx) => {
      const slice = { limit: page_size, offset: (page - 1) * page_size };
      const { teams, total } = isDeleted
        ? await deletedPage(tx, query, slice)
        : await livePage(tx, { ...filterOf(query), ...sort, scope: await scopeOf(tx, caller), ...slice });
      return { teams, total, page, page_size, total_pages: Math.ceil(total / page_size) };
    }, tail.position?.rev),
  };
});

export const filterTeamsEndpoint = endpoint(filterTeamsRoute, async ({ query }, { staleReads, tail }) => {
  const { page, page_size, team_id, team_alias } = query;
  return {
    json: await staleReads.read(async (tx) => {
      const { rows } = await listTeams(tx, {
        search: team_id,
        alias: team_alias,
        scope: null,
        sortBy: 'created_at',
        descending: true,
        limit: page_size,
        offset: (page - 1) * page_size,
      });
      return rows.map(({ object: { team_id, team_alias } }) => ({ team_id, team_alias }));
    }, tail.position?.rev),
  };
});

async function livePage(tx: Tx, filter: TeamListFilter) {
  const { rows, total } = await listTeams(tx, filter);
  const ids = rows.map(({ object }) => object.team_id);
  const members = await membersOfTeams(tx, ids, MEMBERS_SHOWN_MAX);
  return { teams: rows.map((team) => presentTeam(team, members)), total };
}

async function deletedPage(tx: Tx, { organization_id }: TeamPageQuery, slice: { limit: number; offset: number }) {
  const { rows, total } = await deletedTeams(tx, { ...slice, organizationId: organization_id ?? null });
  return { teams: rows.map(presentDeletedTeam), total };
}

function filterOf({ user_id, organization_id, team_id, team_alias, search }: TeamPageQuery) {
  return {
    userId: user_id,
    organizationId: organization_id === NO_ORGANIZATION ? null : organization_id,
    teamId: team_id,
    alias: team_alias,
    search,
  };
}

/** Without a column to sort by: newest first. */
function sortOf({ sort_by, sort_order }: TeamPageQuery): Pick<TeamListFilter, 'sortBy' | 'descending'> {
  const descending = isDescending(sort_order);
  if (sort_by === undefined) return { sortBy: 'created_at', descending: true };
  return { sortBy: checkedChoice('sort_by', sort_by, TEAM_SORT_COLUMNS), descending };
}

async function scopeOf(tx: Tx, caller: Caller): Promise<TeamScope | null> {
  if (seesEverything(caller)) return null;
  return {
    userId: caller.userId,
    organizationIds: await organizationsOf(tx, caller, { onlyAdministered: true }),
    teamId: caller.kind === 'key' ? caller.stored.key.team_id : null,
  };
}

/** Asking for somebody else's teams is refused rather than answered with nothing; with 401, as in LiteLLM. */
function refuseOthers(caller: Caller, userId: string | undefined): void {
  if (userId !== undefined && !seesEverything(caller) && userId !== caller.userId) throw others();
}

function others(): ClavigerError {
  return new ClavigerError('not_your_object', { action: 'list these teams' }, { status: 401 });
}
