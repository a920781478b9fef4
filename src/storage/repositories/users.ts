import { sql } from 'kysely';
import type { InternalUser } from '../../domain/internal-user.ts';
import type { Tx } from '../db.ts';
import { objectTable, type StoredObject } from './object-table.ts';

export type StoredUser = StoredObject<InternalUser>;

/** Unique violations: `internal_user_user_id_key`, `internal_user_email`, `internal_user_sso`. */
export const users = objectTable<InternalUser>({
  table: 'internal_user',
  spendKind: 'user',
  idColumn: 'user_id',
  idOf: (user) => user.user_id,
  columns: {
    user_id: 'text',
    user_alias: 'text',
    user_email: 'text',
    user_role: 'text',
    sso_user_id: 'text',
    organization_id: 'text',
    models: 'texts',
    max_budget: 'number',
    soft_budget: 'number',
    budget_duration: 'text',
    budget_reset_at: 'time',
    budget_limits: 'json',
    model_max_budget: 'json',
    max_parallel_requests: 'int8',
    rpm_limit: 'int8',
    tpm_limit: 'int8',
    allowed_cache_controls: 'texts',
    policies: 'texts',
    object_permission: 'json',
    metadata: 'json',
    blocked: 'boolean',
    created_at: 'time',
    created_by: 'text',
    updated_at: 'time',
    updated_by: 'text',
  },
});

/** Addresses are compared without regard to case. Id of the user by address in lower case. */
export async function userIdsOfEmails(tx: Tx, emails: readonly string[]): Promise<Map<string, string>> {
  if (emails.length === 0) return new Map();
  const { rows } = await sql<{ user_id: string; email: string }>`
    select user_id, lower(user_email) as email from claviger.internal_user
     where lower(user_email) = any (select lower(e) from unnest(${[...emails]}::text[]) e)
  `.execute(tx);
  return new Map(rows.map((row) => [row.email, row.user_id]));
}

export async function setPasswordHash(tx: Tx, userId: string, hash: string): Promise<void> {
  await sql`update claviger.internal_user set password_hash = ${hash} where user_id = ${userId}`.execute(tx);
}
