import { sql } from 'kysely';
import type { Tx } from '../db.ts';

/** What LiteLLM has left in the same database. It is only looked at, never written to. */
export interface LitellmTables {
  readonly schema: string;
  readonly tableCount: number;
  /** Rows of `LiteLLM_VerificationToken`; null: we may not read it. */
  readonly keyCount: number | null;
}

/** Runs one statement without parameters. */
export type Ask = (statement: string) => Promise<readonly Readonly<Record<string, unknown>>[]>;

export function askIn(tx: Tx): Ask {
  return async (statement) => (await sql.raw<Record<string, unknown>>(statement).execute(tx)).rows;
}

const KEY_TABLE = 'LiteLLM_VerificationToken';

/** Null: there are none. */
export async function litellmTables(ask: Ask): Promise<LitellmTables | null> {
  const [found] = await ask(
    `select n.nspname as schema, count(*)::int as tables,
            coalesce(bool_or(c.relname = '${KEY_TABLE}' and has_table_privilege(c.oid, 'select')
                             and has_schema_privilege(n.oid, 'usage')), false) as readable
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and c.relname like 'LiteLLM\\_%'
      group by n.nspname
      order by count(*) desc, n.nspname
      limit 1`,
  );
  if (found === undefined) return null;
  const schema = String(found['schema']);
  const [keys] = found['readable'] === true ? await ask(countStatement(schema)) : [];
  return { schema, tableCount: Number(found['tables']), keyCount: keys === undefined ? null : Number(keys['keys']) };
}

function countStatement(schema: string): string {
  return `select count(*) as keys from "${schema.replaceAll('"', '""')}"."${KEY_TABLE}"`;
}

/** For the operator. */
export function litellmSentence({ schema, tableCount, keyCount }: LitellmTables): string {
  const keys =
    keyCount === null ? 'keys that this user may not read' : `${keyCount} ${keyCount === 1 ? 'key' : 'keys'}`;
  return (
    `This database also holds ${tableCount} ${tableCount === 1 ? 'table' : 'tables'} of LiteLLM in the schema "${schema}", with ${keys}. ` +
    'They are left untouched: an import comes with a later version, and until then keys and models are made anew. ' +
    'See docs/reference/compatibility.md.'
  );
}
