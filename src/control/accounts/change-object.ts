/**
 * The way of every write to users, teams, members, organizations, budgets, customers and tags: row and entry of the change log together,
 * secrets sealed, what travels to gateway processes bounded.
 */
import { accountFromObject } from '../../domain/account-from-object.ts';
import type { BudgetObject } from '../../domain/budget-object.ts';
import type { Customer } from '../../domain/customer.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { InternalUser } from '../../domain/internal-user.ts';
import type { Organization, OrganizationMember } from '../../domain/organization.ts';
import type { Tag } from '../../domain/tag.ts';
import type { Team } from '../../domain/team.ts';
import type { TeamMember } from '../../domain/team-member.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import { type Tx, violatedUniqueness } from '../../storage/db.ts';
import { budgets } from '../../storage/repositories/budget-objects.ts';
import { customers } from '../../storage/repositories/customers.ts';
import type { ObjectTable, StoredObject } from '../../storage/repositories/object-table.ts';
import { organizationMembers, organizations } from '../../storage/repositories/organizations.ts';
import { tags } from '../../storage/repositories/tags.ts';
import { teamMembers } from '../../storage/repositories/team-members.ts';
import { teams } from '../../storage/repositories/teams.ts';
import { users } from '../../storage/repositories/users.ts';
import type { Edit } from '../config/append-change.ts';
import { type HasSecrets, keepMaskedSecrets, sealSecretsOf } from '../config/key-secrets.ts';

export interface ObjectKinds {
  user: InternalUser;
  team: Team;
  team_member: TeamMember;
  organization: Organization;
  organization_member: OrganizationMember;
  budget: BudgetObject;
  customer: Customer;
  tag: Tag;
}

export type ObjectKind = keyof ObjectKinds;

/** One transaction of `appendChange`. */
export interface Writing {
  readonly tx: Tx;
  readonly changed: (edit: Edit) => void;
  readonly sealingKey: string;
}

/** What travels to each gateway process must fit its frames, hundreds at a time. More is a 400. */
export const ACCOUNT_BYTES_MAX = 32_000;

/** Throws the 400 or 409 of an id or address that is taken. Returns the object as it is stored, secrets sealed. */
export async function createObject<K extends ObjectKind>(
  { tx, changed, sealingKey }: Writing,
  kind: K,
  given: ObjectKinds[K],
  spendNano = 0n,
): Promise<StoredObject<ObjectKinds[K]>> {
  const table = tableOf(kind);
  const object = prepared(kind, given, null, sealingKey);
  await refusingTaken(kind, object, () => table.insert(tx, object, 1, spendNano));
  changed(edit(kind, { objectId: table.idOf(object), objectRev: 1, op: 'created', before: null, after: object }));
  return { object, objectRev: 1, spendNano };
}

/** `stored` was locked in this transaction. A secret that comes back as it was shown stays. */
export async function replaceObject<K extends ObjectKind>(
  { tx, changed, sealingKey }: Writing,
  kind: K,
  stored: StoredObject<ObjectKinds[K]>,
  given: ObjectKinds[K],
  op: Edit['op'] = 'updated',
): Promise<StoredObject<ObjectKinds[K]>> {
  const table = tableOf(kind);
  const object = prepared(kind, given, stored.object, sealingKey);
  const objectRev = stored.objectRev + 1;
  await refusingTaken(kind, object, () => table.update(tx, object, objectRev));
  changed(edit(kind, { objectId: table.idOf(object), objectRev, op, before: stored.object, after: object }));
  return { ...stored, object, objectRev };
}

export async function deleteObject<K extends ObjectKind>(
  { tx, changed }: Writing,
  kind: K,
  { object, objectRev }: StoredObject<ObjectKinds[K]>,
): Promise<void> {
  const table = tableOf(kind);
  const objectId = table.idOf(object);
  await table.remove(tx, objectId);
  changed(edit(kind, { objectId, objectRev: objectRev + 1, op: 'deleted', before: object, after: null }));
}

