import { randomInt } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type ClusterOptions, type PostgresCluster, startPostgresCluster } from '../support/postgres-cluster.ts';
import { type Claviger, type ClavigerOptions, startClaviger, temporaryDirectory } from '../support/processes.ts';

/** A PostgreSQL server of its own, with a database `litellm`, reached by URL: what instances in many regions share. */
export interface SharedDatabase extends AsyncDisposable {
  readonly cluster: PostgresCluster;
  /** `postgresql://user:password@host:5432/litellm`. */
  readonly url: string;
  /** Asked on a connection of its own, as the superuser. */
  query<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Connections to `litellm` that do not belong to this test. */
  connections(): Promise<Connection[]>;
  stop(): Promise<void>;
}

export interface Connection {
  readonly application: string;
  readonly user: string;
}

export interface SharedDatabaseOptions extends ClusterOptions {
  /** Who comes over TCP needs the right password. */
  readonly passwords?: boolean;
}

/** Its own loopback address, so that the port is the usual one. */
export async function startSharedDatabase(options: SharedDatabaseOptions = {}): Promise<SharedDatabase> {
  const host = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(2, 255)}`;
  const cluster = await startPostgresCluster({
    ...options,
    serverSettings: { listen_addresses: host, ...options.serverSettings },
  });
  const query = async <Row extends pg.QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
    database = 'litellm',
  ): Promise<Row[]> => {
    const client = new pg.Client({
      connectionString: cluster.directUrl(database),
      application_name: 'the test',
    });
    await client.connect();
    try {
      return (await client.query<Row>(text, [...values])).rows;
    } finally {
      await client.end();
    }
  };
  if (options.passwords === true) {
    await writeFile(join(cluster.dir, 'data', 'pg_hba.conf'), 'local all all trust\nhost all all all scram-sha-256\n');
    await query('select pg_reload_conf()', [], 'postgres');
  }
  await query("create role litellm_user login password 'litellm-password'", [], 'postgres');
  await query('create database litellm owner litellm_user', [], 'postgres');
  return {
    cluster,
    url: `postgresql://litellm_user:litellm-password@${host}:5432/litellm`,
    query: (text, values) => query(text, values),
    connections: () =>
      query<{ application: string; user: string }>(
        `select application_name as application, usename as user from pg_stat_activity
          where datname = 'litellm' and application_name <> 'the test'`,
      ),
    stop: () => cluster.stop(),
    [Symbol.asyncDispose]: () => cluster.stop(),
  };
}

export interface SharedFleet {
  readonly database: SharedDatabase;
  /** One directory each for admin and workers. */
  readonly dir: string;
  admin: Claviger;
  eu: Claviger;
  us: Claviger;
  stop(): Promise<void>;
}

export type Member = 'admin' | 'eu' | 'us';
export const ADMIN_FLAGS = { DISABLE_LLM_API_ENDPOINTS: 'true' };
export const WORKER_FLAGS = { DISABLE_ADMIN_UI: 'true', DISABLE_ADMIN_ENDPOINTS: 'true' };

/** Environment of a member: nothing but what LiteLLM's documentation prints, and a region for the worker. */
export function environmentOf(
  member: Member,
  database: Pick<SharedDatabase, 'url'>,
  masterKey: string,
): ClavigerOptions['env'] & object {
  return {
    ...(member === 'admin' ? ADMIN_FLAGS : { ...WORKER_FLAGS, CLAVIGER_REGION: member }),
    DATABASE_URL: database.url,
    LITELLM_MASTER_KEY: masterKey,
    LITELLM_SALT_KEY: undefined,
  };
}

/** An admin and a worker in each of two regions that share a database. */
export async function startSharedFleet(
  database: SharedDatabase,
  masterKey: string,
  options: (member: Member) => ClavigerOptions = () => ({}),
): Promise<SharedFleet> {
  const dir = await temporaryDirectory();
  const start = (member: Member): Promise<Claviger> => startMember(member, database, masterKey, dir, options(member));
  const started = await Promise.allSettled([start('admin'), start('eu'), start('us')]);
  const running = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = started.find((result) => result.status === 'rejected');
  const [admin, eu, us] = running;
  if (failed !== undefined || admin === undefined || eu === undefined || us === undefined) {
    await Promise.all(running.map((instance) => instance.stop()));
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    throw failed?.reason ?? new Error('an instance is missing');
  }
  const fleet: SharedFleet = {
    database,
    dir,
    admin,
    eu,
    us,
    async stop() {
      await Promise.all([fleet.admin, fleet.eu, fleet.us].map((instance) => instance.stop()));
      await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  return fleet;
}

/** On the same data directory as before, when there was one before. */
export function startMember(
  member: Member,
  database: Pick<SharedDatabase, 'url'>,
  masterKey: string,
  dir: string,
  options: ClavigerOptions = {},
): Promise<Claviger> {
  return startClaviger({
    dir,
    ...options,
    env: {
      CLAVIGER_DATA_DIR: join(dir, member),
      CLAVIGER_DRAIN_NOTICE: '0',
      ...environmentOf(member, database, masterKey),
      ...options.env,
    },
  });
}

let models: string | null = null;

/** Path of a configuration file with a model of the built-in provider, `alpha`. */
export function fakeModels(): string {
  if (models === null) {
    models = join(mkdtempSync(join(tmpdir(), 'claviger-models-')), 'config.yaml');
    writeFileSync(models, 'model_list:\n  - model_name: alpha\n    litellm_params: { model: fake/alpha }\n');
  }
  return models;
}
