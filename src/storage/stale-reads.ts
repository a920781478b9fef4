import { sql } from 'kysely';
import type { Position, Revision } from '../domain/change.ts';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../util/clock.ts';
import { type Database, DatabaseBusy, DatabaseUnavailable, sqlState, type Tx } from './db.ts';

/** Reads for people, which may be a little old: lists and reports. Never for a decision, and never what a handler has just written. */
export interface StaleReads {
  /** Configuration is of `minRev` or later. */
  read<T>(run: (tx: Tx) => Promise<T>, minRev?: Revision): Promise<T>;
  close(): Promise<void>;
}

export interface StaleReadsOptions {
  readonly primary: Database;
  /** Null: everything is read from the primary. Closed with this. */
  readonly replica: Database | null;
  /** Whose replica it must be; null: not known yet. */
  readonly position: () => Position | null;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
}

/** A replica that is further behind is not read from. */
export const REPLICA_LAG_MAX_MS = 5_000;
/** Waiting for a connection to the replica; the primary is there to answer instead. */
export const REPLICA_CONNECT_TIMEOUT_MS = 1_000;
/** A replica that could not be used is left alone for so long, so that not every call waits for it. */
export const REPLICA_RETRY_MS = 10_000;

/** From the replica while it is there and close behind, else from the primary. `run` may be called a second time then. */
export function createStaleReads({ primary, replica, position, clock, log }: StaleReadsOptions): StaleReads {
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  /** Since when it answers nothing; null: it does. */
  let uselessSinceMs: number | null = null;
  let said = false;

  /** Said once it has lasted: a replica that is behind for a moment is as replicas are. */
  function useless(reason: Error, forLongMs: number): void {
    const nowMs = clock.monotonicMs();
    uselessSinceMs ??= nowMs;
    if (said || nowMs - uselessSinceMs < forLongMs) return;
    said = true;
    log.warn({ err: reason }, 'the read replica can not be used at the moment; the primary database answers instead');
  }

  function useful(): void {
    if (said) log.info({}, 'the read replica is used again');
    uselessSinceMs = null;
    said = false;
  }

  return {
    async read(run, minRev = 0) {
      const expected = position();
      if (replica === null || expected === null || clock.monotonicMs() < notBeforeMs) return primary.read(run);
      try {
        const result = await replica.read(async (tx) => {
          await refuseOther(tx, expected, minRev);
          return run(tx);
        });
        useful();
        return result;
      } catch (error) {
        if (error instanceof NotThereYet) return primary.read(run);
        if (error instanceof Behind) {
          useless(error, REPLICA_RETRY_MS);
          return primary.read(run);
        }
        if (!isReplicasFault(error)) throw error;
        notBeforeMs = clock.monotonicMs() + REPLICA_RETRY_MS;
        useless(error, 0);
        return primary.read(run);
      }
    },
    close: async () => {
      await replica?.close();
    },
  };
}

/** It follows, but has not reached what is asked for. */
class NotThereYet extends Error {}
class Behind extends Error {
  override name = 'ReplicaBehind';
}
class Unusable extends Error {
  override name = 'ReplicaUnusable';
}

/** A statement that took too long would do so on the primary as well. */
function isReplicasFault(error: unknown): error is Error {
  if (error instanceof DatabaseBusy) return sqlState(error.cause) !== STATEMENT_TIMED_OUT;
  return error instanceof Unusable || error instanceof DatabaseUnavailable;
}

const STATEMENT_TIMED_OUT = '57014';

interface ReplicaState {
  readonly installation: string;
  readonly epoch: number;
  readonly rev: bigint;
  readonly lag_ms: number;
}

async function refuseOther(tx: Tx, expected: Position, minRev: Revision): Promise<void> {
  // A replica that has replayed all it was sent is current, however long ago the last transaction was. One that has not may look further
  // behind than it is, when nothing had been written for long.
  const { rows } = await sql<ReplicaState>`
    select i.installation_id as installation, i.epoch, i.rev,
           case when not pg_is_in_recovery() then 0
                when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() and exists (select from pg_stat_wal_receiver) then 0
                else coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 * 1000, 'infinity')
           end as lag_ms
      from claviger.installation i
  `
    .execute(tx)
    .catch((error: unknown) => {
      if (error instanceof DatabaseUnavailable || error instanceof DatabaseBusy) throw error;
      throw new Unusable('its state can not be read', { cause: error });
    });
  const state = rows[0];
  if (state === undefined) throw new Unusable('it holds no installation');
  if (state.installation !== expected.installation || state.epoch !== expected.epoch) {
    throw new Unusable('it holds another installation, or another history of this one');
  }
  if (!(state.lag_ms <= REPLICA_LAG_MAX_MS)) {
    throw new Behind(`it is more than ${REPLICA_LAG_MAX_MS} ms behind the primary`);
  }
  if (Number(state.rev) < minRev) throw new NotThereYet();
}
