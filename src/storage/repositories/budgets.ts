import { sql } from 'kysely';
import pg from 'pg';
import type { Database, Tx } from '../db.ts';

/** Terms of one ledger as the database keeps them. */
export interface StoredTerms {
  readonly ledger: string;
  readonly slot: string;
  readonly maxNano: bigint;
  readonly extraNano: bigint;
  /** Milliseconds since the epoch; null with no temporary increase. */
  readonly extraUntilMs: number | null;
  readonly duration: string | null;
  readonly resetAnchorMs: number;
  readonly models: readonly string[] | null;
}

/** Replaces the terms of a payer. Empty: it has no budget any more; what its ledgers have counted stays. */
export async function storeBudgetTerms(tx: Tx, payer: string, terms: readonly StoredTerms[]): Promise<void> {
  await sql`
    delete from claviger.budget_terms
     where payer = ${payer} and ledger <> all (${terms.map(({ ledger }) => ledger)}::text[])
  `.execute(tx);
  for (const { ledger, slot, maxNano, extraNano, extraUntilMs, duration, resetAnchorMs, models } of terms) {
    await sql`
      insert into claviger.budget_terms
             (ledger, payer, slot, max_nano, extra_nano, extra_until, duration, reset_anchor_ms, models)
      values (${ledger}, ${payer}, ${slot}, ${maxNano}, ${extraNano}, to_timestamp(${extraUntilMs}::float8 / 1000), ${duration},
              ${resetAnchorMs}, ${models})
      on conflict (ledger) do update set
        max_nano = excluded.max_nano, extra_nano = excluded.extra_nano, extra_until = excluded.extra_until,
        duration = excluded.duration, reset_anchor_ms = excluded.reset_anchor_ms, models = excluded.models
    `.execute(tx);
  }
}

/** A wish with everything that the database needs to know of it; amounts are decimal strings. */
export interface LedgerWish {
  readonly ledger: string;
  readonly template: string | null;
  readonly payer: string;
  readonly slot: string;
  readonly models: readonly string[] | null;
  readonly duration: string | null;
  readonly periodStartMs: number;
  readonly periodEndMs: number | null;
  readonly needNano: string;
  readonly wantNano: string;
  readonly ratePerMinuteNano: string;
  readonly offlineNano: string;
  readonly termsMaxNano: string | null;
  /** Only of a starter lease: what a call of the ledger costs on average. */
  readonly averageNano: string | null;
}

export interface AskInput {
  readonly gatewayId: string;
  readonly incarnation: string;
  readonly ask: number;
  readonly wishes: readonly LedgerWish[];
  readonly returns: readonly unknown[];
  readonly declares: readonly unknown[] | null;
}

export interface StoredGrant {
  readonly ledger: string;
  readonly periodStartMs: number;
  readonly periodEndMs: number | null;
  readonly grantedNano: string;
  readonly refusal: string | null;
  readonly maxNano: string;
  readonly settledNano: string;
}

export type StoredReply =
  | {
      readonly ok: true;
      readonly ask: number;
      readonly grants: readonly StoredGrant[];
      readonly recalled: readonly { readonly ledger: string; readonly periodStartMs: number }[];
      readonly closed: readonly { readonly ledger: string; readonly periodStartMs: number }[];
    }
  | { readonly ok: false; readonly cursor: number; readonly declare: boolean };

/** One ask, exactly once by its number, in one round trip: a call may be waiting for it at the other side of an ocean. */
export async function takeLeaseAsk(
  db: Database,
  { gatewayId, incarnation, ask, wishes, returns, declares }: AskInput,
): Promise<{ reply: StoredReply; nowMs: number }> {
  const json = (value: unknown): string =>
    value === null ? 'null::jsonb' : `${pg.escapeLiteral(JSON.stringify(value))}::jsonb`;
  const [rows] = await db.tell([
    `select claviger.take_lease_ask(${pg.escapeLiteral(gatewayId)}, ${pg.escapeLiteral(incarnation)}, ${ask}, ${json(wishes)},
            ${json(returns)}, ${json(declares)}) as reply,
            (extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms`,
  ]);
  const { reply, now_ms } = rows![0]! as { reply: StoredReply; now_ms: bigint };
  return { reply, nowMs: Number(now_ms) };
}

