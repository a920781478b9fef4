import { Kysely, PostgresDialect, type PostgresPoolClient } from 'kysely';
import pg from 'pg';
import type { Log } from '../observe/log.ts';
import { Turns } from '../util/turns.ts';
import { askOn } from './ask.ts';
import { databaseAddress, hasNoTls } from './connection.ts';
import { type AskedRows, type Database, DatabaseBusy, type PoolUsage, type Tx, translateDatabaseError } from './db.ts';
import type { Tables } from './tables.ts';

export interface PoolOptions {
  readonly url: string;
  /** Connections of this process at most; further transactions wait, and fail as "database away" after `CONNECT_TIMEOUT_MS`. */
  readonly connectionsMax: number;
  readonly log: Log;
  /** Waiting for a connection, a free one or a new one. */
  readonly connectTimeoutMs?: number;
}

/** A statement that takes longer is ended by PostgreSQL and answered with 503. */
export const STATEMENT_TIMEOUT_MS = 10_000;
/** A management write waits this long for a row that another one holds. */
export const LOCK_TIMEOUT_MS = 2_000;
/** `begin` asks nothing of the disk: a server that leaves it unanswered for so long hangs, and the caller is told that it is away. */
export const BEGIN_TIMEOUT_MS = 3_000;
/** A transaction whose process hangs between two statements is ended, so that it does not hold its locks. */
export const IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000;

/** A snapshot waits so long for the ones before it, which last as long as whoever reads them is slow. */
export const SNAPSHOT_WAIT_MS = 60_000;

/** Opens no connection yet: the first transaction does, and each one tries again while the database is away. */
export function createDatabase({ url, connectionsMax, log, connectTimeoutMs }: PoolOptions): Database {
  const address = databaseAddress(url);
  const pool = new pg.Pool({
    ...address.config,
    ...(connectTimeoutMs === undefined ? {} : { connectionTimeoutMillis: connectTimeoutMs }),
    max: connectionsMax,
    idleTimeoutMillis: 30_000,
  });
  // One connection is left to everything that is short: polls, usage batches, management.
  const snapshots = new Turns(Math.max(1, connectionsMax - 1));
  pool.on('error', (error) =>
    log.warn({ err: error, database: address.description }, 'an idle database connection was lost'),
  );
  // Without a listener, losing a connection that is in use would end the process; the running statement reports it.
  pool.on('connect', (client) => client.on('error', () => undefined));

  async function connect(): Promise<pg.PoolClient> {
    try {
      return await pool.connect();
    } catch (error) {
      if (!(address.tlsOptional && hasNoTls(error))) throw translateDatabaseError(error, 'connect');
      pool.options.ssl = false;
      return pool.connect().catch((second: unknown) => {
        throw translateDatabaseError(second, 'connect');
      });
    }
  }

  async function transact<T>(begin: string, run: (tx: Tx) => Promise<T>): Promise<T> {
    const client = await connect();
    let during: 'run' | 'commit' = 'run';
    let begun = false;
    let broken = false;
    try {
      await client.query({ text: begin, query_timeout: BEGIN_TIMEOUT_MS } as pg.QueryConfig);
      begun = true;
      const result = await run(kyselyOn(client));
      during = 'commit';
      const { command } = await client.query('commit');
      // PostgreSQL answers ROLLBACK when a statement failed and its error was swallowed.
      if (command !== 'COMMIT') throw new Error('a transaction with a failed statement was committed');
      return result;
    } catch (error) {
      // Nothing to roll back, and whoever did not answer `begin` will not answer this.
      broken =
        !begun ||
        (await client.query('rollback').then(
          () => false,
          () => true,
        ));
      throw translateDatabaseError(error, during);
    } finally {
      client.release(broken);
    }
  }

  async function inOneMessage(begin: string, statements: readonly string[]): Promise<readonly AskedRows[]> {
    const client = await connect();
    let broken = true;
    try {
      const rows = await askOn(client, begin, statements);
      broken = false;
      return rows;
    } catch (error) {
      throw translateDatabaseError(error, 'run');
    } finally {
      client.release(broken);
    }
  }

  return {
    read: (run) => transact(BEGIN_READ, run),
    async snapshot(run) {
      if (!(await snapshots.take(SNAPSHOT_WAIT_MS))) {
        throw new DatabaseBusy(`No connection was free for a snapshot within ${SNAPSHOT_WAIT_MS} ms.`);
      }
      try {
        return await transact(BEGIN_SNAPSHOT, run);
      } finally {
        snapshots.give();
      }
    },
    write: (run) => transact(BEGIN_WRITE, run),
    ask: (statements) => inOneMessage(BEGIN_READ, statements),
    tell: (statements) => inOneMessage(BEGIN_WRITE, statements),
    usage: (): PoolUsage => ({ open: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: () => pool.end(),
  };
}

// One round trip: several statements without parameters go in one message.
const LIMITS = `set local statement_timeout = ${STATEMENT_TIMEOUT_MS}; set local idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_TIMEOUT_MS}`;
export const BEGIN_READ = `begin read only; ${LIMITS}`;
const BEGIN_SNAPSHOT = `begin isolation level repeatable read read only; ${LIMITS}`;
const BEGIN_WRITE = `begin read write; ${LIMITS}; set local lock_timeout = ${LOCK_TIMEOUT_MS}`;

/** The query builder on one connection. Acquiring and releasing are ours, so that begin and commit are on the same one. */
function kyselyOn(client: pg.PoolClient): Kysely<Tables> {
  const single: PostgresPoolClient = {
    query: client.query.bind(client) as PostgresPoolClient['query'],
    release: () => undefined,
  };
  return new Kysely<Tables>({
    dialect: new PostgresDialect({ pool: { connect: () => Promise.resolve(single), end: () => Promise.resolve() } }),
  });
}
