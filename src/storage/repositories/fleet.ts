import { sql } from 'kysely';
import type { Tx } from '../db.ts';

/**
 * A gateway process as its control process knows it. Moments travel as ages in milliseconds and become times of the database, so that the
 * clocks of the instances play no part.
 */
export interface GatewayReport {
  readonly gatewayId: string;
  readonly instanceId: string;
  readonly session: string;
  readonly region: string;
  readonly role: string;
  readonly version: string;
  readonly protocol: number;
  readonly publicUrl: string | null;
  readonly uptimeMs: number | null;
  readonly epoch: number;
  readonly rev: number;
  readonly appliedAgeMs: number;
  /** Of the newest witness that it has confirmed; null: none, or not known. */
  readonly witnessAgeMs: number | null;
  readonly heardAgeMs: number;
  readonly stats: object;
}

export interface GatewayDeparture {
  readonly gatewayId: string;
  readonly session: string;
  readonly reason: DepartureReason;
  readonly ageMs: number;
}

/**
 * drained: it said so and took nothing new. connection lost: it may be serving all the same. not heard of: so may it, and its connection is
 * still there.
 */
export type DepartureReason = 'drained' | 'connection lost' | 'not heard of';

export type GatewayCommand = 'drain' | 'reload-prices' | 'resync';

export interface GivenCommand {
  readonly gatewayId: string;
  readonly command: GatewayCommand;
}

/**
 * Writes rows of gateway processes and, where an acknowledged revision moved, when it did. One statement whatever their number. A row that
 * another control process has heard of since is left to that one.
 */
export async function reportGateways(tx: Tx, reportedBy: string, reports: readonly GatewayReport[]): Promise<void> {
  if (reports.length === 0) return;
  await sql`
    with given as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(reports)}::jsonb) as r (
        "gatewayId" text, "instanceId" text, session text, region text, role text, version text, protocol integer,
        "publicUrl" text, "uptimeMs" float8, epoch integer, rev bigint, "appliedAgeMs" float8, "witnessAgeMs" float8,
        "heardAgeMs" float8, stats jsonb)
    ), known as (
      select g.gateway_id, g.epoch, g.rev from claviger.gateway g join given on given."gatewayId" = g.gateway_id
    ), written as (
      insert into claviger.gateway as g (
        gateway_id, instance_id, session, region, role, version, protocol, public_url, joined, started_at, epoch, rev,
        applied_at, witness_at, stats, reported_by, heard_at, left_at, left_reason)
      select "gatewayId", "instanceId", session, region, role, version, protocol, "publicUrl",
             exists (select 1 from claviger.enrolled_instance e where e.instance_id = "instanceId"),
             ${ago('"uptimeMs"')}, epoch, rev, ${ago('"appliedAgeMs"')}, ${ago('"witnessAgeMs"')}, stats, ${reportedBy},
             ${ago('"heardAgeMs"')}, null, null
        from given order by "gatewayId"
      on conflict (gateway_id) do update set
        instance_id = excluded.instance_id, session = excluded.session, region = excluded.region, role = excluded.role,
        version = excluded.version, protocol = excluded.protocol, public_url = excluded.public_url,
        joined = excluded.joined, started_at = coalesce(excluded.started_at, g.started_at), epoch = excluded.epoch,
        rev = excluded.rev, applied_at = excluded.applied_at,
        witness_at = case when g.session = excluded.session then greatest(g.witness_at, excluded.witness_at)
                          else excluded.witness_at end,
        stats = excluded.stats, reported_by = excluded.reported_by, heard_at = excluded.heard_at, left_at = null,
        left_reason = null
      where g.reported_by = excluded.reported_by or excluded.heard_at >= g.heard_at
      returning gateway_id
    )
    insert into claviger.change_delivery (gateway_id, epoch, to_rev, from_rev, applied_at)
    select given."gatewayId", given.epoch, given.rev, coalesce(known.rev, 0), ${ago('given."appliedAgeMs"')}
      from given
      join written on written.gateway_id = given."gatewayId"
      left join known on known.gateway_id = given."gatewayId" and known.epoch = given.epoch
     where given.rev > coalesce(known.rev, 0)
    on conflict do nothing
  `.execute(tx);
}

/** The rest of the transaction is committed without waiting for the disk: reports are for people, and are written again. */
export async function leaveTheDiskTime(tx: Tx): Promise<void> {
  await sql`set local synchronous_commit = off`.execute(tx);
}

