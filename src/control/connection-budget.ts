import type { Settings } from '../settings/settings.ts';

/** How the connections that an instance may hold are given out. */
export interface ConnectionBudget {
  /** For transactions on the database. */
  readonly pool: number;
  /** For reads on the replica; 0: there is none. */
  readonly replica: number;
}

/** One that hears and asks of new revisions (`RevisionLine`); before it is opened, the migrations use it. */
const REVISION_LINE = 1;
/** Fewer than these can not work: one for new revisions, one that does everything else. */
export const CONNECTIONS_MIN = 2;
/** A worker reads changes and delivers usage; more would only be taken from others. */
export const WORKER_CONNECTIONS_MAX = 3;

/**
 * `database_connection_pool_limit` counts everything that an instance holds, whatever the number of its gateway processes. A third of it
 * goes to the replica, when management is here to read from it.
 */
export function connectionBudget({
  role,
  databaseConnectionPoolLimit,
  readReplicaUrl,
}: Pick<Settings, 'role' | 'databaseConnectionPoolLimit' | 'readReplicaUrl'>): ConnectionBudget {
  const isWorker = role === 'worker';
  const limit = Math.max(
    CONNECTIONS_MIN,
    isWorker ? Math.min(WORKER_CONNECTIONS_MAX, databaseConnectionPoolLimit) : databaseConnectionPoolLimit,
  );
  const replica = isWorker || readReplicaUrl === null ? 0 : Math.floor(limit / 3);
  return { pool: limit - REVISION_LINE - replica, replica };
}
