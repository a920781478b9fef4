import type { RecordedChange } from '../../../storage/queries/fleet-changes.ts';
import { type FieldDifference, fieldDifferences } from '../../fleet/field-difference.ts';

/** Names of fields in a list; a change of more is shown whole on its own. */
const FIELDS_NAMED_MAX = 100;

/** A change without its values. */
export function presentChange(change: RecordedChange): object {
  const { before, after } = change;
  return {
    ...facts(change),
    fields: shownDifferences(before, after)
      .slice(0, FIELDS_NAMED_MAX)
      .map(({ field }) => field),
  };
}

export function presentWholeChange(change: RecordedChange): object {
  const { actorKey, before, after } = change;
  return { ...facts(change), actor_key: actorKey, differences: shownDifferences(before, after) };
}

/** Of a new or deleted object what was set: the rest was empty before and after. */
function shownDifferences(before: RecordedChange['before'], after: RecordedChange['after']): FieldDifference[] {
  const all = fieldDifferences(before, after);
  if (before !== null && after !== null) return all;
  return all.filter((one) => !isEmpty(one.before) || !isEmpty(one.after));
}

function isEmpty(value: FieldDifference['before']): boolean {
  if (value === null || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function facts(change: RecordedChange): object {
  return {
    epoch: change.epoch,
    rev: change.rev,
    at: new Date(change.atMs).toISOString(),
    kind: change.kind,
    object: change.objectId,
    object_rev: change.objectRev,
    op: change.op,
    lane: change.lane,
    actor: change.actor,
    changed_by: change.changedBy,
    request_id: change.requestId,
  };
}
