import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type BalancedCall, Balancer } from '../support/balancer.ts';
import { pick } from '../support/length.ts';
import { type Claviger, freePort, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { environmentOf, type SharedDatabase, startSharedDatabase } from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-rolling-restart';
const STREAM_SECONDS = pick(8, 60);
const CHUNK_MS = 100;
const NOTICE_SECONDS = 1;

let database: SharedDatabase;
let dir: string;
const running: Claviger[] = [];

beforeAll(async () => {
  database = await startSharedDatabase();
  dir = await temporaryDirectory();
}, 120_000);
afterAll(async () => {
  await Promise.all(running.map((instance) => instance.stop()));
  await database?.stop();
});

async function start(member: 'admin' | 'eu', name: string, port: number): Promise<Claviger> {
  const config = join(dir, 'config.yaml');
  await writeFile(config, stringify({ model_list: [{ model_name: 'm', litellm_params: { model: 'fake/gpt' } }] }));
  const instance = await startClaviger({
    dir,
    args: ['--config', config, '--port', `${port}`],
    env: {
      ...environmentOf(member, database, MASTER_KEY),
      CLAVIGER_DATA_DIR: join(dir, name),
      CLAVIGER_DRAIN_NOTICE: `${NOTICE_SECONDS}`,
      CLAVIGER_DRAIN_TIMEOUT: '90',
    },
  });
  running.push(instance);
  return instance;
}

it(
  'a rolling restart of admin and workers under load fails no call and cuts no stream',
  async () => {
    const admin = await start('admin', 'admin', await freePort());
    const ports = [await freePort(), await freePort()];
    const workers = await Promise.all(ports.map((port, index) => start('eu', `worker-${index}`, port)));
    const key = await admin.generateKey({});
    using balancer = new Balancer({ ports, probeIntervalMs: 100 });
    await expect.poll(() => ports.every((port) => balancer.isReady(port)), { timeout: 20_000 }).toBe(true);

    let ended = false;
    const calls: BalancedCall[] = [];
    const streams: Promise<BalancedCall>[] = [];
    const message = { model: 'm', messages: [{ role: 'user', content: 'Hello' }] };
    const stream = () =>
      balancer.call('/v1/chat/completions', key, {
        ...message,
        stream: true,
        fake: { tokens: (STREAM_SECONDS * 1_000) / CHUNK_MS, chunk_ms: CHUNK_MS },
      });
    const load = async (): Promise<void> => {
      while (!ended) {
        calls.push(await balancer.call('/v1/chat/completions', key, message));
        await delay(10);
      }
    };
    const loads = [load(), load(), load()];
    for (let count = 0; count < 6; count++) streams.push(stream());
    await expect.poll(() => calls.length).toBeGreaterThan(20);

    for (const [index, worker] of workers.entries()) {
      streams.push(stream(), stream());
      const port = ports[index]!;
      const heard = balancer.liveliness.get(port)!;
      heard.length = 0;
      const left = worker.exited;
      worker.kill('supervisor', 'SIGTERM');
      await expect.poll(() => balancer.isReady(port), { timeout: 10_000 }).toBe(false);
      // Its streams run on; as long as they do, it says that it is alive and not ready.
      const readyAgainTooEarly = balancer.isReady(port);
      expect(await left).toBe(0);
      expect(readyAgainTooEarly).toBe(false);
      expect(heard.filter((status) => status === 200).length).toBeGreaterThan(NOTICE_SECONDS * 2);
      await start('eu', `worker-${index}`, port);
      await expect.poll(() => balancer.isReady(port), { timeout: 20_000 }).toBe(true);
    }
    const adminLeft = admin.exited;
    admin.kill('supervisor', 'SIGTERM');
    expect(await adminLeft).toBe(0);
    const nextAdmin = await start('admin', 'admin', admin.port);
    const answers = await Promise.all(streams);
    ended = true;
    await Promise.all(loads);

    const failed = [...calls, ...answers].filter((call) => call.status !== 200 || !call.complete);
    expect(failed).toEqual([]);
    expect(calls.length).toBeGreaterThan(200);

    // Nothing of it is missing in the books.
    const booked = async () =>
      Number((await database.query<{ n: string }>('select count(*) as n from claviger.spend_log'))[0]!.n);
    await expect.poll(booked, { timeout: 30_000 }).toBe(calls.length + answers.length);
    const info = async () => (await nextAdmin.api('GET', `/key/info?key=${key}`)).status;
    await expect.poll(info, { timeout: 10_000 }).toBe(200);
  },
  pick(150_000, 420_000),
);
