import type pg from 'pg';
import type { AskedRows } from './db.ts';

/** What is asked in one round trip is small and asked again soon. */
export const ASK_TIMEOUT_MS = 5_000;

/**
 * Statements without parameters in one message, between `begin` (which may set limits) and a commit. What fails inside of it leaves a
 * transaction that has failed: the caller gives the connection up.
 */
export async function askOn(
  client: Pick<pg.ClientBase, 'query'>,
  begin: string,
  statements: readonly string[],
): Promise<readonly AskedRows[]> {
  const text = [begin, ...statements, 'commit'].join('; ');
  const answer: unknown = await client.query({ text, query_timeout: ASK_TIMEOUT_MS } as pg.QueryConfig);
  const results = answer as pg.QueryResult[];
  return results.slice(-1 - statements.length, -1).map(({ rows }) => rows as AskedRows);
}