/** Only where the row is still about the same process, as this control process heard it. */
export async function reportDepartures(
  tx: Tx,
  reportedBy: string,
  departures: readonly GatewayDeparture[],
): Promise<void> {
  if (departures.length === 0) return;
  await sql`
    update claviger.gateway g set left_at = ${ago('d."ageMs"')}, left_reason = d.reason
      from jsonb_to_recordset(${JSON.stringify(departures)}::jsonb)
             as d ("gatewayId" text, session text, reason text, "ageMs" float8)
     where g.gateway_id = d."gatewayId" and g.session = d.session and g.reported_by = ${reportedBy}
  `.execute(tx);
}

/** A command that nobody took for so long is void: a gateway process that comes back tomorrow must not drain then. */
export const COMMAND_VALID_SECONDS = 60;

/** Asks gateway processes. */
export async function giveCommand(tx: Tx, gatewayIds: readonly string[], command: GatewayCommand): Promise<void> {
  if (gatewayIds.length === 0) return;
  await tx
    .updateTable('claviger.gateway')
    .set({ command, command_at: sql<string>`now()` })
    .where('gateway_id', 'in', [...gatewayIds])
    .execute();
}

export async function hasCommands(tx: Tx, reportedBy: string): Promise<boolean> {
  const row = await tx
    .selectFrom('claviger.gateway')
    .select('gateway_id')
    .where('reported_by', '=', reportedBy)
    .where('command', 'is not', null)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Takes what is asked of gateway processes that this control process reports; nobody else gets it after that. */
export async function takeCommands(tx: Tx, reportedBy: string): Promise<GivenCommand[]> {
  const { rows } = await sql<{ gateway_id: string; command: GatewayCommand; valid: boolean }>`
    with asked as (
      select gateway_id, command, command_at > now() - make_interval(secs => ${COMMAND_VALID_SECONDS}) as valid
        from claviger.gateway
       where reported_by = ${reportedBy} and command is not null
       order by gateway_id
         for update skip locked
    )
    update claviger.gateway g set command = null, command_at = null from asked where g.gateway_id = asked.gateway_id
    returning asked.gateway_id, asked.command, asked.valid
  `.execute(tx);
  return rows.filter((row) => row.valid).map((row) => ({ gatewayId: row.gateway_id, command: row.command }));
}

/** Forgets an instance: its gateway processes and what they had applied when. Returns the number of gateway processes. */
export async function forgetInstance(tx: Tx, instanceId: string): Promise<number> {
  const rows = await tx
    .deleteFrom('claviger.gateway')
    .where('instance_id', '=', instanceId)
    .returning('gateway_id')
    .execute();
  const ids = rows.map((row) => row.gateway_id);
  if (ids.length > 0) await tx.deleteFrom('claviger.change_delivery').where('gateway_id', 'in', ids).execute();
  return ids.length;
}

/** Deliveries are kept so long; so are gateway processes that have drained. */
export const DELIVERY_DAYS_KEPT = 7;
/** A gateway process that nobody heard of for so long is forgotten, whatever became of it. */
export const LOST_DAYS_KEPT = 30;
/** Deletes at most so many rows at once, so that a transaction stays short. */
export const CLEAN_UP_ROWS_MAX = 5_000;

/**
 * Deletes what is too old. Of many control processes that try at the same time one does it. Returns the rows deleted; null when another
 * one was at it.
 */
export async function cleanUpFleet(tx: Tx): Promise<number | null> {
  const { rows: locks } = await sql<{ mine: boolean }>`
    select pg_try_advisory_xact_lock(hashtextextended('claviger/fleet-clean-up', 0)) as mine
  `.execute(tx);
  if (locks[0]?.mine !== true) return null;
  const { rows } = await sql<{ deleted: number }>`
    with old as (
      delete from claviger.change_delivery d where d.ctid = any (array(
        select ctid from claviger.change_delivery
         where applied_at < now() - make_interval(days => ${DELIVERY_DAYS_KEPT}) limit ${CLEAN_UP_ROWS_MAX}))
      returning 1
    ), gone as (
      delete from claviger.gateway g
       where (g.left_reason = 'drained' and g.left_at < now() - make_interval(days => ${DELIVERY_DAYS_KEPT}))
          or g.heard_at < now() - make_interval(days => ${LOST_DAYS_KEPT})
      returning 1
    )
    select ((select count(*) from old) + (select count(*) from gone))::integer as deleted
  `.execute(tx);
  return rows[0]!.deleted;
}

/** A moment that lies so many milliseconds (a column or expression of ours) before now. */
function ago(ageMs: string) {
  return sql.raw(`now() - ${ageMs} * interval '1 millisecond'`);
}
