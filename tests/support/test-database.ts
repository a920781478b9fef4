import { randomBytes } from 'node:crypto';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import pg from 'pg';
import { inject } from 'vitest';
import type { ClusterAddress } from './global-setup.ts';

export interface TestDatabase {
  /** What `DATABASE_URL` would be; goes through PgBouncer (transaction pooling) in the run that tests it. */
  readonly url: string;
  /** Straight to PostgreSQL: for LISTEN, and what `DIRECT_URL` would be. */
  readonly directUrl: string;
  readonly name: string;
  /** Also ends connections that are still open. */
  readonly drop: () => Promise<void>;
}

/** A fresh, empty database in the PostgreSQL of this run. Its version is `CLAVIGER_TEST_PG_MAJOR` (default 18). */
export async function createTestDatabase(): Promise<TestDatabase> {
  const address = await clusterAddress();
  const name = `test_${randomBytes(8).toString('hex')}`;
  const at = (url: string, database: string) => url.replace('/DATABASE?', `/${database}?`);
  const administer = async (statement: string) => {
    const client = new pg.Client({ connectionString: at(address.directUrl, 'postgres') });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  };
  await administer(`CREATE DATABASE ${name}`);
  return {
    url: at(address.url, name),
    directUrl: at(address.directUrl, name),
    name,
    drop: () => administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function clusterAddress(): Promise<{ url: string; directUrl: string }> {
  const answer = await text(createConnection(inject('testPostgresSocket')));
  const address = JSON.parse(answer) as ClusterAddress;
  if ('error' in address) throw new Error(`the PostgreSQL of the tests did not start: ${address.error}`);
  return address;
}