const TABLES: { readonly [K in ObjectKind]: ObjectTable<ObjectKinds[K]> } = {
  user: users,
  team: teams,
  team_member: teamMembers,
  organization: organizations,
  organization_member: organizationMembers,
  budget: budgets,
  customer: customers,
  tag: tags,
};

export function tableOf<K extends ObjectKind>(kind: K): ObjectTable<ObjectKinds[K]> {
  return TABLES[kind] as ObjectTable<ObjectKinds[K]>;
}

function edit<K extends ObjectKind>(
  kind: K,
  change: {
    objectId: string;
    objectRev: number;
    op: Edit['op'];
    before: ObjectKinds[K] | null;
    after: ObjectKinds[K] | null;
  },
): Edit {
  return { kind, ...change } as unknown as Edit;
}

function prepared<K extends ObjectKind>(
  kind: K,
  given: ObjectKinds[K],
  stored: ObjectKinds[K] | null,
  sealingKey: string,
): ObjectKinds[K] {
  let object = given;
  if ('metadata' in given) {
    const place = `${kind}/${tableOf(kind).idOf(given)}`;
    const kept = stored === null ? given : keepMaskedSecrets(given as HasSecrets, stored as unknown as HasSecrets);
    object = sealSecretsOf(kept as HasSecrets, place, sealingKey) as unknown as ObjectKinds[K];
  }
  if (kind !== 'organization_member') refuseLarge(kind, object);
  return object;
}

function refuseLarge(kind: Exclude<ObjectKind, 'organization_member'>, object: object): void {
  const bytes = Buffer.byteLength(JSON.stringify(accountFromObject(kind, object as JsonObject)));
  if (bytes <= ACCOUNT_BYTES_MAX) return;
  throw new ClavigerError('bad_request', {
    reason: `models, aliases, regions, limits and budgets of a ${kind.replace('_', ' ')} have ${bytes} bytes together, and at most ${ACCOUNT_BYTES_MAX} are possible. Use access groups or wildcards.`,
  });
}

async function refusingTaken(kind: ObjectKind, object: object, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    const constraint = violatedUniqueness(error);
    throw constraint === null ? error : taken(kind, constraint, object as Record<string, unknown>);
  }
}

function taken(kind: ObjectKind, constraint: string, object: Readonly<Record<string, unknown>>): ClavigerError {
  const refuse = (reason: string, param: string) => new ClavigerError('bad_request', { reason }, { param });
  if (constraint === 'internal_user_email') {
    return refuse(`User with email ${object.user_email} already exists`, 'user_email');
  }
  if (constraint === 'internal_user_sso') {
    return refuse(`User with sso_user_id ${object.sso_user_id} already exists`, 'sso_user_id');
  }
  switch (kind) {
    case 'user':
      return new ClavigerError(
        'conflict',
        { reason: `User with id ${object.user_id} already exists` },
        { param: 'user_id' },
      );
    case 'team':
      return refuse(`Team id = ${object.team_id} already exists. Please use a different team id.`, 'team_id');
    case 'team_member':
      return new ClavigerError(
        'bad_request',
        { reason: `User ${object.user_id} is already in team ${object.team_id}.` },
        { type: 'team_member_already_in_team', param: 'user_id' },
      );
    case 'organization':
      return refuse(`Organization with id ${object.organization_id} already exists`, 'organization_id');
    case 'organization_member':
      return refuse(`User ${object.user_id} is already in organization ${object.organization_id}`, 'user_id');
    case 'budget':
      return refuse(`Budget with id ${object.budget_id} already exists`, 'budget_id');
    case 'customer':
      return refuse(`Customer already exists, passed user_id=${object.user_id}. Please pass a new user_id.`, 'user_id');
    case 'tag':
      return refuse(`Tag ${object.name} already exists`, 'name');
  }
}
