import { parseAccountKey } from '../../domain/account.ts';
import type { Customer } from '../../domain/customer.ts';
import { unblockedInEpoch } from '../../storage/repositories/change-log.ts';
import { createObject, replaceObject, tableOf, type Writing } from '../accounts/change-object.ts';

/** The kinds that can be blocked at all, in the order in which they are locked. */
const KINDS = ['organization', 'team', 'user', 'customer'] as const;

/**
 * Blocks those of the names that are accounts, each as a change of its own, but for what somebody has unblocked in this epoch. A customer that
 * the database has forgotten is made again: its clients still name it.
 */
export async function blockAccounts(
  writing: Writing,
  names: readonly string[],
  { epoch, nowMs, actor }: { readonly epoch: number; readonly nowMs: number; readonly actor: string },
): Promise<{ readonly known: number; readonly lifted: number }> {
  let known = 0;
  let lifted = 0;
  for (const kind of KINDS) {
    const ids = names.map(parseAccountKey).flatMap((name) => (name?.kind === kind ? [name.id] : []));
    if (ids.length === 0) continue;
    const found = await tableOf(kind).lock(writing.tx, ids);
    const unblocked = await unblockedInEpoch(writing.tx, epoch, ids, kind);
    const updated = { updated_at: new Date(nowMs).toISOString(), updated_by: actor };
    known += found.length;
    const missing = new Set(ids);
    for (const stored of found) {
      const id = tableOf(kind).idOf(stored.object);
      missing.delete(id);
      if (stored.object.blocked) continue;
      if (unblocked.has(id)) lifted += 1;
      else await replaceObject(writing, kind, stored, { ...stored.object, ...updated, blocked: true }, 'blocked');
    }
    if (kind !== 'customer') continue;
    for (const id of missing) await createObject(writing, kind, blockedCustomer(id, updated.updated_at, actor));
  }
  return { known, lifted };
}

function blockedCustomer(user_id: string, now: string, actor: string): Customer {
  return {
    user_id,
    alias: null,
    blocked: true,
    allowed_model_region: null,
    default_model: null,
    budget_id: null,
    object_permission: null,
    metadata: {},
    created_at: now,
    created_by: actor,
    updated_at: now,
    updated_by: actor,
  };
}
