/** Making users and changing them, also on the way of something else: a member that does not exist yet, a bulk update. */
import { scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { USER_METADATA_FIELDS } from '../../contract/schemas/user.ts';
import type { ConfigSource } from '../../domain/config-source.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { InternalUser } from '../../domain/internal-user.ts';
import { objectOf } from '../../domain/json-fields.ts';
import { setPasswordHash, userIdsOfEmails, users } from '../../storage/repositories/users.ts';
import type { RandomBytes } from '../../util/uuid-v7.ts';
import { applyObjectFields, created, type FieldPlan, type Moment } from './apply-object-fields.ts';
import { createObject, type Writing } from './change-object.ts';

export const USER_PLAN: FieldPlan<InternalUser> = {
  plain: [
    'user_alias',
    'user_email',
    'user_role',
    'sso_user_id',
    'organization_id',
    'max_budget',
    'soft_budget',
    'budget_limits',
    'max_parallel_requests',
    'rpm_limit',
    'tpm_limit',
    'object_permission',
  ],
  lists: ['models', 'allowed_cache_controls', 'policies'],
  objects: ['model_max_budget'],
  flags: ['blocked'],
  inMetadata: USER_METADATA_FIELDS,
  hasPeriod: true,
};

type Fields = Readonly<Record<string, unknown>>;

export function newUserObject(id: string | null | undefined, fields: Fields, moment: Moment): InternalUser {
  const empty: InternalUser = {
    user_id: id || moment.newId(),
    user_alias: null,
    user_email: null,
    user_role: null,
    sso_user_id: null,
    organization_id: null,
    models: [],
    max_budget: null,
    soft_budget: null,
    budget_duration: null,
    budget_reset_at: null,
    budget_limits: null,
    model_max_budget: {},
    max_parallel_requests: null,
    rpm_limit: null,
    tpm_limit: null,
    allowed_cache_controls: [],
    policies: [],
    object_permission: null,
    metadata: {},
    blocked: false,
    ...created(moment),
  };
  return applyUserFields(empty, fields, moment);
}

/** An address that is empty is none. */
export function applyUserFields(user: InternalUser, fields: Fields, moment: Moment): InternalUser {
  const next = applyObjectFields(user, fields, USER_PLAN, moment);
  return { ...next, user_email: next.user_email || null, sso_user_id: next.sso_user_id || null };
}

/** Fields that `litellm_settings` gives to new users that are no admins. What the request says wins. */
export function userDefaults(fields: Fields, { litellmSettings }: ConfigSource): Fields {
  const role = fields.user_role ?? objectOf(litellmSettings.default_internal_user_params)?.user_role;
  if (role === 'proxy_admin' || role === 'proxy_admin_viewer') return fields;
  const { max_internal_user_budget, internal_user_budget_duration } = litellmSettings;
  const defaults = {
    max_budget: max_internal_user_budget,
    budget_duration: internal_user_budget_duration,
    ...objectOf(litellmSettings.default_internal_user_params),
  } as Fields;
  const filled: Record<string, unknown> = { ...fields };
  for (const name of ['user_role', 'max_budget', 'budget_duration', 'models', 'teams']) {
    const given = filled[name];
    const isEmpty = given === undefined || given === null || (Array.isArray(given) && given.length === 0);
    if (isEmpty && defaults[name] !== undefined && defaults[name] !== null) filled[name] = defaults[name];
  }
  return filled;
}

export interface NamedUser {
  readonly user_id?: string | null | undefined;
  readonly user_email?: string | null | undefined;
}

/** The users that are named by id or address, in their order; those that do not exist are made. A 400 when one is named by neither. */
export async function namedUsers(write: Writing, named: readonly NamedUser[], moment: Moment): Promise<InternalUser[]> {
  const ids = named.flatMap(({ user_id }) => (user_id ? [user_id] : []));
  const emails = named.flatMap(({ user_id, user_email }) => (user_id || !user_email ? [] : [user_email]));
  const byEmail = await userIdsOfEmails(write.tx, emails);
  const found = await users.lock(write.tx, [...new Set([...ids, ...byEmail.values()])], 'share');
  const known = new Map(found.map(({ object }) => [object.user_id, object]));
  const made: InternalUser[] = [];
  for (const { user_id, user_email } of named) {
    const id = user_id || byEmail.get((user_email ?? '').toLowerCase());
    let user = id === undefined ? undefined : known.get(id);
    if (user === undefined) {
      if (!id && !user_email)
        throw new ClavigerError('bad_request', { reason: 'Pass user_id or user_email for each member.' });
      user = (await createObject(write, 'user', newUserObject(id, { user_email }, moment))).object;
      known.set(user.user_id, user);
      if (user.user_email !== null) byEmail.set(user.user_email.toLowerCase(), user.user_id);
    }
    made.push(user);
  }
  return made;
}

/** Id of an existing user that is named by id or address. Null: there is none. */
export async function existingUserId(
  { tx }: Pick<Writing, 'tx'>,
  { user_id, user_email }: NamedUser,
): Promise<string | null> {
  if (user_id) return user_id;
  if (!user_email) throw new ClavigerError('bad_request', { reason: 'Pass user_id or user_email.' });
  return (await userIdsOfEmails(tx, [user_email])).get(user_email.toLowerCase()) ?? null;
}

export async function setPassword(
  { tx }: Pick<Writing, 'tx'>,
  userId: string,
  password: string | null | undefined,
  randomBytes: RandomBytes,
): Promise<void> {
  if (typeof password !== 'string') return;
  await setPasswordHash(tx, userId, await passwordHash(password, Buffer.from(randomBytes(SALT_BYTES))));
}

/** `scrypt$N$r$p$salt$hash`, salt and hash in base64url. */
async function passwordHash(password: string, salt: Buffer): Promise<string> {
  const { N, r, p } = COST;
  const hash = await deriveKey(password.normalize('NFKC'), salt, HASH_BYTES, { N, r, p, maxmem: MEMORY_BYTES_MAX });
  return ['scrypt', N, r, p, salt.toString('base64url'), hash.toString('base64url')].join('$');
}

const deriveKey = promisify(scrypt) as (
  password: string,
  salt: Buffer,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>;

/** 16 MiB and about 50 ms per password. */
const COST = { N: 16_384, r: 8, p: 1 } as const;
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
