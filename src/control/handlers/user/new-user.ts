import { newUserRoute } from '../../../contract/routes/users.ts';
import type { NewUserBody } from '../../../contract/schemas/user.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { InternalUser } from '../../../domain/internal-user.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import { insertKey } from '../../../storage/repositories/keys.ts';
import type { Moment } from '../../accounts/apply-object-fields.ts';
import { createObject, type Writing } from '../../accounts/change-object.ts';
import { addMembers } from '../../accounts/members.ts';
import { addToOrganization } from '../../accounts/organization-objects.ts';
import { presentUser } from '../../accounts/present-objects.ts';
import { isOrganizationAdmin, mayChangeTeam } from '../../accounts/rights.ts';
import { lockTeam } from '../../accounts/team-objects.ts';
import { newUserObject, setPassword, userDefaults } from '../../accounts/user-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { type Caller, isProxyAdmin, MASTER_USER_ID } from '../../auth/caller.ts';
import { sealSecrets } from '../../config/key-secrets.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint } from '../handler.ts';
import { newKey, rawKeyFor } from '../key/new-key.ts';
import { presentKey } from '../key/present-key.ts';
import { refusingTaken, spendFrom } from '../key/store-key.ts';

export const newUserEndpoint = endpoint(newUserRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const fields = userDefaults(body, context.config()) as NewUserBody;
  const { value, rev } = await writeObjects(context, origin, async (write) => {
    await mayMakeUser(write, caller, fields);
    await mayJoinTeams(write, caller, body);
    const user = newUserObject(fields.user_id, fields, moment);
    const stored = await createObject(write, 'user', user, spendFrom(fields.spend ?? 0));
    await setPassword(write, user.user_id, fields.password, context.randomBytes);
    const teamIds = await joinTeams(write, user, fields, moment);
    for (const id of fields.organizations ?? []) {
      await addToOrganization(write, id, [{ role: 'internal_user', user_id: user.user_id }], null, moment);
    }
    const shown = presentUser(stored, teamIds);
    if (!fields.auto_create_key) return { ...shown, key: null, token: null };
    return { ...(await makeKey(write, user, fields, moment, context)), ...shown };
  });
  return { json: value, rev };
});

/** An admin makes any user, an organization admin users without an admin role in its organizations. */
async function mayMakeUser(
  { tx }: Writing,
  caller: Caller,
  { organizations, user_id, user_role }: NewUserBody,
): Promise<void> {
  if (isProxyAdmin(caller)) return;
  // It stands for the master key, and is an admin of the teams that the master key makes.
  if (user_id === MASTER_USER_ID) {
    throw new ClavigerError('forbidden', { reason: `Only a proxy admin can make the user ${MASTER_USER_ID}.` });
  }
  if (user_role === 'proxy_admin' || user_role === 'proxy_admin_viewer') {
    throw new ClavigerError('forbidden', { reason: `Only a proxy admin can make a user with the role ${user_role}.` });
  }
  const named = organizations ?? [];
  const isAdminOfAll = (await Promise.all(named.map((id) => isOrganizationAdmin(tx, caller, id)))).every(Boolean);
  if (named.length > 0 && isAdminOfAll) return;
  throw new ClavigerError('forbidden', {
    reason: 'Only a proxy admin can make users, and an organization admin in its organizations (pass `organizations`).',
  });
}

/** Into a team that the request names, only somebody may put a user who may change that team. */
async function mayJoinTeams(write: Writing, caller: Caller, { teams }: NewUserBody): Promise<void> {
  for (const entry of teams ?? []) {
    const { object } = await lockTeam(write, typeof entry === 'string' ? entry : entry.team_id);
    await mayChangeTeam(write.tx, caller, object);
  }
}

async function joinTeams(
  write: Writing,
  user: InternalUser,
  { teams }: NewUserBody,
  moment: Moment,
): Promise<string[]> {
  const teamIds: string[] = [];
  for (const entry of teams ?? []) {
    const given = typeof entry === 'string' ? { team_id: entry } : entry;
    const { object: team } = await lockTeam(write, given.team_id);
    const member = { role: given.user_role ?? 'user', user_id: user.user_id } as const;
    await addMembers(write, team, [member], { max_budget_in_team: given.max_budget_in_team }, moment);
    teamIds.push(team.team_id);
  }
  return teamIds;
}

/** The personal key of a new user. Budget and limits are the user's and hold for it. */
async function makeKey(
  { tx, changed }: Writing,
  user: InternalUser,
  body: NewUserBody,
  { nowMs, resets, by }: Moment,
  { fleetKey, settings, randomBytes }: ControlContext,
): Promise<JsonObject> {
  const secret = fleetKey();
  if (secret === null) throw new ClavigerError('database_away');
  const rawKey = rawKeyFor(null, { fleetKey: secret, masterKey: settings.masterKey, randomBytes });
  const { key_alias, duration, aliases, config, permissions, models, allowed_cache_controls } = body;
  const fields = { key_alias, duration, aliases, config, permissions, models, allowed_cache_controls };
  const made = newKey(rawKey, { ...fields, user_id: user.user_id }, { nowMs, resets, createdBy: by });
  const key = sealSecrets(made, settings.sealingKey);
  await refusingTaken(key.key_alias, () => insertKey(tx, key, 0n));
  changed({ kind: 'key', objectId: key.token, objectRev: 1, op: 'created', before: null, after: key });
  return { ...presentKey(key, 0n), key: rawKey, token: key.token, token_id: key.token };
}
