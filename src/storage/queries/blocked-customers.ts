import { sql } from 'kysely';
import type { Tx } from '../db.ts';

export async function blockedCustomerIds(tx: Tx, limit: number): Promise<string[]> {
  const { rows } = await sql<{ user_id: string }>`
    select user_id from claviger.customer where blocked order by user_id limit ${limit}
  `.execute(tx);
  return rows.map((row) => row.user_id);
}
