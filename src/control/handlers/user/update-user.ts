import { updateUserRoute } from '../../../contract/routes/users.ts';
import type { UpdateUserBody } from '../../../contract/schemas/user.ts';
import { ClavigerError } from '../../../domain/error-catalogue.ts';
import type { JsonObject } from '../../../domain/virtual-key.ts';
import { membershipsOfUsers, type StoredMember, teamMembers } from '../../../storage/repositories/team-members.ts';
import { userIdsOfEmails, users } from '../../../storage/repositories/users.ts';
import type { Moment } from '../../accounts/apply-object-fields.ts';
import { createObject, replaceObject, type Writing } from '../../accounts/change-object.ts';
import { isOwnRecord } from '../../accounts/own-record.ts';
import { presentUser } from '../../accounts/present-objects.ts';
import { applyUserFields, newUserObject, setPassword } from '../../accounts/user-objects.ts';
import { momentOf, writeObjects } from '../../accounts/write-objects.ts';
import { type Caller, isProxyAdmin } from '../../auth/caller.ts';
import type { ControlContext } from '../../context.ts';
import { endpoint } from '../handler.ts';
import { spendFrom } from '../key/store-key.ts';

export const updateUserEndpoint = endpoint(updateUserRoute, async ({ body, caller, origin }, context) => {
  const moment = momentOf(context, caller);
  const { value, rev } = await writeObjects(context, origin, (write) =>
    updateUser(write, body, caller, moment, context),
  );
  return { json: { user_id: value.user_id, data: value }, rev };
});

/** Teams of one user that an answer names. */
export const TEAMS_SHOWN_MAX = 1_000;

/** The changed user as answers show it. An address that nobody has makes a user, as in LiteLLM; an id that nobody has is a 404. */
export async function updateUser(
  write: Writing,
  body: UpdateUserBody,
  caller: Caller,
  moment: Moment,
  { randomBytes }: Pick<ControlContext, 'randomBytes'>,
): Promise<JsonObject> {
  const id = await wantedUser(write, body);
  mayUpdate(caller, id, body);
  const spendNano = body.spend === undefined || body.spend === null ? null : spendFrom(body.spend);
  const [stored] = id === null ? [] : await users.lock(write.tx, [id]);
  if (stored === undefined) {
    if (id !== null)
      throw new ClavigerError('object_not_found', { what: `User with user_id=${id}` }, { param: 'user_id' });
    const made = await createObject(write, 'user', newUserObject(null, body, moment), spendNano ?? 0n);
    await setPassword(write, made.object.user_id, body.password, randomBytes);
    return presentUser(made, []);
  }
  const next = await replaceObject(write, 'user', stored, applyUserFields(stored.object, body, moment));
  if (spendNano !== null) await users.setSpend(write.tx, next.object.user_id, spendNano);
  await setPassword(write, next.object.user_id, body.password, randomBytes);
  const teams = await membershipsOfUsers(write.tx, [next.object.user_id], TEAMS_SHOWN_MAX);
  if (next.object.user_email !== stored.object.user_email) await renameMembers(write, teams, next.object.user_email);
  return presentUser(
    { ...next, spendNano: spendNano ?? next.spendNano },
    teams.map(({ object }) => object.team_id),
  );
}

/** Teams show the address of each member. */
async function renameMembers(
  write: Writing,
  members: readonly StoredMember[],
  user_email: string | null,
): Promise<void> {
  const ids = members.map(({ object }) => teamMembers.idOf(object));
  for (const member of await teamMembers.lock(write.tx, ids)) {
    await replaceObject(write, 'team_member', member, { ...member.object, user_email });
  }
}

/** By id, or else by address. Null: nobody has the address. */
async function wantedUser({ tx }: Writing, { user_id, user_email }: UpdateUserBody): Promise<string | null> {
  if (user_id) return user_id;
  if (!user_email)
    throw new ClavigerError('bad_request', { reason: 'Pass user_id or user_email.' }, { param: 'user_id' });
  return (await userIdsOfEmails(tx, [user_email])).get(user_email.toLowerCase()) ?? null;
}

/** What everybody may change about themselves. */
const HARMLESS: ReadonlySet<string> = new Set(['user_id', 'user_email', 'user_alias', 'password']);

function mayUpdate(caller: Caller, id: string | null, body: UpdateUserBody): void {
  if (isProxyAdmin(caller)) return;
  if (!isOwnRecord(caller, id)) throw new ClavigerError('not_your_object', { action: 'change this user' });
  const others = Object.entries(body).filter(([name, value]) => value !== undefined && !HARMLESS.has(name));
  if (others.length === 0) return;
  throw new ClavigerError('forbidden', {
    reason: `Only a proxy admin can change ${others.map(([name]) => name).join(', ')} of a user.`,
  });
}
