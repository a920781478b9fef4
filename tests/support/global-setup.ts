import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { type PostgresCluster, startPostgresCluster } from './postgres-cluster.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A connection to this unix socket is answered with one line of JSON: `ClusterAddress`. */
    testPostgresSocket: string;
  }
}

export type ClusterAddress = { readonly url: string; readonly directUrl: string } | { readonly error: string };

/**
 * One PostgreSQL per run, started when the first test file asks for a database: a run of pure tests does not pay for it.
 * It belongs to the main process of Vitest, because worker processes come and go with the files.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  let starting: Promise<PostgresCluster> | null = null;
  const dir = mkdtempSync(join(tmpdir().length <= 40 ? tmpdir() : '/tmp', 'claviger-test-'));
  const socketPath = join(dir, 'postgres');
  const server = createServer(async (socket) => {
    socket.on('error', () => socket.destroy());
    starting ??= startPostgresCluster({
      major: process.env.CLAVIGER_TEST_PG_MAJOR || '18',
      pgbouncer: process.env.CLAVIGER_TEST_PGBOUNCER || undefined,
    });
    const address: ClusterAddress = await starting.then(
      (cluster) => ({ url: cluster.url('DATABASE'), directUrl: cluster.directUrl('DATABASE') }),
      (error: Error) => ({ error: error.message }),
    );
    socket.end(`${JSON.stringify(address)}\n`);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(socketPath, resolve));
  project.provide('testPostgresSocket', socketPath);

  return async () => {
    server.close();
    await starting?.then(
      (cluster) => cluster.stop(),
      () => undefined,
    );
    rmSync(dir, { recursive: true, force: true });
  };
}
