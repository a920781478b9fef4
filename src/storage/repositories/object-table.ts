/** Rows that are whole objects: one table per kind, each with an id, the object's own revision and what it has spent. */
import { type RawBuilder, sql } from 'kysely';
import type { AccountKind } from '../../domain/account.ts';
import type { JsonValue } from '../../domain/virtual-key.ts';
import type { Tx } from '../db.ts';

export interface StoredObject<T> {
  readonly object: T;
  readonly objectRev: number;
  readonly spendNano: bigint;
}

/** How a field is kept. `int8` is read as a number: limits are safe integers. */
export type ColumnKind = 'text' | 'number' | 'int8' | 'boolean' | 'texts' | 'json' | 'time';

export interface Page {
  /** Over `o`, the row, and `o.spend`, nano-dollars. */
  readonly where: readonly RawBuilder<unknown>[];
  readonly orderBy: RawBuilder<unknown>;
  readonly limit: number;
  readonly offset: number;
}

export interface ObjectTable<T> {
  idOf(object: T): string;
  find(tx: Tx, id: string): Promise<StoredObject<T> | null>;
  /** Those that exist, in order of the id. */
  findAll(tx: Tx, ids: readonly string[]): Promise<StoredObject<T>[]>;
  /** The same, locked until the transaction ends; in order of the id, so that two writers can not deadlock. */
  lock(tx: Tx, ids: readonly string[], mode?: 'update' | 'share'): Promise<StoredObject<T>[]>;
  /** Throws a unique violation. Spend starts at `spendNano`, whatever was there. */
  insert(tx: Tx, object: T, objectRev: number, spendNano: bigint): Promise<void>;
  /** Replaces the row of an object that `lock` returned. Throws a unique violation. */
  update(tx: Tx, object: T, objectRev: number): Promise<void>;
  /** What it has spent stays countable: usage may still arrive. */
  remove(tx: Tx, id: string): Promise<void>;
  setSpend(tx: Tx, id: string, spendNano: bigint): Promise<void>;
  /** The newest, and the number of all that there are. */
  newest(tx: Tx, limit: number): Promise<{ rows: StoredObject<T>[]; total: number }>;
  /** One page, and the number of all that match. */
  page(tx: Tx, page: Page): Promise<{ rows: StoredObject<T>[]; total: number }>;
}

export interface ObjectTableOptions<T> {
  /** In schema claviger. */
  readonly table: string;
  /** Of its entries in `account_spend`; null: it never spends. */
  readonly spendKind: AccountKind | null;
  readonly idColumn: string;
  readonly idOf: (object: T) => string;
  readonly columns: Readonly<Record<keyof T & string, ColumnKind>>;
}

export function objectTable<T>({ table, spendKind, idColumn, idOf, columns }: ObjectTableOptions<T>): ObjectTable<T> {
  const names = Object.keys(columns) as (keyof T & string)[];
  const idIsField = (names as string[]).includes(idColumn);
  const id = sql.ref(`o.${idColumn}`);
  const from = sql`from ${sql.table(`claviger.${table}`)} o`;
  const select = sql`select o.*, ${
    spendKind === null
      ? sql`0::bigint`
      : sql`coalesce((select s.spend_nano from claviger.account_spend s where s.kind = ${spendKind} and s.id = ${id}), 0)`
  } as spend ${from}`;

  const columnValues = (object: T, objectRev: number): [string, unknown][] => [
    ...names.map((name): [string, unknown] => [name, toColumn(columns[name], object[name] as JsonValue)]),
    ['object_rev', objectRev],
    ...(idIsField ? [] : [[idColumn, idOf(object)] as [string, unknown]]),
  ];
  const stored = (row: Row): StoredObject<T> => ({
    object: Object.fromEntries(names.map((name) => [name, fromColumn(columns[name], row[name])])) as T,
    objectRev: Number(row.object_rev),
    spendNano: row.spend as bigint,
  });
  const run = async (tx: Tx, query: RawBuilder<unknown>) =>
    (await query.execute(tx)).rows.map((row) => stored(row as Row));

  const rows: ObjectTable<T> = {
    idOf,
    async find(tx, wanted) {
      return (await run(tx, sql`${select} where ${id} = ${wanted}`))[0] ?? null;
    },
    async findAll(tx, ids) {
      return ids.length === 0 ? [] : run(tx, sql`${select} where ${id} = any (${[...ids]}::text[]) order by ${id}`);
    },
    async lock(tx, ids, mode = 'update') {
      if (ids.length === 0) return [];
      const strength = mode === 'update' ? sql`for update of o` : sql`for share of o`;
      return run(tx, sql`${select} where ${id} = any (${[...ids]}::text[]) order by ${id} ${strength}`);
    },
    async insert(tx, object, objectRev, spendNano) {
      const values = columnValues(object, objectRev);
      const into = sql.join(values.map(([name]) => sql.ref(name)));
      await sql`
        insert into ${sql.table(`claviger.${table}`)} (${into}) values (${sql.join(values.map(([, value]) => sql`${value}`))})
      `.execute(tx);
      await rows.setSpend(tx, idOf(object), spendNano);
    },
    async update(tx, object, objectRev) {
      const set = columnValues(object, objectRev)
        .filter(([name]) => name !== idColumn)
        .map(([name, value]) => sql`${sql.ref(name)} = ${value}`);
      await sql`
        update ${sql.table(`claviger.${table}`)} set ${sql.join(set)} where ${sql.ref(idColumn)} = ${idOf(object)}
      `.execute(tx);
    },
    async remove(tx, wanted) {
      await sql`delete ${from} where ${id} = ${wanted}`.execute(tx);
    },
    async setSpend(tx, wanted, spendNano) {
      if (spendKind === null) return;
      await sql`
        insert into claviger.account_spend (kind, id, spend_nano) values (${spendKind}, ${wanted}, ${spendNano})
        on conflict (kind, id) do update set spend_nano = excluded.spend_nano
      `.execute(tx);
    },
    newest(tx, limit) {
      return rows.page(tx, { where: [], orderBy: sql`o.created_at desc`, limit, offset: 0 });
    },
    async page(tx, { where, orderBy, limit, offset }) {
      const all = sql`from (${select}) o where ${sql.join([sql`true`, ...where], sql` and `)}`;
      const count = await sql<{ total: bigint }>`select count(*) as total ${all}`.execute(tx);
      const found = await run(tx, sql`select o.* ${all} order by ${orderBy}, o.id limit ${limit} offset ${offset}`);
      return { rows: found, total: Number(count.rows[0]!.total) };
    },
  };
  return rows;
}

type Row = Record<string, unknown>;

function toColumn(kind: ColumnKind, value: JsonValue): unknown {
  if (kind !== 'json' || value === null) return value;
  return JSON.stringify(value);
}

function fromColumn(kind: ColumnKind, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (kind === 'int8') return Number(value);
  return kind === 'time' ? (value as Date).toISOString() : value;
}
