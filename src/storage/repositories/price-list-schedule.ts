import { sql } from 'kysely';
import type { Tx } from '../db.ts';

export interface PriceListSchedule {
  readonly hours: number;
  readonly lastAt: Date;
}

/** Null: there is none. */
export async function readPriceListSchedule(tx: Tx): Promise<PriceListSchedule | null> {
  const { rows } = await sql<{ hours: number; last_at: Date }>`
    select hours, last_at from claviger.price_list_schedule
  `.execute(tx);
  const row = rows[0];
  return row === undefined ? null : { hours: row.hours, lastAt: row.last_at };
}

/** From now on every `hours`; 0 ends it. */
export async function setPriceListSchedule(tx: Tx, hours: number, setBy: string | null): Promise<void> {
  if (hours === 0) {
    await sql`delete from claviger.price_list_schedule`.execute(tx);
    return;
  }
  await sql`
    insert into claviger.price_list_schedule (id, hours, set_by) values (1, ${hours}, ${setBy})
    on conflict (id) do update set hours = excluded.hours, set_by = excluded.set_by, set_at = now(), last_at = now()
  `.execute(tx);
}

/** True for the one who asks first when it is time; it is then time again only after another interval. */
export async function takePriceListTurn(tx: Tx): Promise<boolean> {
  const { rows } = await sql`
    update claviger.price_list_schedule set last_at = now()
     where last_at + hours * interval '1 hour' <= now()
    returning id
  `.execute(tx);
  return rows.length > 0;
}

export async function isPriceListDue(tx: Tx): Promise<boolean> {
  const { rows } = await sql<{ due: boolean }>`
    select last_at + hours * interval '1 hour' <= now() as due from claviger.price_list_schedule
  `.execute(tx);
  return rows[0]?.due === true;
}
