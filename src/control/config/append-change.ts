import type { BudgetObject } from '../../domain/budget-object.ts';
import type { Lane, Revision } from '../../domain/change.ts';
import type { Customer } from '../../domain/customer.ts';
import type { InternalUser } from '../../domain/internal-user.ts';
import type { Organization, OrganizationMember } from '../../domain/organization.ts';
import type { ModelRecord } from '../../domain/stored-model.ts';
import type { Tag } from '../../domain/tag.ts';
import type { Team } from '../../domain/team.ts';
import type { TeamMember } from '../../domain/team-member.ts';
import type { JsonValue, VirtualKey } from '../../domain/virtual-key.ts';
import type { Database, Tx } from '../../storage/db.ts';
import {
  appendEntry,
  type ChangeEntry,
  type ChangeKind,
  type LoggedChange,
  notifyRevision,
} from '../../storage/repositories/change-log.ts';
import { changesFromLog } from '../fleet/change-from-log.ts';
import type { Stretch } from '../fleet/change-tail.ts';
import { writeBudgetTerms } from '../money/write-budget-terms.ts';

/** Who changes something, and in which request. */
export interface Origin {
  /** User id of the caller, or the digest of its key when it has none. */
  readonly actor: string;
  readonly actorKey: string | null;
  /** `litellm-changed-by`. */
  readonly changedBy: string | null;
  readonly requestId: string;
}

/** One object before and after. What is in here has its secrets sealed. */
export type Edit =
  | EditOf<'key', VirtualKey>
  | EditOf<'user', InternalUser>
  | EditOf<'team', Team>
  | EditOf<'team_member', TeamMember>
  | EditOf<'organization', Organization>
  | EditOf<'organization_member', OrganizationMember>
  | EditOf<'customer', Customer>
  | EditOf<'tag', Tag>
  | EditOf<'budget', BudgetObject>
  | EditOf<'model', ModelRecord>
  | EditOf<'setting', JsonValue>;

interface EditOf<Kind extends ChangeKind, Value> {
  readonly kind: Kind;
  readonly objectId: string;
  readonly objectRev: number;
  readonly op: ChangeEntry['op'];
  readonly before: Value | null;
  readonly after: Value | null;
}

export interface CommittedChange<T> {
  readonly value: T;
  /** Null when nothing was changed. */
  readonly stretch: Stretch | null;
}

/**
 * The way of every management write: `work` changes rows in one transaction and says what it changed; as the last step the revision row moves
 * by one per edit and the change log gets an entry for each. Rows, revisions and audit record are committed together or not at all.
 */
export async function appendChange<T>(
  db: Database,
  origin: Origin,
  work: (tx: Tx, changed: (edit: Edit) => void) => Promise<T>,
): Promise<CommittedChange<T>> {
  return db.write(async (tx) => {
    const edits: Edit[] = [];
    const value = await work(tx, (edit) => edits.push(edit));
    if (edits.length === 0) return { value, stretch: null };
    await writeBudgetTerms(tx, edits);
    const logged: LoggedChange[] = [];
    let epoch = 0;
    let rev: Revision = 0;
    let head = '';
    for (const edit of edits) {
      ({ epoch, rev, head } = await appendEntry(tx, entryFrom(edit, origin)));
      logged.push({ rev, kind: edit.kind, objectId: edit.objectId, after: edit.after as JsonValue, head });
    }
    await notifyRevision(tx, rev);
    return { value, stretch: { epoch, from: rev - edits.length, to: rev, changes: changesFromLog(logged), head } };
  });
}

function entryFrom(edit: Edit, origin: Origin): ChangeEntry {
  return {
    ...edit,
    ...origin,
    before: edit.before as JsonValue,
    after: edit.after as JsonValue,
    lane: LANES[edit.kind],
  };
}

/** Principals go everywhere at once and are in force as they arrive; the rest is validated there first. */
const LANES: Readonly<Record<Edit['kind'], Lane>> = {
  key: 'fast',
  user: 'fast',
  team: 'fast',
  team_member: 'fast',
  organization: 'fast',
  organization_member: 'fast',
  customer: 'fast',
  tag: 'fast',
  budget: 'fast',
  model: 'guarded',
  setting: 'guarded',
};
