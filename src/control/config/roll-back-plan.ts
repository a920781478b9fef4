import { ClavigerError } from '../../domain/error-catalogue.ts';
import type { JsonObject, JsonValue } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import { laterChangesOf, type RecordedChange } from '../../storage/queries/fleet-changes.ts';
import type { Edit } from './append-change.ts';
import { invertChange } from './invert-change.ts';

/** What a roll-back would do to one object, and how. */
export interface Plan {
  readonly current: JsonValue;
  readonly next: JsonValue;
  readonly needsConfirm: readonly string[];
  readonly write: () => Promise<Edit>;
}

/** Later changes that a refusal looks at; the conflict itself is decided by the values. */
const LATER_CHANGES_MAX = 20;

export async function invertOrRefuse(tx: Tx, change: RecordedChange, current: JsonValue): Promise<JsonObject | null> {
  const inverse = invertChange(change, current);
  if (!('conflict' in inverse)) return inverse.next;
  const later = await laterChangesOf(tx, change, LATER_CHANGES_MAX);
  const revisions = later.map(({ rev }) => rev).join(', ');
  throw refuse(change, revisions === '' ? inverse.conflict : `${inverse.conflict} (later changes of it: ${revisions})`);
}

export function refuse({ kind, rev }: RecordedChange, reason: string): ClavigerError {
  return new ClavigerError('conflict', { reason: `Revision ${rev} of a ${kind} was not rolled back: ${reason}.` });
}
