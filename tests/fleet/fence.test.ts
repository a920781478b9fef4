/** The fence with real processes: a worker of a region whose way to the shared database is cut. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ChaosProxy } from '../support/chaos-proxy.ts';
import type { Claviger } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { freshCall } from './fresh-calls.ts';
import { fakeModels, type SharedDatabase, startMember, startSharedDatabase } from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-fence';
/** Of a busy machine: a look takes this long. */
const SLACK_MS = 2_000;

let database: SharedDatabase;
let proxy: ChaosProxy;
let admin: Claviger;
let worker: Claviger;

beforeEach(async () => {
  database = await startSharedDatabase();
  proxy = await ChaosProxy.start({ path: join(database.cluster.dir, '.s.PGSQL.5432') });
});
afterEach(async () => {
  await Promise.all([admin?.stop(), worker?.stop()]);
  await proxy?.close();
  await database?.stop();
});

async function startBoth(fenceMs: number): Promise<void> {
  admin = await startMember('admin', database, MASTER_KEY, database.cluster.dir, { env: fenceOf(fenceMs) });
  worker = await startWorker(fenceMs);
  await waitUntilCurrent(worker);
}

function startWorker(fenceMs: number): Promise<Claviger> {
  const throughProxy = new URL(database.url);
  throughProxy.host = `127.0.0.1:${proxy.port}`;
  return startMember('eu', { url: throughProxy.href }, MASTER_KEY, database.cluster.dir, {
    args: ['--config', fakeModels()],
    env: fenceOf(fenceMs),
    readinessPath: '/health/liveliness',
  });
}

function fenceOf(milliseconds: number) {
  return { CLAVIGER_FENCE: `${milliseconds / 1000}s` };
}

it('serves a key of a worker that is cut off until the fence and not longer, and again when it is connected', async () => {
  const fenceMs = 2_000;
  await startBoth(fenceMs);
  const [key, other] = [await admin.generateKey(), await admin.generateKey()];
  await untilStatus(key, 200);
  await untilStatus(other, 200);
  // As long as it is connected, its age goes up and down below the fence.
  for (let call = 0; call < 30; call++) {
    expect(await status(other)).toBe(200);
    await delay(100);
  }

  await proxy.set({ kind: 'blackhole' });
  const cutAtMs = performance.now();
  // What is committed now can not reach the worker.
  expect((await admin.api('POST', '/key/block', { key })).status).toBe(200);
  const blockedAtMs = performance.now();
  let lastAdmittedAtMs = 0;
  const stale = await until('the key is refused', async () => {
    const sentAtMs = performance.now();
    const answer = await freshCall(worker, key);
    if (answer.status === 503) return answer;
    expect(answer.status).toBe(200);
    lastAdmittedAtMs = sentAtMs;
    return null;
  });
  expect(stale.json().error.message).toMatch(
    /cut off from its database.* confirmed \d seconds ago.* served for 2 seconds/,
  );
  expect(stale.headers['retry-after']).toBe('5');
  expect(lastAdmittedAtMs - blockedAtMs).toBeLessThan(fenceMs);
  // Not at once either: up to the fence it goes on as if nothing had happened.
  expect(lastAdmittedAtMs - cutAtMs).toBeGreaterThan(fenceMs / 4);
  // The master key is none of the database.
  expect(await status(MASTER_KEY)).toBe(200);
  expect((await worker.api('GET', '/health/readiness', undefined, null)).json()).toMatchObject({
    status: 'degraded',
    keys_beyond_fence: ['normal', 'strict'],
  });

  await proxy.set({ kind: 'pass' });
  const healedAtMs = performance.now();
  await untilStatus(other, 200);
  console.info(`admitted again ${Math.round(performance.now() - healedAtMs)} ms after healing`);
  await untilStatus(key, 401);
}, 120_000);

it('counts on from the same witness over SIGKILL and a restart while it is cut off', async () => {
  const fenceMs = 15_000;
  await startBoth(fenceMs);
  const key = await admin.generateKey();
  await untilStatus(key, 200);

  await proxy.set({ kind: 'blackhole' });
  const cutAtMs = performance.now();
  await delay(5_000);
  killAll(worker);
  await worker.exited;
  worker = await startWorker(fenceMs);
  const restartedAfterMs = performance.now() - cutAtMs;
  if (restartedAfterMs < fenceMs - SLACK_MS) expect(await status(key)).toBe(200);
  await until('the key is refused', async () => ((await status(key)) === 503 ? true : null), 60_000);
  // From the restart on it would have been later by all that passed before.
  expect(performance.now() - cutAtMs).toBeLessThan(Math.max(fenceMs, restartedAfterMs) + SLACK_MS);

  killAll(worker);
  await worker.exited;
  worker = await startWorker(fenceMs);
  expect(await status(key)).toBe(503);

  await proxy.set({ kind: 'pass' });
  await untilStatus(key, 200);
}, 120_000);

it('serves a key that was made a moment ago, 150 ms away from the database, and never says 401 to it', async () => {
  await startBoth(60_000);
  await proxy.set({ kind: 'pass', latencyMs: 75 });
  // Connections that the worker opens anew take several round trips; what follows is about those that it has.
  await untilStatus(await admin.generateKey(), 200);
  const firstUsesMs: number[] = [];
  const statuses: number[] = [];
  for (let round = 0; round < 10; round++) {
    const key = await admin.generateKey();
    const madeAtMs = performance.now();
    const first = await status(key);
    statuses.push(first);
    if (first === 200) firstUsesMs.push(performance.now() - madeAtMs);
    expect(first).not.toBe(401);
    await untilStatus(key, 200);
  }
  firstUsesMs.sort((a, b) => a - b);
  console.info(`first uses ${statuses.join(' ')}; ${firstUsesMs.map(Math.round).join(' ')} ms`);
  // One that was not in time is told to come again in a second, and most are not; how many depends on how busy this machine is.
  expect(statuses).toContain(200);
  // The figure is 300 ms.
  expect(firstUsesMs.at(-1)).toBeLessThan(3_000);
  await proxy.set({ kind: 'pass' });
  await until('a key that was never made is known not to be one', async () =>
    (await status('sk-nobody-has-made-this-key')) === 401 ? true : null,
  );
}, 120_000);

async function status(key: string): Promise<number> {
  return (await freshCall(worker, key)).status;
}

async function untilStatus(key: string, expected: number): Promise<void> {
  let last = 0;
  await until(
    `status ${expected}`,
    async () => {
      last = await status(key);
      return last === expected ? true : null;
    },
    30_000,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it is ${last}`);
  });
}

function killAll(instance: Claviger): void {
  const { supervisor, gateways, control } = instance.pids();
  for (const pid of [supervisor, ...gateways, ...(control === null ? [] : [control])]) process.kill(pid, 'SIGKILL');
}
