import type { RequestedMember } from '../../contract/schemas/team.ts';
import type { ConfigSource } from '../../domain/config-source.ts';
import { objectOf, textsOf } from '../../domain/json-fields.ts';
import type { Team } from '../../domain/team.ts';
import type { Tx } from '../../storage/db.ts';
import type { Caller } from '../auth/caller.ts';
import type { MemberLimits } from './members.ts';
import { mayChangeTeam } from './rights.ts';

/** Teams that everybody may join: `litellm_settings.default_internal_user_params.available_teams`. */
export function availableTeamIds({ litellmSettings }: ConfigSource): readonly string[] {
  return textsOf(objectOf(litellmSettings.default_internal_user_params)?.available_teams);
}

/** Throws 403 unless the caller may put these into the team: its admins may, and everybody themselves into an available one. */
export async function mayAddMembers(
  tx: Tx,
  caller: Caller,
  team: Team,
  requested: readonly RequestedMember[],
  limits: MemberLimits,
  config: ConfigSource,
): Promise<void> {
  const [only] = requested;
  const isJoining =
    requested.length === 1 &&
    caller.userId !== null &&
    only?.user_id === caller.userId &&
    only.role === 'user' &&
    (limits.max_budget_in_team ?? null) === null &&
    !limits.budget_id &&
    availableTeamIds(config).includes(team.team_id);
  if (!isJoining) await mayChangeTeam(tx, caller, team);
}
