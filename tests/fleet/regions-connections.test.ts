/** What a shared database is asked to hold: few connections per instance, and none of them in the way of a completion. */
import pg from 'pg';
import { afterEach, expect, it } from 'vitest';
import { LISTENING } from '../../src/storage/revision-line.ts';
import { startPostgresCluster } from '../support/postgres-cluster.ts';
import { provideProgram, requirements } from '../support/requirements.ts';
import { until } from '../support/until.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { freshCall } from './fresh-calls.ts';
import {
  fakeModels,
  type SharedDatabase,
  type SharedFleet,
  startSharedDatabase,
  startSharedFleet,
} from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-regions';
const WORKER_CONNECTIONS_MAX = 3;
const ADMIN_CONNECTIONS_MAX = 10;
const GATEWAYS = 3;

let database: SharedDatabase | null = null;
let fleet: SharedFleet | null = null;
const held: pg.Client[] = [];

afterEach(async () => {
  await Promise.all(held.splice(0).map((client) => client.end().catch(() => undefined)));
  await fleet?.stop();
  await database?.stop();
  fleet = null;
  database = null;
});

it('an instance holds few connections, however many gateway processes and calls it has', async () => {
  database = await startSharedDatabase();
  // A database user for each, to tell their connections apart.
  for (const member of ['admin', 'eu', 'us']) {
    await database.query(
      `create role ${member} login in role litellm_user; alter role ${member} set role litellm_user`,
    );
  }
  const { url } = database;
  fleet = await startSharedFleet(database, MASTER_KEY, (member) => ({
    args: ['--config', fakeModels(), '--num_workers', `${GATEWAYS}`],
    env: { DATABASE_URL: url.replace('litellm_user', member) },
  }));
  const { admin, eu, us } = fleet;
  await Promise.all([eu, us].map((worker) => waitUntilCurrent(worker, GATEWAYS)));

  const most = new Map<string, number>();
  let looking = true;
  const looks = (async () => {
    while (looking) {
      const now = new Map<string, number>();
      for (const { user } of await database!.connections()) now.set(user, (now.get(user) ?? 0) + 1);
      for (const [user, count] of now) most.set(user, Math.max(count, most.get(user) ?? 0));
    }
  })();
  const key = await admin.generateKey();
  await until('the key works', async () => ((await freshCall(eu, key)).status === 200 ? true : null));
  // Everything at once: writes, lists, logs, completions in both regions, and gateway processes that ask for a snapshot.
  for (const worker of [eu, us]) worker.kill('gateway');
  const answers = await Promise.all([
    ...Array.from({ length: 40 }, (_, index) => admin.api('POST', '/key/generate', { key_alias: `many-${index}` })),
    ...Array.from({ length: 40 }, () => admin.api('GET', '/key/list?return_full_object=true')),
    ...Array.from({ length: 40 }, () => admin.api('GET', '/spend/logs')),
  ]);
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  await Promise.all([eu, us].map((worker) => waitUntilCurrent(worker, GATEWAYS)));
  await Promise.all(Array.from({ length: 60 }, (_, index) => freshCall(index % 2 === 0 ? eu : us, key)));
  looking = false;
  await looks;

  expect(most.get('admin')).toBeGreaterThan(2);
  expect(most.get('admin')).toBeLessThanOrEqual(ADMIN_CONNECTIONS_MAX);
  for (const worker of ['eu', 'us']) {
    expect(most.get(worker)).toBeGreaterThan(0);
    expect(most.get(worker)).toBeLessThanOrEqual(WORKER_CONNECTIONS_MAX);
  }
}, 90_000);

it('a database that is out of connections costs management calls a 503, and completions nothing', async () => {
  database = await startSharedDatabase({ serverSettings: { max_connections: '24' } });
  fleet = await startSharedFleet(database, MASTER_KEY, () => ({ args: ['--config', fakeModels()] }));
  const { admin, eu, us } = fleet;
  const key = await admin.generateKey();
  await Promise.all(
    [eu, us].map((worker) =>
      until('the key works', async () => ((await freshCall(worker, key)).status === 200 ? true : null)),
    ),
  );

  const ours = await takeAllConnections(database);
  for (let round = 0; round < 5; round++) {
    for (const worker of [eu, us]) expect((await freshCall(worker, key)).status).toBe(200);
    for (const path of ['/key/list', `/key/info?key=${key}`, '/spend/logs']) {
      const answer = await admin.api('GET', path);
      expect([path, answer.status, answer.json().error.type]).toEqual([path, 503, 'no_db_connection']);
    }
    expect((await admin.api('POST', '/key/generate', {})).status).toBe(503);
  }
  expect(ours.rows).toBeGreaterThan(15);

  await Promise.all(held.splice(0).map((client) => client.end()));
  await until('management works again', async () =>
    (await admin.api('GET', `/key/info?key=${key}`)).status === 200 ? true : null,
  );
  const rows = await until('nothing of it was lost', async () => {
    const answer = await admin.api('GET', `/spend/logs?api_key=${key}`);
    return answer.status === 200 && answer.json().length === 12 ? answer.json() : null;
  });
  expect(rows.every(({ status }: { status: string }) => status === 'success')).toBe(true);
}, 90_000);

