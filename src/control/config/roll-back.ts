import { isAccountKind } from '../../domain/account.ts';
import { ClavigerError } from '../../domain/error-catalogue.ts';
import { type ModelRecord, storedModelFrom } from '../../domain/stored-model.ts';
import type { JsonObject, JsonValue, VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../../storage/db.ts';
import { findChange, type RecordedChange } from '../../storage/queries/fleet-changes.ts';
import { deleteKey, lockKeys, updateKey } from '../../storage/repositories/keys.ts';
import { allModels, deleteModel, insertModel, lockModels, updateModel } from '../../storage/repositories/models.ts';
import { restoreKey } from '../../storage/repositories/restore-key.ts';
import type { Caller } from '../auth/caller.ts';
import type { ControlContext } from '../context.ts';
import type { Stretch } from '../fleet/change-tail.ts';
import { type FieldDifference, fieldDifferences } from '../fleet/field-difference.ts';
import { refusingTaken } from '../handlers/key/store-key.ts';
import { mayWriteModels } from '../handlers/model/may-write-models.ts';
import { appendChange, type Origin } from './append-change.ts';
import { planForAccount } from './roll-back-account.ts';
import { invertOrRefuse, type Plan, refuse } from './roll-back-plan.ts';
import { validateModel } from './validate-models.ts';
import { widenedFields } from './widened-fields.ts';

export interface RollBackRequest {
  readonly rev: number;
  readonly epoch: number | undefined;
  readonly dryRun: boolean;
  readonly confirm: boolean;
  readonly caller: Caller;
  readonly origin: Origin;
}

export interface RolledBack {
  readonly change: RecordedChange;
  readonly differences: readonly FieldDifference[];
  /** What would be admitted that is refused now. */
  readonly needsConfirm: readonly string[];
  /** Null: nothing was changed. */
  readonly stretch: Stretch | null;
}

/** Makes the inverse of a change as a new one. Throws 409 with the reason where that would undo what came later, or needs `confirm`. */
export async function rollBack(request: RollBackRequest, context: ControlContext): Promise<RolledBack> {
  const { value, stretch } = await appendChange(context.db, request.origin, async (tx, changed) => {
    const change = await findChange(tx, request.rev, request.epoch);
    if (change === null) throw new ClavigerError('object_not_found', { what: `Revision ${request.rev}` });
    const plan = await planFor(change, tx, request, context);
    const result = { change, differences: fieldDifferences(plan.current, plan.next), needsConfirm: plan.needsConfirm };
    if (request.dryRun) return result;
    if (plan.needsConfirm.length > 0 && !request.confirm) {
      throw refuse(change, `${plan.needsConfirm.join('; ')}. Send confirm: true if that is meant`);
    }
    changed(await plan.write());
    return result;
  });
  return { ...value, stretch };
}

function planFor(change: RecordedChange, tx: Tx, request: RollBackRequest, context: ControlContext): Promise<Plan> {
  if (change.kind === 'key') return planForKey(change, tx, request, context);
  if (change.kind === 'model') return planForModel(change, tx, request, context);
  if (isAccountKind(change.kind)) return planForAccount(change, change.kind, tx, request, context);
  throw new ClavigerError('bad_request', {
    reason: `Changes of kind ${change.kind} can not be undone in this version.`,
  });
}

/** Fields that keys did not have from the beginning. */
const KEY_DEFAULTS: JsonObject = { allowed_regions: [], fence: 'normal' };

async function planForKey(
  change: RecordedChange,
  tx: Tx,
  { caller, origin }: RollBackRequest,
  { clock }: ControlContext,
): Promise<Plan> {
  const [stored] = await lockKeys(tx, [change.objectId]);
  const current = stored === undefined ? null : (stored.key as unknown as JsonObject);
  const withDefaults = (key: JsonValue): JsonValue =>
    key === null ? null : { ...KEY_DEFAULTS, ...(key as JsonObject) };
  const inverse = await invertOrRefuse(
    tx,
    { ...change, before: withDefaults(change.before), after: withDefaults(change.after) },
    current,
  );
  const nowIso = new Date(clock.nowMs()).toISOString();
  if (inverse === null) {
    const { key, spendNano } = stored!;
    return {
      current,
      next: null,
      needsConfirm: [],
      write: async () => {
        const objectRev = stored!.objectRev + 1;
        await deleteKey(
          tx,
          { key, objectRev, spendNano },
          { deletedAt: nowIso, deletedBy: caller.userId, deletedByApiKey: caller.token, changedBy: origin.changedBy },
        );
        return { kind: 'key', objectId: key.token, objectRev, op: 'deleted', before: key, after: null };
      },
    };
  }
  const next = { ...inverse, updated_at: nowIso, updated_by: caller.userId } as unknown as VirtualKey;
  if (stored === undefined) {
    return {
      current,
      next: inverse,
      needsConfirm: ['It would make a deleted key valid again'],
      write: async () => {
        const objectRev = await refusingTaken(next.key_alias, () => restoreKey(tx, next));
        if (objectRev === null) throw refuse(change, 'the deleted key is not kept any more');
        return { kind: 'key', objectId: next.token, objectRev, op: 'created', before: null, after: next };
      },
    };
  }
  return {
    current,
    next: inverse,
    needsConfirm: admittedAgain(stored.key, next),
    write: async () => {
      const objectRev = stored.objectRev + 1;
      await refusingTaken(next.key_alias, () => updateKey(tx, next, objectRev));
      const op = stored.key.blocked === next.blocked ? 'updated' : next.blocked ? 'blocked' : 'unblocked';
      return { kind: 'key', objectId: next.token, objectRev, op, before: stored.key, after: next };
    },
  };
}

/** What the key may not do now and could do then. */
function admittedAgain(now: VirtualKey, next: VirtualKey): string[] {
  const unblocks = now.blocked && !next.blocked ? ['It would unblock the key'] : [];
  return [...unblocks, ...widenedFields(now, next)];
}

async function planForModel(
  change: RecordedChange,
  tx: Tx,
  { caller }: RollBackRequest,
  context: ControlContext,
): Promise<Plan> {
  mayWriteModels(caller, context);
  await lockModels(tx);
  const rows = await allModels(tx);
  const stored = rows.find(({ model }) => model.model_id === change.objectId);
  const before = stored?.model ?? null;
  const current = before as unknown as JsonValue;
  const inverse = await invertOrRefuse(tx, change, current);
  const { objectId } = change;
  if (inverse === null) {
    return {
      current,
      next: null,
      needsConfirm: [],
      write: async () => {
        await deleteModel(tx, objectId);
        return { kind: 'model', objectId, objectRev: stored!.objectRev + 1, op: 'deleted', before, after: null };
      },
    };
  }
  const updated = { updated_at: new Date(context.clock.nowMs()).toISOString(), updated_by: caller.userId };
  const after = { ...inverse, ...updated } as unknown as ModelRecord;
  const others = rows.filter((row) => row !== stored).map((row) => storedModelFrom(row.model));
  validateModel(storedModelFrom(after), others, { file: context.config(), envValue: context.envValue });
  return {
    current,
    next: inverse,
    needsConfirm: [],
    write: async () => {
      if (stored !== undefined) {
        const objectRev = stored.objectRev + 1;
        await updateModel(tx, after, objectRev);
        return { kind: 'model', objectId, objectRev, op: 'updated', before, after };
      }
      const objectRev = change.objectRev + 1;
      await insertModel(tx, after, objectRev);
      return { kind: 'model', objectId, objectRev, op: 'created', before: null, after };
    },
  };
}
