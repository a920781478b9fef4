import type { ChangeRow, FleetChange, FleetChanges } from '../../contract/schemas/fleet.ts';
import { textTable } from '../../util/text-table.ts';
import { age, plural, shortIds } from './figures.ts';

/** Of a value in a table. */
const VALUE_CHARS_MAX = 60;
const ID_CHARS_MAX = 20;

/** What `claviger fleet changes` prints. */
export function changesText({ changes, next_before }: FleetChanges, nowMs: number): string {
  if (changes.length === 0) return 'No changes.\n';
  const table = textTable(
    ['REVISION', 'WHEN', 'WHAT', 'OBJECT', 'BY', 'FIELDS'],
    changes.map((change) => [
      String(change.rev),
      age(nowMs - Date.parse(change.at)),
      `${change.kind} ${change.op}`,
      cut(change.object, ID_CHARS_MAX),
      by(change),
      cut(change.fields.join(', '), VALUE_CHARS_MAX),
    ]),
  );
  const more = next_before === null ? '' : `\nOlder ones: claviger fleet changes --before ${next_before}\n`;
  return `${table}\n${more}`;
}

/** What `claviger fleet changes <rev>` prints. */
export function changeText(change: FleetChange, nowMs: number): string {
  const { applied, pending } = change.delivery;
  const facts = [
    `Revision ${change.rev} (epoch ${change.epoch}): ${change.kind} ${change.op}, ${age(nowMs - Date.parse(change.at))} (${change.at})`,
    `Object   ${change.object} (its change ${change.object_rev})`,
    `By       ${by(change)}, request ${change.request_id}`,
  ];
  const short = shortIds([...applied, ...pending].map(({ worker }) => worker));
  const name = ({ worker, gateway }: { worker: string; gateway: string }) =>
    `${short.get(worker)}${gateway.slice(worker.length)}`;
  const rows = [
    ...applied.map((place) => [name(place), place.region, 'applied', sinceCommit(place.applied_at, change.at), '']),
    ...pending.map((place) => [name(place), place.region, 'pending', '', `${place.reason}; safe at ${place.safe_at}`]),
  ];
  const delivery =
    rows.length === 0 ? '' : `\n\n${textTable(['GATEWAY', 'REGION', 'STATE', 'AFTER', 'REMARKS'], rows)}`;
  const count = `${plural(applied.length, 'gateway process', 'gateway processes')} of ${applied.length + pending.length} applied it.`;
  return `${facts.join('\n')}\n\n${differencesTable(change.differences)}${delivery}\n\n${count}\n`;
}

export function differencesTable(differences: FleetChange['differences']): string {
  if (differences.length === 0) return 'No field is different.';
  return textTable(
    ['FIELD', 'BEFORE', 'AFTER'],
    differences.map(({ field, before, after }) => [field, shown(before), shown(after)]),
  );
}

function sinceCommit(appliedAt: string | null, at: string): string {
  return appliedAt === null ? 'not recorded' : `${Math.max(0, Date.parse(appliedAt) - Date.parse(at))} ms`;
}

export function by({ actor, changed_by }: Pick<ChangeRow, 'actor' | 'changed_by'>): string {
  const name = cut(actor, ID_CHARS_MAX);
  return changed_by === null ? name : `${name} for ${cut(changed_by, ID_CHARS_MAX)}`;
}

export function cut(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`;
}

function shown(value: unknown): string {
  return cut(typeof value === 'string' ? value : JSON.stringify(value), VALUE_CHARS_MAX);
}