it('everything works through PgBouncer in transaction mode, with and without a direct URL', async () => {
  database = await startSharedDatabase({ pgbouncer: provideProgram(requirements.pgbouncer) });
  const { cluster } = database;
  const pooled = cluster.url('litellm');
  fleet = await startSharedFleet(database, MASTER_KEY, (member) => ({
    args: ['--config', fakeModels()],
    // The worker in eu has the pooler only; the others also have a direct way, for LISTEN and migrations.
    env: { DATABASE_URL: pooled, DIRECT_URL: member === 'eu' ? undefined : cluster.directUrl('litellm') },
  }));
  const { admin, eu, us } = fleet;
  await eu.waitForLog(/leads through a pooler: changes of other instances are found by polling/);
  for (const instance of [admin, us]) expect(instance.logs()).not.toMatch(/leads through a pooler/);

  const made = await admin.api('POST', '/key/generate', { key_alias: 'through a pooler' });
  const { key } = made.json();
  for (const worker of [eu, us]) {
    await until('the key works', async () => ((await freshCall(worker, key)).status === 200 ? true : null));
  }
  expect((await admin.api('POST', '/key/block', { key })).status).toBe(200);
  for (const worker of [eu, us]) {
    await until('the key is refused', async () => ((await freshCall(worker, key)).status === 401 ? true : null));
  }
  await until('both calls are in the log', async () =>
    (await admin.api('GET', `/spend/logs?api_key=${key}`)).json().length >= 2 ? true : null,
  );
  const listening = (await database.connections()).filter(({ application }) => application === LISTENING);
  expect(listening).toHaveLength(2);
}, 90_000);

it('lists and spend logs come from the read replica while it is there, and never without what was just written', async () => {
  database = await startSharedDatabase();
  const standby = await startPostgresCluster({ standbyOf: database.cluster });
  try {
    const env = { DATABASE_URL_READ_REPLICA: standby.directUrl('litellm') };
    fleet = await startSharedFleet(database, MASTER_KEY, () => ({ args: ['--config', fakeModels()], env }));
    const { admin, eu } = fleet;
    const onReplica = async (): Promise<number> => {
      const client = new pg.Client({ connectionString: standby.directUrl('litellm') });
      await client.connect();
      const { rows } = await client.query("select from pg_stat_activity where application_name = 'claviger'");
      await client.end();
      return rows.length;
    };
    for (let count = 1; count <= 10; count++) {
      const key = await admin.generateKey();
      const list = (await admin.api('GET', '/key/list?size=100')).json();
      expect(list.total_count).toBe(count);
      await until('the call is in the spend log', async () => {
        if ((await freshCall(eu, key)).status !== 200) return null;
        const rows = (await admin.api('GET', `/spend/logs?api_key=${key}`)).json();
        return rows.length > 0 ? true : null;
      });
    }
    const used = await onReplica();
    expect(used).toBeGreaterThan(0);
    // A worker has nothing to read there.
    expect(used).toBeLessThanOrEqual(ADMIN_CONNECTIONS_MAX / 3);

    await standby.halt();
    for (const path of ['/key/list', '/spend/logs']) expect((await admin.api('GET', path)).status).toBe(200);
    await admin.waitForLog(/the read replica can not be used at the moment/);
  } finally {
    await fleet?.stop();
    fleet = null;
    await standby.stop();
  }
}, 90_000);

/** Until the instances have none left. Whoever loses one is slower to come back than this loop. */
async function takeAllConnections(shared: SharedDatabase): Promise<{ rows: number }> {
  const open = async (): Promise<pg.Client> => {
    const client = new pg.Client({
      connectionString: shared.cluster.directUrl('litellm'),
      application_name: 'the test',
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const first = await open();
  held.push(first);
  for (;;) {
    try {
      held.push(await open());
      continue;
    } catch {
      // There is no free one now.
    }
    const { rows } = await first.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = 'litellm' and application_name <> 'the test'`,
    );
    if (rows.length === 0) return { rows: held.length };
  }
}
