import type { Books } from './check-books.ts';

export type QueryAll = (statements: readonly string[]) => Promise<Record<string, unknown>[][]>;

/** What the database has of all calls of a model; `query` runs all statements in one snapshot. */
export async function readBooks(query: QueryAll, model: string): Promise<Omit<Books, 'completed' | 'billed'>> {
  const [rows, keys, daily, cursors, dead] = await query([
    `select request_id, call_id, token, model, prompt_tokens, completion_tokens, estimated, cost_nano, gateway_id, incarnation,
       seq from claviger.spend_log where model_group = '${model}'`,
    'select token, spend_nano from claviger.key_spend where spend_nano <> 0',
    `select coalesce(sum(spend_nano), 0)::bigint as spend, coalesce(sum(requests), 0)::bigint as requests,
       coalesce(sum(prompt_tokens), 0)::bigint as prompt, coalesce(sum(completion_tokens), 0)::bigint as completion
       from claviger.daily_spend`,
    'select gateway_id, incarnation, seq from claviger.usage_cursor',
    'select count(*) as count from claviger.usage_dead_letter',
  ]);
  const sums = daily?.[0] ?? {};
  return {
    rows: (rows ?? []).map((row) => ({
      requestId: `${row.request_id}`,
      callId: `${row.call_id}`,
      token: `${row.token}`,
      model: `${row.model}`,
      prompt: Number(row.prompt_tokens),
      completion: Number(row.completion_tokens),
      estimated: row.estimated === true,
      costNano: BigInt(`${row.cost_nano}`),
      gatewayId: `${row.gateway_id}`,
      incarnation: `${row.incarnation}`,
      seq: BigInt(`${row.seq}`),
    })),
    keySpendNano: new Map((keys ?? []).map((row) => [`${row.token}`, BigInt(`${row.spend_nano}`)])),
    daily: {
      spendNano: BigInt(`${sums.spend}`),
      requests: BigInt(`${sums.requests}`),
      prompt: BigInt(`${sums.prompt}`),
      completion: BigInt(`${sums.completion}`),
    },
    cursors: (cursors ?? []).map((row) => ({
      gatewayId: `${row.gateway_id}`,
      incarnation: `${row.incarnation}`,
      seq: BigInt(`${row.seq}`),
    })),
    deadLetters: Number(dead?.[0]?.count),
  };
}
