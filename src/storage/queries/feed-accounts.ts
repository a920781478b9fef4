import { type RawBuilder, sql } from 'kysely';
import type { AccountKind } from '../../domain/account.ts';
import type { JsonObject } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';

/** Where the objects are that travel in the feed, in the order in which they do. */
const TABLES: readonly { kind: AccountKind; table: string; where: RawBuilder<unknown> }[] = [
  { kind: 'budget', table: 'claviger.budget', where: sql`true` },
  { kind: 'organization', table: 'claviger.organization', where: sql`true` },
  { kind: 'team', table: 'claviger.team', where: sql`true` },
  { kind: 'team_member', table: 'claviger.team_member', where: sql`true` },
  { kind: 'user', table: 'claviger.internal_user', where: sql`true` },
  // Those that can not restrict anything are not read: spend makes one for each name that a client sends.
  {
    kind: 'customer',
    table: 'claviger.customer',
    where: sql`(o.blocked or o.budget_id is not null or o.metadata <> '{}'::jsonb)`,
  },
  { kind: 'tag', table: 'claviger.tag', where: sql`(o.budget_id is not null or o.metadata <> '{}'::jsonb)` },
];

/** Pages of stored objects, all of one kind, then the next. */
export async function* accountObjects(
  tx: Tx,
  pageMax: number,
): AsyncGenerator<{ readonly kind: AccountKind; readonly objects: readonly JsonObject[] }> {
  for (const { kind, table, where } of TABLES) {
    for (let after = 0n; ; ) {
      const { rows } = await sql<{ id: bigint; object: JsonObject }>`
        select o.id, to_jsonb(o) as object
          from ${sql.table(table)} o
         where o.id > ${after} and ${where}
         order by o.id
         limit ${pageMax}
      `.execute(tx);
      const last = rows.at(-1);
      if (last === undefined) break;
      after = last.id;
      yield { kind, objects: rows.map(({ object }) => object) };
      if (rows.length < pageMax) break;
    }
  }
}
