import type { VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';
import { columnsFromKey, keyFromRow, type StoredKey } from './key-columns.ts';

export interface Deletion {
  readonly deletedAt: string;
  readonly deletedBy: string | null;
  readonly deletedByApiKey: string | null;
  readonly changedBy: string | null;
}

/** Throws a unique violation of `virtual_key_token_key` or `virtual_key_alias`. Spend starts at `spendNano`, whatever was there. */
export async function insertKey(tx: Tx, key: VirtualKey, spendNano: bigint): Promise<void> {
  await tx.insertInto('claviger.virtual_key').values(columnsFromKey(key, 1)).execute();
  await setSpend(tx, key.token, spendNano);
}

export async function findKey(tx: Tx, token: string): Promise<StoredKey | null> {
  const rows = await selectKeys(tx).where('k.token', '=', token).execute();
  return rows[0] === undefined ? null : stored(rows[0]);
}

/** Those of the keys that exist, locked until the transaction ends, in order of token so that two writers can not deadlock. */
export async function lockKeys(tx: Tx, tokens: readonly string[]): Promise<StoredKey[]> {
  if (tokens.length === 0) return [];
  const rows = await selectKeys(tx)
    .where('k.token', 'in', [...tokens])
    .orderBy('k.token')
    .forUpdate('k')
    .execute();
  return rows.map(stored);
}

export async function tokensOfAliases(tx: Tx, aliases: readonly string[]): Promise<{ token: string; alias: string }[]> {
  if (aliases.length === 0) return [];
  const rows = await tx
    .selectFrom('claviger.virtual_key')
    .select(['token', 'key_alias'])
    .where('key_alias', 'in', [...aliases])
    .execute();
  return rows.map((row) => ({ token: row.token, alias: row.key_alias! }));
}

/** Replaces the row of a key that `lockKeys` returned. Throws a unique violation of `virtual_key_alias`. */
export async function updateKey(tx: Tx, key: VirtualKey, objectRev: number): Promise<void> {
  const { token, ...columns } = columnsFromKey(key, objectRev);
  await tx.updateTable('claviger.virtual_key').set(columns).where('token', '=', token).execute();
}

/** Moves a key that `lockKeys` returned to the deleted ones. Its spend stays countable: usage may still arrive. */
export async function deleteKey(tx: Tx, { key, objectRev, spendNano }: StoredKey, deletion: Deletion): Promise<void> {
  await tx
    .insertInto('claviger.deleted_virtual_key')
    .values({
      ...columnsFromKey(key, objectRev),
      spend_nano: spendNano,
      deleted_at: deletion.deletedAt,
      deleted_by: deletion.deletedBy,
      deleted_by_api_key: deletion.deletedByApiKey,
      litellm_changed_by: deletion.changedBy,
    })
    .execute();
  await tx.deleteFrom('claviger.virtual_key').where('token', '=', key.token).execute();
}

export async function setSpend(tx: Tx, token: string, spendNano: bigint): Promise<void> {
  await tx
    .insertInto('claviger.key_spend')
    .values({ token, spend_nano: spendNano })
    .onConflict((conflict) => conflict.column('token').doUpdateSet({ spend_nano: spendNano }))
    .execute();
}

function selectKeys(tx: Tx) {
  return tx
    .selectFrom('claviger.virtual_key as k')
    .leftJoin('claviger.key_spend as s', 's.token', 'k.token')
    .selectAll('k')
    .select('s.spend_nano');
}

type SelectedKey = Awaited<ReturnType<ReturnType<typeof selectKeys>['execute']>>[number];

function stored(row: SelectedKey): StoredKey {
  return { key: keyFromRow(row), objectRev: Number(row.object_rev), spendNano: row.spend_nano ?? 0n };
}
