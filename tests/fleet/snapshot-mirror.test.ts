import { readdirSync } from 'node:fs';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { WorkerRow } from '../../src/contract/schemas/fleet.ts';
import { type Claviger, freePort, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { freshCall } from './fresh-calls.ts';
import { environmentOf, type Member, type SharedDatabase, startSharedDatabase } from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-mirror-tests';

const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

async function place(): Promise<{ dir: string; config: string; mirror: string }> {
  const dir = await temporaryDirectory();
  cleanUp.push(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
  const config = join(dir, 'config.yaml');
  await writeFile(
    config,
    stringify({ model_list: [{ model_name: 'alpha', litellm_params: { model: 'fake/alpha' } }] }),
  );
  return { dir, config, mirror: join(dir, 'mirror') };
}

async function start(args: readonly string[], env: Record<string, string | undefined>): Promise<Claviger> {
  const instance = await startClaviger({ dir: String(env.CLAVIGER_DATA_DIR), cwd: tmpdir(), args: [...args], env });
  cleanUp.push(() => instance.stop());
  return instance;
}

async function statusOf(worker: Claviger, key: string): Promise<number> {
  return (await freshCall(worker, key)).status;
}

it('a new worker serves its region while database and admin are gone, from what another worker has put into the mirror', async () => {
  const { dir, config, mirror } = await place();
  const database: SharedDatabase = await startSharedDatabase();
  cleanUp.push(() => database.stop());
  const environment = (member: Member, name: string) => ({
    ...environmentOf(member, database, MASTER_KEY),
    CLAVIGER_DATA_DIR: join(dir, name),
    CLAVIGER_SNAPSHOT_MIRROR: mirror,
  });
  const admin = await start(['--config', config], environment('admin', 'admin'));
  const first = await start(['--config', config], environment('eu', 'first'));
  const [good, blocked] = [await admin.generateKey({}), await admin.generateKey({})];
  expect((await admin.api('POST', '/key/block', { key: blocked })).status).toBe(200);
  await until('both are known', async () => ((await statusOf(first, blocked)) === 401 ? true : null));
  // It copies its last state when it ends.
  expect(await first.stop()).toBe(0);
  expect(readdirSync(mirror)).toContain('eu.mirror');
  await admin.stop();
  await database.stop();

  const second = await start(['--config', config], environment('eu', 'second'));
  expect(second.logs()).toContain('Started from the snapshot mirror');
  expect(await statusOf(second, good)).toBe(200);
  expect(await statusOf(second, blocked)).toBe(401);
  expect(await statusOf(second, `${good.slice(0, -1)}${good.endsWith('A') ? 'B' : 'A'}`)).toBe(401);
  // Another region finds nothing that is meant for it, and does not guess.
  const elsewhere = await startClaviger({
    dir: join(dir, 'elsewhere'),
    cwd: dir,
    args: ['--config', config],
    env: environment('us', 'elsewhere'),
    readinessPath: '/health/liveliness',
  });
  cleanUp.push(() => elsewhere.stop());
  expect(await statusOf(elsewhere, good)).toBe(503);
}, 120_000);

it('so does a joined worker whose snapshots are lost while every admin is gone', async () => {
  const { dir, config, mirror } = await place();
  const port = await freePort();
  const admin = await start(['--config', config, '--port', `${port}`], {
    CLAVIGER_DATA_DIR: join(dir, 'admin'),
    DISABLE_LLM_API_ENDPOINTS: 'true',
    LITELLM_MASTER_KEY: MASTER_KEY,
  });
  const join_ = async (name: string): Promise<Claviger> => {
    const answer = await admin.api('POST', '/fleet/join-token', { region: 'eu' });
    expect(answer.status).toBe(200);
    return start(['--config', config], environment(name, answer.json().token));
  };
  const environment = (name: string, token?: string) => ({
    CLAVIGER_DATA_DIR: join(dir, name),
    LITELLM_MASTER_KEY: undefined,
    LITELLM_SALT_KEY: undefined,
    CONTROL_PLANE_URL: `http://127.0.0.1:${port}`,
    CLAVIGER_SNAPSHOT_MIRROR: mirror,
    CLAVIGER_JOIN_TOKEN: token,
  });
  const first = await join_('first');
  const second = await join_('second');
  const key = await admin.generateKey({});
  for (const worker of [first, second]) {
    await until('the key is known', async () => ((await statusOf(worker, key)) === 200 ? true : null));
  }
  // Both say that they depend on this admin and on the mirror.
  await until('the admin knows what they depend on', async () => {
    const { workers } = (await admin.api('GET', '/fleet/workers')).json();
    const joined = workers.filter((worker: WorkerRow) => worker.joined && worker.dependencies?.snapshot_mirror != null);
    return joined.length === 2 &&
      joined.every(({ dependencies }: WorkerRow) => dependencies!.control_plane?.address === admin.url)
      ? true
      : null;
  });
  expect(await second.stop()).toBe(0);
  expect(await first.stop()).toBe(0);
  expect(readdirSync(mirror)).toContain('joined-eu.mirror');
  await admin.stop();

  // Its identity is kept apart (a secret of the orchestrator), its snapshots are not.
  const fresh = join(dir, 'fresh');
  await mkdir(fresh);
  for (const name of ['identity', 'instance.json']) {
    await cp(join(dir, 'second', name), join(fresh, name), { recursive: true });
  }
  const third = await start(['--config', config], environment('fresh'));
  expect(await statusOf(third, key)).toBe(200);
}, 120_000);
