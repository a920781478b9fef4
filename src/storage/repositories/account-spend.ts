import { sql } from 'kysely';
import type { AccountKind } from '../../domain/account.ts';
import type { Tx } from '../db.ts';

/** What is counted as spent, also for an object that was deleted; 0 for one that never spent. */
export async function keptSpend(tx: Tx, kind: AccountKind, id: string): Promise<bigint> {
  const { rows } = await sql<{ spend_nano: bigint }>`
    select spend_nano from claviger.account_spend where kind = ${kind} and id = ${id}
  `.execute(tx);
  return rows[0]?.spend_nano ?? 0n;
}