/** What the records of a stretch of a usage log are charged to. */
export interface ChargeSum {
  readonly ledger: string;
  readonly periodStartMs: number;
  readonly costNano: bigint;
  /** The part of it that the pot of the gateway process paid. */
  readonly leasedNano: bigint;
  readonly calls: number;
}

export async function settleCharges(
  tx: Tx,
  { gatewayId, incarnation }: { readonly gatewayId: string; readonly incarnation: string },
  sums: readonly ChargeSum[],
): Promise<void> {
  if (sums.length === 0) return;
  await sql`
    select claviger.settle_charges(${gatewayId}, ${incarnation}, ${sums.map((sum) => sum.ledger)}::text[],
      (select array_agg(to_timestamp(ms / 1000.0) order by at)
         from unnest(${sums.map((sum) => sum.periodStartMs)}::bigint[]) with ordinality as t (ms, at)),
      ${sums.map((sum) => String(sum.costNano))}::bigint[], ${sums.map((sum) => String(sum.leasedNano))}::bigint[],
      ${sums.map((sum) => sum.calls)}::bigint[])
  `.execute(tx);
}

export interface CurrentLedger {
  readonly ledger: string;
  readonly payer: string;
  readonly models: readonly string[] | null;
  readonly periodStartMs: number;
}

/** The ledgers of these payers whose period is now. */
export async function currentLedgersOf(tx: Tx, payers: readonly string[]): Promise<CurrentLedger[]> {
  if (payers.length === 0) return [];
  const { rows } = await sql<{ ledger: string; payer: string; models: string[] | null; start_ms: bigint }>`
    select ledger, payer, models, (extract(epoch from period_start) * 1000)::bigint as start_ms
      from claviger.budget_ledger
     where payer = any (${payers}::text[]) and period_start <= now() and period_end > now()
  `.execute(tx);
  return rows.map(({ ledger, payer, models, start_ms }) => ({
    ledger,
    payer,
    models,
    periodStartMs: Number(start_ms),
  }));
}

export interface SpentLedger {
  readonly ledger: string;
  readonly payer: string;
  readonly slot: string;
  readonly models: readonly string[] | null;
  readonly duration: string | null;
  readonly resetAnchorMs: number;
  readonly averageNano: bigint;
  readonly template: string | null;
}

/** Ledgers with spend in the last days of which a gateway process holds nothing, the newest spend first. */
export async function ledgersToStart(
  tx: Tx,
  { gatewayId, incarnation, days, limit }: { gatewayId: string; incarnation: string; days: number; limit: number },
): Promise<SpentLedger[]> {
  const { rows } = await sql<{
    ledger: string;
    payer: string;
    slot: string;
    models: string[] | null;
    duration: string | null;
    reset_anchor_ms: bigint;
    average_nano: bigint;
  }>`
    select l.ledger, l.payer, l.slot, t.models, t.duration, t.reset_anchor_ms, l.average_nano
      from (
        select distinct on (ledger) ledger, payer, slot, greatest(1, settled_nano / greatest(1, calls)) as average_nano, last_spend_at
          from claviger.budget_ledger
         where last_spend_at > now() - make_interval(days => ${days}) and calls > 0
         order by ledger, period_start desc
      ) l
      join claviger.budget_terms t on t.ledger = l.ledger
     where not exists (
       select from claviger.budget_pot p join claviger.budget_ledger c using (ledger, period_start)
        where p.ledger = l.ledger and p.gateway_id = ${gatewayId} and p.incarnation = ${incarnation}
          and p.amount_nano > p.settled_nano and c.period_end > now())
     order by l.last_spend_at desc
     limit ${limit}
  `.execute(tx);
  return rows.map((row) => ({
    ledger: row.ledger,
    payer: row.payer,
    slot: row.slot,
    models: row.models,
    duration: row.duration,
    resetAnchorMs: Number(row.reset_anchor_ms),
    averageNano: row.average_nano,
    template: null,
  }));
}

