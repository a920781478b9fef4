import type { RolledBack } from '../../contract/schemas/fleet.ts';
import { differencesTable } from './changes-text.ts';

/** What `claviger fleet rollback` prints. */
export function rollBackText(answer: RolledBack): string {
  const { rolled_back, rev, dry_run, kind, object, op, differences, needs_confirm } = answer;
  const what = `revision ${rolled_back} (${kind} ${op}, ${object})`;
  const head = dry_run
    ? `This is what undoing ${what} would do. Nothing was changed.`
    : `Undid ${what}, with revision ${rev}.`;
  return [
    head,
    '',
    differencesTable(differences),
    ...(dry_run && needs_confirm.length > 0 ? ['', `It needs --confirm: ${needs_confirm.join('; ')}.`] : []),
    '',
  ].join('\n');
}
