import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../db.ts';
import { CONTROL_ID_SUFFIX } from '../repositories/heartbeat.ts';

/** Gateway processes that are read at most; of more, those heard of last. */
export const FLEET_GATEWAYS_MAX = 10_000;

/** A row of the fleet. Times are milliseconds since the epoch on the clock of the database. */
export interface FleetRow {
  readonly gatewayId: string;
  readonly instanceId: string;
  readonly session: string;
  readonly region: string;
  readonly role: string;
  readonly version: string;
  readonly protocol: number;
  readonly publicUrl: string | null;
  readonly joined: boolean;
  readonly startedAtMs: number | null;
  readonly epoch: number;
  readonly rev: number;
  readonly appliedAtMs: number;
  readonly witnessAtMs: number | null;
  /** As its control process wrote it; fields may be missing. */
  readonly stats: unknown;
  readonly heardAtMs: number;
  /** When the control process that wrote this said last that it is there; null: it never did, or a day ago. */
  readonly reporterAtMs: number | null;
  readonly leftAtMs: number | null;
  readonly leftReason: string | null;
  readonly command: string | null;
  /** When the first change that it has not applied was made; null: it has all, or the log does not reach so far back. */
  readonly behindSinceMs: number | null;
}

export interface FleetReading {
  /** Now, on the clock of the database. */
  readonly nowMs: number;
  /** Newest revision of the database. */
  readonly head: { readonly epoch: number; readonly rev: number };
  readonly rows: readonly FleetRow[];
}

export async function readGateways(tx: Tx): Promise<FleetRow[]> {
  const { rows } = await sql<FleetColumns & { behind_since_ms: number | null }>`
    select ${COLUMNS}, ${milliseconds('c.at')} as behind_since_ms
      from claviger.gateway g
      left join claviger.change_log c on c.epoch = g.epoch and c.rev = g.rev + 1
     order by g.heard_at desc
     limit ${FLEET_GATEWAYS_MAX}
  `.execute(tx);
  return rows.map((row) => ({ ...rowFrom(row), behindSinceMs: row.behind_since_ms }));
}

/** A gateway process and when it had applied a revision; null: not yet, or nobody knows when any more. */
export interface DeliveryRow extends FleetRow {
  readonly hasIt: boolean;
  readonly deliveredAtMs: number | null;
}

/** How far a revision has come. */
export async function readDelivery(
  tx: Tx,
  { epoch, rev }: { readonly epoch: number; readonly rev: number },
): Promise<{ readonly nowMs: number; readonly rows: readonly DeliveryRow[] }> {
  const { nowMs } = await readMoment(tx);
  const { rows } = await sql<FleetColumns & { has_it: boolean; delivered_at_ms: number | null }>`
    select ${COLUMNS}, (g.epoch, g.rev) >= (${epoch}::integer, ${rev}::bigint) as has_it,
           ${milliseconds('d.applied_at')} as delivered_at_ms
      from claviger.gateway g
      left join lateral (
        select applied_at from claviger.change_delivery
         where gateway_id = g.gateway_id and epoch = ${epoch} and to_rev >= ${rev} and from_rev < ${rev}
         order by to_rev limit 1
      ) d on true
     order by g.heard_at desc
     limit ${FLEET_GATEWAYS_MAX}
  `.execute(tx);
  return {
    nowMs,
    rows: rows.map((row) => ({
      ...rowFrom(row),
      behindSinceMs: null,
      hasIt: row.has_it,
      deliveredAtMs: row.delivered_at_ms,
    })),
  };
}

/** A gateway process that has not left and does not have a revision yet. */
export interface BehindRow {
  readonly gatewayId: string;
  readonly region: string;
  readonly epoch: number;
  readonly rev: number;
  readonly heardAgeMs: number;
  /** Since its control process said last that it is there; 0: nothing is known of it. */
  readonly reporterAgeMs: number;
  readonly leftReason: string | null;
}

/** Who does not have a revision; small as soon as most have it, so it can be asked often. */
export async function readBehind(
  tx: Tx,
  { epoch, rev }: { readonly epoch: number; readonly rev: number },
): Promise<BehindRow[]> {
  const { rows } = await sql<BehindRow>`
    select gateway_id as "gatewayId", region, epoch, rev::float8 as rev, left_reason as "leftReason",
           (extract(epoch from clock_timestamp() - heard_at) * 1000)::float8 as "heardAgeMs",
           coalesce(extract(epoch from clock_timestamp() - ${REPORTER_AT}) * 1000, 0)::float8 as "reporterAgeMs"
      from claviger.gateway g
     where (epoch, rev) < (${epoch}::integer, ${rev}::bigint) and left_reason is distinct from 'drained'
     order by heard_at desc
     limit ${FLEET_GATEWAYS_MAX}
  `.execute(tx);
  return rows;
}

