/**
 * The port to the database. Everything happens in a transaction, because a transaction is the only thing that one connection serves
 * from begin to end when a pooler such as PgBouncer stands between: settings are `SET LOCAL`, locks are `pg_advisory_xact_lock`,
 * and no statement has a name.
 */
import type { Kysely } from 'kysely';
import type { Tables } from './tables.ts';

export type Tx = Kysely<Tables>;

export interface Database {
  /** Several statements that may each see a newer moment. */
  read<T>(run: (tx: Tx) => Promise<T>): Promise<T>;
  /** Several statements that all see the same moment. Holds a connection until `run` ends. */
  snapshot<T>(run: (tx: Tx) => Promise<T>): Promise<T>;
  write<T>(run: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * Reads with statements that have no parameters, all in a single round trip: begin and commit travel with them. For what is asked again and
   * again, or waited for, from far away. Rows per statement.
   */
  ask(statements: readonly string[]): Promise<readonly AskedRows[]>;
  /** The same for statements that write. They must do no harm when they are sent again: a connection lost on the way leaves it open what happened. */
  tell(statements: readonly string[]): Promise<readonly AskedRows[]>;
  usage(): PoolUsage;
  close(): Promise<void>;
}

export type AskedRows = readonly Readonly<Record<string, unknown>>[];

export interface PoolUsage {
  readonly open: number;
  readonly idle: number;
  readonly waiting: number;
}

/** The database can not be reached, or was lost on the way. Answered with 503. */
export class DatabaseUnavailable extends Error {
  override name = 'DatabaseUnavailable';
  /** The connection was lost during COMMIT: the change may or may not have happened. */
  readonly commitInDoubt: boolean;
  constructor(message: string, options: ErrorOptions & { commitInDoubt?: boolean } = {}) {
    super(message, options);
    this.commitInDoubt = options.commitInDoubt ?? false;
  }
}

/**
 * The database answers and says no, in a way that does not pass by waiting: wrong password, no such database, read-only. The message is for
 * the operator and says what to do.
 */
export class DatabaseRefused extends DatabaseUnavailable {
  override name = 'DatabaseRefused';
}

/** The database answered, but not in time: a lock or a statement took too long, or a deadlock was broken. Nothing was changed. */
export class DatabaseBusy extends Error {
  override name = 'DatabaseBusy';
}

/** Name of the unique constraint or index that a statement violated, or null for every other error. */
export function violatedUniqueness(error: unknown): string | null {
  if (sqlState(error) !== '23505') return null;
  const constraint = (error as { constraint?: unknown }).constraint;
  return typeof constraint === 'string' ? constraint : '';
}

/** The values of a statement were at fault: it would fail again with the same values. */
export function isDataError(error: unknown): boolean {
  const state = sqlState(error);
  return state !== null && (state.startsWith('22') || state.startsWith('23') || state.startsWith('54'));
}

/** Every SQLSTATE has a digit; `EPIPE`, which has five letters too, has none. */
export function sqlState(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** What a failed statement means for the caller; other errors stay as they are. */
export function translateDatabaseError(error: unknown, during: 'connect' | 'run' | 'commit'): unknown {
  if (!(error instanceof Error) || error instanceof DatabaseUnavailable || error instanceof DatabaseBusy) return error;
  const state = sqlState(error);
  const todo = state === null ? undefined : REFUSED_STATES.get(state);
  if (todo !== undefined) {
    return new DatabaseRefused(`The database refuses this: ${error.message}. ${todo}`, { cause: error });
  }
  if (during === 'connect' || isLost(error, state)) {
    const message =
      during === 'commit'
        ? 'The connection to the database was lost while a change was committed; it may or may not have happened.'
        : `The database can not be reached: ${error.message}`;
    return new DatabaseUnavailable(message, { cause: error, commitInDoubt: during === 'commit' });
  }
  if (state !== null && BUSY_STATES.has(state)) {
    return new DatabaseBusy(`The database did not answer in time: ${error.message}`, { cause: error });
  }
  return error;
}

/** What makes a standby or a server in a read-only mode fit: nothing that we could do. */
export const READ_ONLY_TODO = 'Set DATABASE_URL to the primary server, or end its read-only mode.';
/** invalid_password, invalid_authorization_specification, invalid_catalog_name, read_only_sql_transaction. */
const REFUSED_STATES: ReadonlyMap<string, string> = new Map([
  ['28P01', 'Check user and password in DATABASE_URL.'],
  ['28000', 'Check the user in DATABASE_URL, and that the server (pg_hba.conf) lets it in from here.'],
  ['3D000', 'Create the database, or check its name in DATABASE_URL.'],
  ['25006', READ_ONLY_TODO],
]);

/** lock_not_available, query_canceled (statement_timeout), deadlock_detected, serialization_failure. */
const BUSY_STATES = new Set(['55P03', '57014', '40P01', '40001']);
/** too_many_connections, cannot_connect_now, admin_shutdown, crash_shutdown, idle_in_transaction timeout. */
const LOST_STATES = new Set(['53300', '57P03', '57P01', '57P02', '57P05', '25P03']);
const LOST_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
const LOST_TEXT =
  /^(connection terminated|client has encountered a connection error|query read timeout|client was closed)/i;

function isLost(error: Error, state: string | null): boolean {
  if (state !== null) return state.startsWith('08') || LOST_STATES.has(state);
  const code = (error as { code?: unknown }).code;
  return (typeof code === 'string' && LOST_CODES.has(code)) || LOST_TEXT.test(error.message);
}
