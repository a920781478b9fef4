import type { VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';
import { columnsFromKey } from './key-columns.ts';

/**
 * Makes a deleted key live again, as `key` says. What it has spent was never deleted. Returns its new own revision; null: it is not among
 * the deleted ones. Throws a unique violation when key or alias are in use.
 */
export async function restoreKey(tx: Tx, key: VirtualKey): Promise<number | null> {
  const deleted = await tx
    .deleteFrom('claviger.deleted_virtual_key')
    .where('token', '=', key.token)
    .returning('object_rev')
    .execute();
  if (deleted.length === 0) return null;
  const objectRev = Math.max(...deleted.map((row) => Number(row.object_rev))) + 1;
  await tx.insertInto('claviger.virtual_key').values(columnsFromKey(key, objectRev)).execute();
  return objectRev;
}
