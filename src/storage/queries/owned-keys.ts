import { type RawBuilder, sql } from 'kysely';
import type { VirtualKey } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';
import { type KeyRow, keyFromRow, type StoredKey } from '../repositories/key-columns.ts';

/** Whose keys. Several conditions all hold. */
export interface KeyOwners {
  readonly teamIds?: readonly string[];
  readonly userIds?: readonly string[];
  readonly organizationIds?: readonly string[];
}

/** Tokens in their order, at most `limit`. */
export async function tokensOfOwners(tx: Tx, owners: KeyOwners, limit: number): Promise<string[]> {
  const { rows } = await sql<{ token: string }>`
    select token from claviger.virtual_key k where ${condition(owners)} order by token limit ${limit}
  `.execute(tx);
  return rows.map((row) => row.token);
}

/** Newest first, at most `limit`; keys of browser sessions are left out, as in every list. */
export async function keysOfOwners(tx: Tx, owners: KeyOwners, limit: number): Promise<StoredKey[]> {
  const { rows } = await sql<KeyRow & { spend: bigint }>`
    select k.*, coalesce(s.spend_nano, 0) as spend
      from claviger.virtual_key k left join claviger.key_spend s on s.token = k.token
     where ${condition(owners)} and k.team_id is distinct from 'litellm-dashboard'
     order by k.created_at desc, k.id desc limit ${limit}
  `.execute(tx);
  return rows.map((row) => ({ key: keyFromRow(row), objectRev: Number(row.object_rev), spendNano: row.spend }));
}

export async function keyCountsOfUsers(tx: Tx, userIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await sql<{ user_id: string; keys: bigint }>`
    select user_id, count(*) as keys from claviger.virtual_key
     where user_id = any (${[...userIds]}::text[]) and team_id is distinct from 'litellm-dashboard' group by user_id
  `.execute(tx);
  return new Map(rows.map((row) => [row.user_id, Number(row.keys)]));
}

export interface Guaranteed {
  /** Sums over the keys that have the guarantee; null: none has. */
  readonly rpm: number | null;
  readonly tpm: number | null;
  readonly modelRpm: Readonly<Record<string, number>>;
  readonly modelTpm: Readonly<Record<string, number>>;
}

/** What the keys of a team or organization were guaranteed, without the one key. */
export async function guaranteedTo(
  tx: Tx,
  column: 'team_id' | 'organization_id',
  id: string,
  without: VirtualKey['token'],
): Promise<Guaranteed> {
  const { rows } = await sql<{ name: keyof Guaranteed; model: string; total: number }>`
    with k as (
      select * from claviger.virtual_key k where ${sql.ref(`k.${column}`)} = ${id} and k.token <> ${without}
         and 'guaranteed_throughput' in (k.metadata ->> 'rpm_limit_type', k.metadata ->> 'tpm_limit_type')
    ), rpm as (select * from k where metadata ->> 'rpm_limit_type' = 'guaranteed_throughput'),
       tpm as (select * from k where metadata ->> 'tpm_limit_type' = 'guaranteed_throughput')
    select 'rpm' as name, '' as model, sum(rpm_limit)::float8 as total from rpm
    union all select 'tpm', '', sum(tpm_limit)::float8 from tpm
    union all select 'modelRpm', m.key, sum(m.value::float8)::float8
      from rpm, ${perModel('model_rpm_limit')} group by m.key
    union all select 'modelTpm', m.key, sum(m.value::float8)::float8
      from tpm, ${perModel('model_tpm_limit')} group by m.key
  `.execute(tx);
  const total = (name: string) => rows.find((row) => row.name === name)?.total ?? null;
  const perName = (name: string) =>
    Object.fromEntries(rows.filter((row) => row.name === name).map((row) => [row.model, row.total]));
  return { rpm: total('rpm'), tpm: total('tpm'), modelRpm: perName('modelRpm'), modelTpm: perName('modelTpm') };
}

/** Only what is an object of numbers: rows may come from elsewhere. */
function perModel(name: string): RawBuilder<unknown> {
  return sql`lateral (
    select e.key, e.value #>> '{}' as value
      from jsonb_each(case when jsonb_typeof(metadata -> ${name}::text) = 'object' then metadata -> ${name}::text else '{}' end) e
     where jsonb_typeof(e.value) = 'number'
  ) m`;
}

function condition({ teamIds, userIds, organizationIds }: KeyOwners): RawBuilder<unknown> {
  return sql.join(
    [
      sql`true`,
      ...(teamIds === undefined ? [] : [sql`k.team_id = any (${[...teamIds]}::text[])`]),
      ...(userIds === undefined ? [] : [sql`k.user_id = any (${[...userIds]}::text[])`]),
      ...(organizationIds === undefined ? [] : [sql`k.organization_id = any (${[...organizationIds]}::text[])`]),
    ],
    sql` and `,
  );
}
