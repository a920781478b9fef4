/** Who may write which keys. An admin all; a user its own personal ones; in a team its admins, and members as far as the team permits it. */
import type { UpdateKeyBody } from '../../contract/schemas/key-request.ts';
import { memberId } from '../../domain/account.ts';
import type { ConfigSource } from '../../domain/config-source.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { maskKey } from '../../domain/generated-key.ts';
import { objectOf } from '../../domain/json-fields.ts';
import type { VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import { organizationMembers } from '../../storage/repositories/organizations.ts';
import { teamMembers } from '../../storage/repositories/team-members.ts';
import { teams } from '../../storage/repositories/teams.ts';
import { type Caller, isProxyAdmin } from '../auth/caller.ts';
import { roleInTeam } from './rights.ts';

export type KeyAction = 'generate' | 'update' | 'delete' | 'block' | 'unblock';

/** Throws 401 unless the caller may do this with the key. */
export async function mayWriteKey(tx: Tx, caller: Caller, key: VirtualKey, action: KeyAction): Promise<void> {
  if (isProxyAdmin(caller)) return;
  const isAllowed =
    key.team_id === null ? isOwnPersonal(caller, key, action) : await mayInTeam(tx, caller, key, key.team_id, action);
  if (!isAllowed) throw mayNot(caller, action);
}

/** What a write says of a key that does not exist: to others than admins the same as of a key of somebody else. */
export function unknownKey(caller: Caller, action: KeyAction, error: ClavigerError): ClavigerError {
  return isProxyAdmin(caller) ? error : mayNot(caller, action);
}

function mayNot(caller: Caller, action: KeyAction): ClavigerError {
  const userId = caller.userId === null ? 'None' : maskKey(caller.userId);
  const role = caller.kind === 'key' ? (caller.role ?? 'unknown') : 'unknown';
  return new ClavigerError('only_proxy_admin', { route: `/key/${action}`, role, userId });
}

/** A new key of somebody who is no admin. Throws 400 or 403 for what only an admin may give it. */
export async function checkNewKey(tx: Tx, caller: Caller, key: VirtualKey, config: ConfigSource): Promise<void> {
  if (isProxyAdmin(caller)) return;
  await mayWriteKey(tx, caller, { ...key, user_id: caller.userId }, 'generate');
  if (key.user_id !== caller.userId) await mayOwn(tx, caller, key);
  await mayNameOrganization(tx, caller, key.organization_id);
  await checkGenerationRoles(tx, caller, key, config);
}

/** A changed key of somebody who is no admin. Throws 403 for what only an admin may change. */
export async function checkChangedKey(
  tx: Tx,
  caller: Caller,
  before: VirtualKey,
  key: VirtualKey,
  body: UpdateKeyBody,
): Promise<void> {
  if (isProxyAdmin(caller)) return;
  await mayWriteKey(tx, caller, before, 'update');
  if (key.team_id !== before.team_id) await mayWriteKey(tx, caller, key, 'generate');
  if (key.user_id !== before.user_id) throw onlyAdmins('user_id');
  for (const name of ['spend', 'temp_budget_increase'] as const) {
    if (body[name] !== undefined && body[name] !== null) throw onlyAdmins(name);
  }
  if (key.blocked !== before.blocked) await mayWriteKey(tx, caller, before, key.blocked ? 'block' : 'unblock');
  if (key.organization_id !== before.organization_id) throw onlyAdmins('organization_id');
}

function isOwnPersonal(caller: Caller, key: VirtualKey, action: KeyAction): boolean {
  if (caller.kind !== 'key' || caller.userId === null || key.user_id !== caller.userId) return false;
  return caller.role === 'internal_user' && action !== 'block' && action !== 'unblock';
}

async function mayInTeam(tx: Tx, caller: Caller, key: VirtualKey, teamId: string, action: KeyAction): Promise<boolean> {
  const team = await teams.find(tx, teamId);
  if (team === null) return false;
  const role = await roleInTeam(tx, caller, team.object);
  if (role === 'team admin' || role === 'organization admin') return true;
  if (role !== 'member') return false;
  if (action === 'delete' && key.user_id !== null && key.user_id === caller.userId) return true;
  return team.object.team_member_permissions.includes(`/key/${action}`);
}

/** Somebody who is no admin makes keys for itself; an admin of a team also for others in it. */
async function mayOwn(tx: Tx, caller: Caller, key: VirtualKey): Promise<void> {
  const team = key.team_id === null ? null : await teams.find(tx, key.team_id);
  const role = team === null ? 'none' : await roleInTeam(tx, caller, team.object);
  if (team !== null && (role === 'team admin' || role === 'organization admin')) {
    if (key.user_id === null) return;
    if ((await teamMembers.find(tx, memberId(team.object.team_id, key.user_id))) !== null) return;
  }
  throw new ClavigerError(
    'forbidden',
    { reason: `You can make keys for yourself (user_id=${caller.userId}), not for user_id=${key.user_id}.` },
    { param: 'user_id' },
  );
}

async function mayNameOrganization(tx: Tx, caller: Caller, organizationId: string | null): Promise<void> {
  if (organizationId === null) return;
  const member =
    caller.userId === null ? null : await organizationMembers.find(tx, memberId(organizationId, caller.userId));
  if (member === null) throw onlyAdmins('organization_id');
}

/** `litellm_settings.key_generation_settings`: whose roles may make personal keys, or keys of a team. */
async function checkGenerationRoles(
  tx: Tx,
  caller: Caller,
  key: VirtualKey,
  { litellmSettings }: ConfigSource,
): Promise<void> {
  const settings = objectOf(litellmSettings.key_generation_settings) ?? {};
  const ofTeam = key.team_id !== null;
  const rules = objectOf(ofTeam ? settings.team_key_generation : settings.personal_key_generation);
  const allowed = ofTeam ? rules?.allowed_team_member_roles : rules?.allowed_user_roles;
  if (!Array.isArray(allowed)) return;
  const role = await roleFor(tx, caller, key.team_id);
  if (role !== null && allowed.includes(role)) return;
  throw new ClavigerError('bad_request', {
    reason: `key_generation_settings lets ${allowed.join(', ')} make ${ofTeam ? 'keys of a team' : 'personal keys'}, and your role is ${role ?? 'none'}.`,
  });
}

async function roleFor(tx: Tx, caller: Caller, teamId: string | null): Promise<string | null> {
  if (caller.kind !== 'key' || teamId === null) return caller.kind === 'key' ? caller.role : null;
  const member = caller.userId === null ? null : await teamMembers.find(tx, memberId(teamId, caller.userId));
  return member?.object.role ?? null;
}

export function onlyAdmins(field: string): ClavigerError {
  const reason = `Only a proxy admin can set ${field} of a key.`;
  return new ClavigerError('forbidden', { reason }, { param: field });
}
