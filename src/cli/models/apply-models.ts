import { OperatorError } from '../../util/operator-error.ts';
import type { ManagementAnswer, ManagementClient } from '../management-client.ts';
import type { WantedModel } from './models-of-file.ts';

export interface ApplyOptions {
  /** Nothing is changed; each model is validated all the same. */
  readonly dryRun: boolean;
  /** Models of the database that the file does not have are deleted. */
  readonly prune: boolean;
}

export interface AppliedModel {
  readonly id: string;
  readonly modelName: string;
  readonly outcome: 'created' | 'updated' | 'unchanged' | 'deleted' | 'kept' | 'failed';
  /** What went wrong, or why it was kept. */
  readonly remark: string | null;
}

/** Brings the models of the database to what is wanted, through the management API. One that fails does not stop the others. */
export async function applyModels(
  wanted: readonly WantedModel[],
  client: ManagementClient,
  { dryRun, prune }: ApplyOptions,
): Promise<readonly AppliedModel[]> {
  const present = await presentModels(client);
  const applied: AppliedModel[] = [];
  const query = dryRun ? '?dry_run=true' : '?dry_run=false';
  for (const { id, ...body } of wanted) {
    const answer = present.has(id)
      ? await client.call('POST', `/model/update${query}&replace=true`, body)
      : await client.call('POST', `/model/new${query}`, body);
    applied.push(appliedFrom(answer, id, body.model_name));
  }
  if (!prune) return applied;
  const failed = applied.some(({ outcome }) => outcome === 'failed');
  const ids = new Set(wanted.map(({ id }) => id));
  for (const [id, modelName] of present) {
    if (ids.has(id)) continue;
    // What should have taken its place is not there.
    if (failed) applied.push({ id, modelName, outcome: 'kept', remark: 'not deleted, because another model failed' });
    else applied.push(appliedFrom(await client.call('POST', `/model/delete${query}`, { id }), id, modelName));
  }
  return applied;
}

/** Models of the database by id, with their names. */
async function presentModels(client: ManagementClient): Promise<ReadonlyMap<string, string>> {
  const { json, problem } = await client.call('GET', '/model/info');
  if (problem !== null) throw new OperatorError(`The models of ${client.url} can not be listed: ${problem}`);
  const list: { model_name: string; model_info: { id: string; db_model?: boolean } }[] = json?.data ?? [];
  const ofDatabase = list.filter(({ model_info }) => model_info.db_model === true);
  return new Map(ofDatabase.map(({ model_info, model_name }) => [model_info.id, model_name]));
}

function appliedFrom({ headers, problem }: ManagementAnswer, id: string, modelName: string): AppliedModel {
  if (problem !== null) return { id, modelName, outcome: 'failed', remark: problem };
  const outcome = headers.get('x-claviger-outcome');
  return isOutcome(outcome)
    ? { id, modelName, outcome, remark: null }
    : {
        id,
        modelName,
        outcome: 'failed',
        remark: 'the answer does not say what was done: is this a Claviger of this version?',
      };
}

function isOutcome(text: string | null): text is 'created' | 'updated' | 'unchanged' | 'deleted' {
  return text === 'created' || text === 'updated' || text === 'unchanged' || text === 'deleted';
}
