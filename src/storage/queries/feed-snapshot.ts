import { sql } from 'kysely';
import type { Tx } from '../db.ts';
import { type KeyRow, keyFromRow, type StoredKey } from '../repositories/key-columns.ts';

/** A deleted key is refused as deleted for this long, afterwards as unknown. */
export const DELETED_KEYS_DAYS = 30;

/** The next page of keys in order of the internal id. `after` starts at 0n; the last page is shorter than `limit`. */
export async function keysAfter(
  tx: Tx,
  after: bigint,
  limit: number,
): Promise<{ keys: StoredKey[]; last: bigint | null }> {
  const { rows } = await sql<KeyRow & { id: bigint; spend_nano: bigint | null }>`
    select k.*, s.spend_nano
      from claviger.virtual_key k left join claviger.key_spend s on s.token = k.token
     where k.id > ${after}
     order by k.id
     limit ${limit}
  `.execute(tx);
  const keys = rows.map((row) => ({
    key: keyFromRow(row),
    objectRev: Number(row.object_rev),
    spendNano: row.spend_nano ?? 0n,
  }));
  return { keys, last: rows.at(-1)?.id ?? null };
}

export async function countKeys(tx: Tx): Promise<number> {
  const { rows } = await sql<{ count: bigint }>`select count(*) as count from claviger.virtual_key`.execute(tx);
  return Number(rows[0]!.count);
}

/** Digests deleted lately that are not in use again, in order; a page after `after` (start with ''). */
export async function deletedTokensAfter(tx: Tx, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ token: string }>`
    select distinct d.token
      from claviger.deleted_virtual_key d
     where d.token > ${after}
       and d.deleted_at > now() - make_interval(days => ${DELETED_KEYS_DAYS})
       and not exists (select from claviger.virtual_key k where k.token = d.token)
     order by d.token
     limit ${limit}
  `.execute(tx);
  return rows.map((row) => row.token);
}
