import { sql } from 'kysely';
import type { Tx } from '../db.ts';
import { organizations, type StoredOrganization } from '../repositories/organizations.ts';

/** Newest first. `ids` null: all; `alias` is a part, without regard to case. */
export function listOrganizations(
  tx: Tx,
  {
    ids,
    id,
    alias,
    limit,
  }: { ids: readonly string[] | null; id: string | undefined; alias: string | undefined; limit: number },
): Promise<{ rows: StoredOrganization[]; total: number }> {
  return organizations.page(tx, {
    where: [
      ...(ids === null ? [] : [sql`o.organization_id = any (${[...ids]}::text[])`]),
      ...(id === undefined ? [] : [sql`o.organization_id = ${id}`]),
      ...(alias === undefined ? [] : [sql`strpos(lower(o.organization_alias), lower(${alias})) > 0`]),
    ],
    orderBy: sql`o.created_at desc`,
    limit,
    offset: 0,
  });
}
