import type pg from 'pg';
import type { Log } from '../observe/log.ts';
import { databaseAddress, openClient } from './connection.ts';
import { REVISION_CHANNEL } from './repositories/change-log.ts';

export interface RevisionListener {
  stop(): Promise<void>;
}

/** Between two attempts to connect again. */
const RETRY_MS = 2_000;

/**
 * Calls `onHint` when another instance says that there is a new revision. A hint and nothing more: it may be lost, so whoever uses it
 * polls as well. LISTEN needs a connection of its own; behind a pooler it would listen on whatever connection comes next, so then this
 * says so once and does nothing.
 */
export function listenForRevisions(url: string, onHint: () => void, log: Log): RevisionListener {
  const address = databaseAddress(url);
  let stopped = false;
  let client: pg.Client | null = null;
  let timer: NodeJS.Timeout | null = null;

  async function open(): Promise<void> {
    try {
      // A listening connection waits for hours, so no statement time-out of the client.
      client = await openClient(address, { query_timeout: 0 });
      if (stopped) return await client.end();
      if (await isPooled(client)) {
        log.info(
          {},
          'the database URL leads through a pooler: changes of other instances are found by polling; set DIRECT_URL to hear of them at once',
        );
        return await client.end();
      }
      client.on('end', retryLater);
      client.on('notification', onHint);
      await client.query(`listen ${REVISION_CHANNEL}`);
    } catch {
      await client?.end().catch(() => undefined);
      retryLater();
    }
  }

  function retryLater(): void {
    if (stopped || timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      void open();
    }, RETRY_MS);
  }

  void open();
  return {
    async stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
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
