import { newTeamRoute } from '../../../contract/routes/teams.ts';
import type { NewTeamBody, RequestedMember } from '../../../contract/schemas/team.ts';
import type { ConfigSource } from '../../../domain/config-source.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import { objectOf } from '../../../domain/json-fields.ts';
import { createObject } from '../../accounts/change-object.ts';
import { addMembers, membersOf } from '../../accounts/members.ts';
import { presentTeam } from '../../accounts/present-objects.ts';
import { isOrganizationAdmin } from '../../accounts/rights.ts';
import { checkWithinOrganization, newTeamObject, withMemberBudget } from '../../accounts/team-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { type Caller, isProxyAdmin } from '../../auth/caller.ts';
import { endpoint } from '../handler.ts';
import { spendFrom } from '../key/store-key.ts';

export const newTeamEndpoint = endpoint(newTeamRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const config = context.config();
  const fields = withDefaults(body, config);
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    const made = newTeamObject(fields.team_id, fields, moment);
    if (!isProxyAdmin(caller) && !(await isOrganizationAdmin(write.tx, caller, made.organization_id))) {
      throw new ClavigerError('forbidden', {
        reason:
          'Only a proxy admin can make teams, and an organization admin in its organization (pass organization_id).',
      });
    }
    await checkWithinOrganization(write, made);
    const team = await withMemberBudget(write, made, fields, moment);
    const stored = await createObject(write, 'team', team, spendFrom(fields.spend ?? 0));
    const members = firstMembers(fields, caller, config);
    if (members.length > 0) await addMembers(write, stored.object, members, {}, moment);
    return presentTeam(stored, await membersOf(write, team.team_id));
  });
  return { json: value, rev };
});

/** `litellm_settings.default_team_params` fills in what the request leaves out. */
function withDefaults(body: NewTeamBody, { litellmSettings }: ConfigSource): NewTeamBody {
  const filled: Record<string, unknown> = { ...body };
  for (const [name, value] of Object.entries(objectOf(litellmSettings.default_team_params) ?? {})) {
    if (DEFAULTED.has(name) && (filled[name] === undefined || filled[name] === null)) filled[name] = value;
  }
  return filled as NewTeamBody;
}

const DEFAULTED: ReadonlySet<string> = new Set([
  'models',
  'max_budget',
  'budget_duration',
  'tpm_limit',
  'rpm_limit',
  'max_parallel_requests',
  'team_member_permissions',
  'organization_id',
]);

/** Whoever is named, each once, and the caller as admin; for the master key that is the user `default_user_id`, as in LiteLLM. */
function firstMembers(body: NewTeamBody, caller: Caller, { generalSettings }: ConfigSource): RequestedMember[] {
  const members = new Map<string, RequestedMember>();
  const add = (member: RequestedMember) => {
    const name = member.user_id ? `id ${member.user_id}` : `email ${(member.user_email ?? '').toLowerCase()}`;
    if (!members.has(name)) members.set(name, member);
  };
  for (const member of body.members_with_roles ?? []) add(member);
  for (const user_id of body.admins ?? []) add({ role: 'admin', user_id });
  for (const user_id of body.members ?? []) add({ role: 'user', user_id });
  const isLeftOut = isProxyAdmin(caller) && generalSettings.disable_auto_add_proxy_admin_to_teams === true;
  if (caller.userId !== null && !isLeftOut) add({ role: 'admin', user_id: caller.userId });
  return [...members.values()];
}
