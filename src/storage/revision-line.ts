import type pg from 'pg';
import type { Log } from '../observe/log.ts';
import { askOn } from './ask.ts';
import { databaseAddress, openClient } from './connection.ts';
import { type AskedRows, type Database, translateDatabaseError } from './db.ts';
import { BEGIN_READ } from './pool.ts';
import { REVISION_CHANNEL } from './repositories/change-log.ts';

export interface RevisionLine {
  /**
   * As `Database.ask`, on the connection of the line: questions do not wait for whatever the pool is busy with, nor for each other. While there
   * is no such connection, or so much is asked already, the pool is asked.
   */
  readonly ask: Database['ask'];
  stop(): Promise<void>;
}

export interface RevisionLineOptions {
  readonly url: string;
  /** Asked while the line is not there. */
  readonly pool: Pick<Database, 'ask'>;
  readonly onHint: () => void;
  readonly log: Log;
}

/** Between two attempts to connect again. */
const RETRY_MS = 2_000;
/** What `pg_stat_activity` calls a connection that listens. */
export const LISTENING = 'claviger listening';
/** Questions under way at once. They are answered in order, one round trip after each was asked. */
export const LINE_ASKS_MAX = 16;

/**
 * One connection beside the pool, for what is new in the database: it asks, and calls `onHint` when another instance says that there is a new
 * revision. A hint and nothing more: it may be lost, so whoever uses it polls as well. Behind a pooler LISTEN would be heard on whatever
 * connection comes next, so then this says so once, and only asks.
 */
export function openRevisionLine({ url, pool, onHint, log }: RevisionLineOptions): RevisionLine {
  const address = databaseAddress(url);
  let stopped = false;
  let line: pg.Client | null = null;
  let timer: NodeJS.Timeout | null = null;
  let asking = 0;
  let saidPooled = false;

  async function open(): Promise<void> {
    let client: pg.Client | null = null;
    try {
      // A listening connection waits for hours; what is asked has a time-out of its own. Several questions may be on their way.
      client = await openClient(address, { query_timeout: 0, pipeline: true });
      if (stopped) return await client.end();
      const opened = client;
      opened.on('end', () => {
        if (line === opened) line = null;
        retryLater();
      });
      if (await isPooled(opened)) sayPooled();
      else {
        opened.on('notification', onHint);
        await opened.query(`listen ${REVISION_CHANNEL}; set application_name = '${LISTENING}'`);
      }
      if (stopped) return await opened.end();
      line = opened;
    } catch {
      await client?.end().catch(() => undefined);
      retryLater();
    }
  }

  function sayPooled(): void {
    if (saidPooled) return;
    saidPooled = true;
    log.info(
      {},
      'the database URL leads through a pooler: changes of other instances are found by polling; set DIRECT_URL to hear of them at once',
    );
  }

  function retryLater(): void {
    if (stopped || timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      void open();
    }, RETRY_MS);
  }

  async function ask(statements: readonly string[]): Promise<readonly AskedRows[]> {
    const client = line;
    if (client === null || asking >= LINE_ASKS_MAX) return pool.ask(statements);
    asking += 1;
    try {
      return await askOn(client, BEGIN_READ, statements);
    } catch (error) {
      // What failed has left the transaction open, for whoever is asked next.
      if (line === client) line = null;
      void client.end().catch(() => undefined);
      throw translateDatabaseError(error, 'run');
    } finally {
      asking -= 1;
    }
  }

  void open();
  return {
    ask,
    async stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      const client = line;
      line = null;
      await client?.end().catch(() => undefined);
    },
  };
}

/**
 * PostgreSQL gives the process id of the backend at connect time for cancellation. A pooler makes its own up, because it can not know
 * yet which backend it will use.
 */
async function isPooled(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const given = (client as unknown as { processID: number | null }).processID;
  return given !== rows[0]!.pid;
}
