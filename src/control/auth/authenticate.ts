import { timingSafeEqual } from 'node:crypto';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { keyName, maskKey } from '../../domain/generated-key.ts';
import type { Tx } from '../../storage/db.ts';
import { findKey } from '../../storage/repositories/keys.ts';
import { teams } from '../../storage/repositories/teams.ts';
import { users } from '../../storage/repositories/users.ts';
import type { ControlContext } from '../context.ts';
import { type Caller, MASTER } from './caller.ts';
import { keyToken } from './key-token.ts';
import { readCredential } from './read-credential.ts';

/** Who is calling. The master key needs no database; a virtual key is looked up, so that what is answered is what is true now. */
export async function authenticate(headers: Headers, context: ControlContext): Promise<Caller> {
  const { db, clock, settings } = context;
  const credential = readCredential(headers, keyHeaderName(context));
  const token = keyToken(credential);
  // Digests are compared: their length is always the same, and how far they agree tells nothing about the key.
  if (timingSafeEqual(Buffer.from(token), Buffer.from(keyToken(settings.masterKey)))) return MASTER;
  if (!credential.startsWith('sk-')) {
    throw new ClavigerError('not_a_virtual_key', { maskedKey: maskKey(credential) });
  }
  const { stored, owner, team } = await db.read((tx) => findWithOwners(tx, token));
  if (stored === null) throw new ClavigerError('unknown_key', { keyName: keyName(credential), token });
  const { key } = stored;
  if (key.blocked) throw new ClavigerError('blocked_key');
  if (key.expires !== null && Date.parse(key.expires) <= clock.nowMs()) {
    const now = new Date(clock.nowMs()).toISOString();
    throw new ClavigerError('expired_key', { expires: key.expires, now }, { param: token });
  }
  if (team?.object.blocked) throw new ClavigerError('blocked_team', { teamId: team.object.team_id });
  if (owner?.object.blocked) throw new ClavigerError('blocked_user', { userId: owner.object.user_id });
  return { kind: 'key', token, userId: key.user_id, role: owner?.object.user_role ?? null, stored };
}

async function findWithOwners(tx: Tx, token: string) {
  const stored = await findKey(tx, token);
  const { user_id = null, team_id = null } = stored?.key ?? {};
  const owner = user_id === null ? null : await users.find(tx, user_id);
  const team = team_id === null ? null : await teams.find(tx, team_id);
  return { stored, owner, team };
}

function keyHeaderName(context: ControlContext): string | null {
  const name = context.config().generalSettings.litellm_key_header_name;
  return typeof name === 'string' && name !== '' ? name.toLowerCase() : null;
}