/** Ledgers as people see them: of one payer, current periods. */
export interface LedgerView {
  readonly ledger: string;
  readonly slot: string;
  readonly maxNano: bigint | null;
  readonly settledNano: bigint;
  readonly escrowNano: bigint;
  /** Of that, held by gateway processes that have not been heard of for a while. */
  readonly strandedNano: bigint;
  readonly periodStartMs: number;
  readonly periodEndMs: number | null;
}

/** A gateway process that is silent for this long holds stranded money. */
export const STRANDED_AFTER_S = 60;

export async function ledgersOfPayers(tx: Tx, payers: readonly string[]): Promise<(LedgerView & { payer: string })[]> {
  const { rows } = await sql<{
    payer: string;
    ledger: string;
    slot: string;
    max_nano: bigint | null;
    settled_nano: bigint;
    escrow_nano: bigint;
    stranded_nano: bigint;
    start_ms: bigint;
    end_ms: bigint | null;
  }>`
    select l.payer, l.ledger, l.slot, l.settled_nano, l.escrow_nano,
           t.max_nano + case when t.extra_until > now() then t.extra_nano else 0 end as max_nano,
           coalesce((
             select sum(p.amount_nano - p.settled_nano)
               from claviger.budget_pot p left join claviger.gateway g on g.gateway_id = p.gateway_id
              where p.ledger = l.ledger and p.period_start = l.period_start and p.amount_nano > p.settled_nano
                and (g.heard_at is null or g.heard_at < now() - make_interval(secs => ${STRANDED_AFTER_S}))
           ), 0)::bigint as stranded_nano,
           (extract(epoch from l.period_start) * 1000)::bigint as start_ms,
           case when l.period_end = 'infinity' then null else (extract(epoch from l.period_end) * 1000)::bigint end as end_ms
      from claviger.budget_ledger l left join claviger.budget_terms t on t.ledger = l.ledger
     where l.payer = any (${payers}::text[]) and l.period_start <= now() and l.period_end > now()
     order by l.ledger
  `.execute(tx);
  return rows.map((row) => ({
    payer: row.payer,
    ledger: row.ledger,
    slot: row.slot,
    maxNano: row.max_nano,
    settledNano: row.settled_nano,
    escrowNano: row.escrow_nano,
    strandedNano: row.stranded_nano,
    periodStartMs: Number(row.start_ms),
    periodEndMs: row.end_ms === null ? null : Number(row.end_ms),
  }));
}

/** All money that silent gateway processes hold, in periods that are not over. */
export async function strandedNano(tx: Tx): Promise<bigint> {
  const { rows } = await sql<{ nano: bigint }>`
    select coalesce(sum(p.amount_nano - p.settled_nano), 0)::bigint as nano
      from claviger.budget_pot p
      join claviger.budget_ledger l using (ledger, period_start)
      left join claviger.gateway g on g.gateway_id = p.gateway_id
     where p.amount_nano > p.settled_nano and l.period_end > now()
       and (g.heard_at is null or g.heard_at < now() - make_interval(secs => ${STRANDED_AFTER_S}))
  `.execute(tx);
  return rows[0]!.nano;
}

/** Takes what the processes of an instance hold: written off as spent, or released. Returns how much it was. */
export async function closePots(tx: Tx, instanceId: string, writeOff: boolean): Promise<bigint> {
  const { rows } = await sql<{ held_nano: bigint }>`
    select coalesce(sum(claviger.close_pot(p.ledger, p.period_start, p.gateway_id, p.incarnation, ${writeOff})), 0)::bigint as held_nano
      from (
        select * from claviger.budget_pot
         where split_part(gateway_id, '/', 1) = ${instanceId} and amount_nano > settled_nano
         order by ledger, period_start
      ) p
  `.execute(tx);
  return rows[0]!.held_nano;
}
