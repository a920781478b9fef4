import { readSources } from '../../settings/read-sources.ts';
import { textTable } from '../../util/text-table.ts';
import type { CliContext } from '../context.ts';
import { type ConnectionOptions, managementClient } from '../management-client.ts';
import { type AppliedModel, applyModels } from '../models/apply-models.ts';
import { modelsOfFile } from '../models/models-of-file.ts';

export interface ModelsApplyOptions extends ConnectionOptions {
  readonly dryRun?: boolean;
  readonly prune?: boolean;
}

/** `claviger models apply <file>`; 1 when any model failed. */
export async function runModelsApply(
  path: string,
  options: ModelsApplyOptions,
  { cwd, env: given, err, out }: CliContext,
): Promise<number> {
  const { config, env } = readSources({ flags: { config: path }, env: given, cwd });
  for (const warning of config.warnings.filter(concernsTheFile)) err(`claviger: ${warning}\n`);
  const dryRun = options.dryRun === true;
  const applied = await applyModels(modelsOfFile(config.source), managementClient(options, env), {
    dryRun,
    prune: options.prune === true,
  });
  out(appliedText(applied, dryRun));
  return applied.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
}

/** References are kept: whether a variable is set here means nothing. */
function concernsTheFile(warning: string): boolean {
  return !warning.endsWith(', which is not set.');
}

function appliedText(applied: readonly AppliedModel[], dryRun: boolean): string {
  const rows = applied.map(({ id, modelName, outcome, remark }) => [
    modelName,
    id,
    remark === null ? outcome : `${outcome}: ${remark}`,
  ]);
  const table = rows.length === 0 ? '' : `${textTable(['MODEL NAME', 'ID', 'RESULT'], rows)}\n\n`;
  const counts = OUTCOMES.map(
    (outcome) => [outcome, applied.filter((model) => model.outcome === outcome).length] as const,
  )
    .filter(([, count]) => count > 0)
    .map(([outcome, count]) => `${count} ${outcome}`);
  const sum = counts.length === 0 ? 'Nothing to do' : counts.join(', ');
  return `${table}${sum}.${dryRun ? ' This was a dry run: nothing has been changed.' : ''}\n`;
}

const OUTCOMES = ['created', 'updated', 'unchanged', 'deleted', 'kept', 'failed'] as const;