/** Control processes that write to the database, newest first. */
export interface ControlRow {
  readonly controlId: string;
  readonly instanceId: string;
  readonly role: string;
  readonly region: string;
  readonly version: string;
  readonly atMs: number;
}

const CONTROLS_MAX = 10_000;

export async function readControls(tx: Tx): Promise<ControlRow[]> {
  const { rows } = await sql<ControlRow>`
    select control_id as "controlId", instance_id as "instanceId", role, region, version, ${milliseconds('at')} as "atMs"
      from claviger.control_heartbeat order by at desc limit ${CONTROLS_MAX}
  `.execute(tx);
  return rows;
}

/** When a control process last said that it is there; null: none ever did. */
export async function readNewestBeat(tx: Tx): Promise<number | null> {
  const { rows } = await sql<{ at_ms: number | null }>`
    select ${milliseconds('max(at)')} as at_ms from claviger.control_heartbeat
  `.execute(tx);
  return rows[0]?.at_ms ?? null;
}

export async function readMoment(tx: Tx): Promise<Pick<FleetReading, 'nowMs' | 'head'>> {
  const { rows } = await sql<{ now_ms: number; epoch: number; rev: number }>`
    select ${milliseconds('clock_timestamp()')} as now_ms, epoch, rev::float8 as rev from claviger.installation
  `.execute(tx);
  const { now_ms, epoch, rev } = rows[0]!;
  return { nowMs: now_ms, head: { epoch, rev } };
}

interface FleetColumns {
  readonly gateway_id: string;
  readonly instance_id: string;
  readonly session: string;
  readonly region: string;
  readonly role: string;
  readonly version: string;
  readonly protocol: number;
  readonly public_url: string | null;
  readonly joined: boolean;
  readonly started_at_ms: number | null;
  readonly epoch: number;
  readonly rev: number;
  readonly applied_at_ms: number;
  readonly witness_at_ms: number | null;
  readonly stats: unknown;
  readonly heard_at_ms: number;
  readonly reporter_at_ms: number | null;
  readonly left_at_ms: number | null;
  readonly left_reason: string | null;
  readonly command: string | null;
}

/** When the control process that wrote a row was there. */
const REPORTER_AT = sql.raw(
  `(select at from claviger.control_heartbeat where control_id = g.reported_by || '${CONTROL_ID_SUFFIX}')`,
);

const COLUMNS = sql`
  g.gateway_id, g.instance_id, g.session, g.region, g.role, g.version, g.protocol, g.public_url, g.joined,
  ${milliseconds('g.started_at')} as started_at_ms, g.epoch, g.rev::float8 as rev,
  ${milliseconds('g.applied_at')} as applied_at_ms, ${milliseconds('g.witness_at')} as witness_at_ms, g.stats,
  ${milliseconds('g.heard_at')} as heard_at_ms,
  (extract(epoch from ${REPORTER_AT}) * 1000)::float8 as reporter_at_ms, ${milliseconds('g.left_at')} as left_at_ms, g.left_reason, g.command`;

function rowFrom(row: FleetColumns): Omit<FleetRow, 'behindSinceMs'> {
  return {
    gatewayId: row.gateway_id,
    instanceId: row.instance_id,
    session: row.session,
    region: row.region,
    role: row.role,
    version: row.version,
    protocol: row.protocol,
    publicUrl: row.public_url,
    joined: row.joined,
    startedAtMs: row.started_at_ms,
    epoch: row.epoch,
    rev: row.rev,
    appliedAtMs: row.applied_at_ms,
    witnessAtMs: row.witness_at_ms,
    stats: row.stats,
    heardAtMs: row.heard_at_ms,
    reporterAtMs: row.reporter_at_ms,
    leftAtMs: row.left_at_ms,
    leftReason: row.left_reason,
    command: row.command,
  };
}

function milliseconds(column: string): RawBuilder<unknown> {
  return sql.raw(`round((extract(epoch from ${column}) * 1000)::numeric)::float8`);
}
