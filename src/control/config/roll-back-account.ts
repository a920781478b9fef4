import type { AccountKind } from '../../domain/account.ts';
import { accountInFeed, restricts } from '../../domain/account-in-feed.ts';
import type { JsonObject, VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import type { RecordedChange } from '../../storage/queries/fleet-changes.ts';
import { keptSpend } from '../../storage/repositories/account-spend.ts';
import {
  createObject,
  deleteObject,
  type ObjectKinds,
  replaceObject,
  tableOf,
  type Writing,
} from '../accounts/change-object.ts';
import type { ControlContext } from '../context.ts';
import type { Edit } from './append-change.ts';
import type { RollBackRequest } from './roll-back.ts';
import { invertOrRefuse, type Plan, refuse } from './roll-back-plan.ts';
import { widenedFields } from './widened-fields.ts';

/** Whose creation can be undone: nothing else refers to them. The others take keys or members with them, which is for their own routes. */
const FREE_STANDING: ReadonlySet<AccountKind> = new Set(['team_member', 'customer', 'tag']);

/** As for keys: the fields of the change get their old values back, and what would be admitted again needs `confirm`. */
export async function planForAccount(
  change: RecordedChange,
  kind: AccountKind,
  tx: Tx,
  { caller }: Pick<RollBackRequest, 'caller'>,
  { clock, settings }: Pick<ControlContext, 'clock' | 'settings'>,
): Promise<Plan> {
  const [stored] = await tableOf(kind).lock(tx, [change.objectId]);
  const current = stored === undefined ? null : (stored.object as unknown as JsonObject);
  const inverse = await invertOrRefuse(tx, change, current);
  const write = async (work: (writing: Writing) => Promise<unknown>): Promise<Edit> => {
    const edits: Edit[] = [];
    await work({ tx, changed: (edit) => edits.push(edit), sealingKey: settings.sealingKey });
    return edits[0]!;
  };
  if (inverse === null) {
    if (!FREE_STANDING.has(kind))
      throw refuse(change, `a ${kind} is deleted by its own route, with what belongs to it`);
    const account = accountInFeed(kind, current!);
    const forbids = account !== null && restricts(account);
    const needsConfirm = forbids ? [`It would lift what the ${named(kind)} forbids`] : [];
    return { current, next: null, needsConfirm, write: () => write((writing) => deleteObject(writing, kind, stored!)) };
  }
  const updated = { updated_at: new Date(clock.nowMs()).toISOString(), updated_by: caller.userId };
  const next = { ...inverse, ...updated } as unknown as ObjectKinds[AccountKind];
  if (stored === undefined) {
    return {
      current,
      next: inverse,
      needsConfirm: [`It would make a deleted ${named(kind)} exist again`],
      write: () => write((writing) => createAgain(writing, kind, change.objectId, next)),
    };
  }
  const op = opOf(current!, inverse);
  return {
    current,
    next: inverse,
    needsConfirm: admittedAgain(kind, current!, inverse),
    write: () => write((writing) => replaceObject(writing, kind, stored, next, op)),
  };
}

/** What it has spent was never deleted. */
async function createAgain(
  writing: Writing,
  kind: AccountKind,
  id: string,
  object: ObjectKinds[AccountKind],
): Promise<void> {
  const spendNano = await keptSpend(writing.tx, kind, id);
  await createObject(writing, kind, object, spendNano);
}

function opOf(now: JsonObject, next: JsonObject): Edit['op'] {
  if (now.blocked === next.blocked) return 'updated';
  return next.blocked === true ? 'blocked' : 'unblocked';
}

/** What keys of the account may not do now and could do then. */
function admittedAgain(kind: AccountKind, now: JsonObject, next: JsonObject): string[] {
  const unblocks = now.blocked === true && next.blocked !== true ? [`It would unblock the ${named(kind)}`] : [];
  const others = now.budget_id === next.budget_id ? [] : ['budget_id would be another one'];
  return [...unblocks, ...others, ...widenedFields(likeKey(now), likeKey(next))];
}

/** Accounts restrict by fields of the same names as keys. */
function likeKey(object: JsonObject): VirtualKey {
  return { ...NO_KEY_FIELDS, ...object, models: object.models ?? object.allowed_models ?? [] } as unknown as VirtualKey;
}

const NO_KEY_FIELDS: JsonObject = {
  models: [],
  allowed_routes: [],
  allowed_regions: [],
  expires: null,
  fence: 'normal',
  max_budget: null,
  max_parallel_requests: null,
  rpm_limit: null,
  tpm_limit: null,
  budget_duration: null,
  model_max_budget: {},
  budget_limits: null,
  metadata: {},
};

function named(kind: AccountKind): string {
  return kind.replace('_', ' ');
}
