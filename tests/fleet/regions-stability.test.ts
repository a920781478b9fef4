/** Regions go on when everything behind them is gone, also after they were killed and started again; and nothing of it is lost. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Claviger } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { readFrames } from '../support/usage.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { freshCall } from './fresh-calls.ts';
import {
  fakeModels,
  type Member,
  type SharedDatabase,
  type SharedFleet,
  startMember,
  startSharedDatabase,
  startSharedFleet,
} from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-regions';
const GATEWAYS = 2;
const KEYS = 12;
/** The figure is 2 s; a test on a busy machine asserts the order of it. */
const CURRENT_WITHIN_MS = 10 * 2_000;
/** The figure is 1.2 times the time before. */
const SLOWER_MAX = 10 * 1.2;
const NOBODY = 'sk-nobody-has-made-this-key';

let database: SharedDatabase;
let fleet: SharedFleet;
let dir: string;
/** Calls with status 200. */
let answered = 0;

beforeEach(async () => {
  answered = 0;
  database = await startSharedDatabase();
  fleet = await startSharedFleet(database, MASTER_KEY, options);
  dir = fleet.dir;
  await Promise.all([fleet.eu, fleet.us].map((worker) => waitUntilCurrent(worker, GATEWAYS)));
});
afterEach(async () => {
  await fleet?.stop();
  await database?.stop();
});

function options(member: Member) {
  return { args: member === 'admin' ? [] : ['--config', fakeModels(), '--num_workers', `${GATEWAYS}`] };
}

it('every valid key is answered as before while admin and database are gone, also after a kill of the worker', async () => {
  const keys = await Promise.all(Array.from({ length: KEYS }, () => fleet.admin.generateKey()));
  const blocked = await fleet.admin.generateKey();
  await fleet.admin.api('POST', '/key/block', { key: blocked });
  for (const worker of [fleet.eu, fleet.us]) {
    await untilStatus(worker, blocked, 401);
    for (const key of keys) await untilStatus(worker, key, 200);
  }

  const loads = [load(() => fleet.eu, keys), load(() => fleet.us, keys)];
  const before = await measured(loads);

  await database.cluster.halt();
  killAll(fleet.admin);
  const during = await measured(loads);
  for (const worker of [fleet.eu, fleet.us]) {
    await untilStatus(worker, NOBODY, 503);
    expect(await statusOf(worker, blocked)).toBe(401);
    await until('it says that it is alone', async () => {
      const ready = await worker.api('GET', '/health/readiness', undefined, null);
      return ready.status === 200 && ready.json().status === 'degraded' ? true : null;
    });
  }
  for (const { statuses } of during) expect(statuses).toEqual(new Set([200]));
  for (const [region, { p99Ms }] of during.entries()) {
    expect(p99Ms).toBeLessThan(Math.max(50, before[region]!.p99Ms * SLOWER_MAX));
  }

  // The worker of one region dies and comes back, with nothing to ask.
  await loads[0]!.stop();
  killAll(fleet.eu);
  fleet.eu = await startMember('eu', database, MASTER_KEY, dir, options('eu'));
  const again = load(() => fleet.eu, keys);
  const after = await measured([again, loads[1]!]);
  for (const { statuses } of after) expect(statuses).toEqual(new Set([200]));
  for (const worker of [fleet.eu, fleet.us]) {
    for (const key of keys) expect(await statusOf(worker, key)).toBe(200);
    expect(await statusOf(worker, blocked)).toBe(401);
    expect(await statusOf(worker, NOBODY)).toBe(503);
    expect((await worker.api('GET', '/key/list')).status).toBe(403);
  }

  await database.cluster.resume();
  const healedAt = performance.now();
  await Promise.all([fleet.eu, fleet.us].map((worker) => untilStatus(worker, NOBODY, 401)));
  expect(performance.now() - healedAt).toBeLessThan(CURRENT_WITHIN_MS);

  fleet.admin = await startMember('admin', database, MASTER_KEY, dir, options('admin'));
  await until('the admin manages again', async () =>
    (await fleet.admin.api('POST', '/key/block', { key: keys[0] })).status === 200 ? true : null,
  );
  await Promise.all([fleet.eu, fleet.us].map((worker) => untilStatus(worker, keys[0]!, 401)));

  await Promise.all([again.stop(), loads[1]!.stop()]);
  await until('all of it is in the spend log', async () => {
    return (await spendRows()) === answered ? true : null;
  });
}, 120_000);

it('fewer gateway processes than before lose nothing: what the others left is shipped', async () => {
  const slots = 3;
  await fleet.eu.stop();
  const processes = (count: number) => ({ args: ['--config', fakeModels(), '--num_workers', `${count}`] });
  fleet.eu = await startMember('eu', database, MASTER_KEY, dir, processes(slots));
  await waitUntilCurrent(fleet.eu, slots);
  const key = await fleet.admin.generateKey();
  await untilStatus(fleet.eu, key, 200);
  await database.cluster.halt();
  for (let call = 0; call < 30; call++) expect(await statusOf(fleet.eu, key)).toBe(200);
  await fleet.eu.stop();
  for (let slot = 0; slot < slots; slot++)
    expect(readFrames(join(dir, 'eu', `gateway-${slot}`)).size).toBeGreaterThan(0);

  await database.cluster.resume();
  fleet.eu = await startMember('eu', database, MASTER_KEY, dir, processes(1));
  await until('the calls of all three are in the spend log', async () => {
    return (await spendRows()) === answered ? true : null;
  });
  // The directories stay, for a start with more processes.
  expect((await readdir(join(dir, 'eu'))).filter((name) => /^gateway-/.test(name))).toHaveLength(slots);
}, 120_000);

async function spendRows(): Promise<number> {
  const [row] = await database.query<{ rows: string }>(
    "select count(*) as rows from claviger.spend_log where status = 'success'",
  );
  return Number(row!.rows);
}

async function statusOf(worker: Claviger, key: string): Promise<number> {
  const { status } = await freshCall(worker, key);
  if (status === 200) answered += 1;
  return status;
}

async function untilStatus(worker: Claviger, key: string, expected: number): Promise<void> {
  await until(
    `status ${expected}`,
    async () => ((await statusOf(worker, key)) === expected ? true : null),
    CURRENT_WITHIN_MS,
  );
}

interface Load {
  /** Statuses and times of the calls that begin from now on, once there are `calls` of them. */
  measure(calls: number): Promise<Measured>;
  stop(): Promise<void>;
}

interface Measured {
  readonly statuses: ReadonlySet<number>;
  readonly p99Ms: number;
}

/** One call after the other, with each key in turn. */
function load(worker: () => Claviger, keys: readonly string[]): Load {
  let seen: { readonly status: number; readonly tookMs: number }[] = [];
  let stopped = false;
  const ended = (async () => {
    for (let call = 0; !stopped; call++) {
      const startedAt = performance.now();
      const status = await statusOf(worker(), keys[call % keys.length]!).catch(() => 0);
      seen.push({ status, tookMs: performance.now() - startedAt });
      await delay(5);
    }
  })();
  return {
    async measure(calls) {
      seen = [];
      await until('enough calls', () => (seen.length >= calls ? true : null), 30_000);
      const times = seen.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
      return { statuses: new Set(seen.map(({ status }) => status)), p99Ms: times[Math.floor(times.length * 0.99)]! };
    },
    async stop() {
      stopped = true;
      await ended;
    },
  };
}

const measured = (loads: readonly Load[]): Promise<Measured[]> => Promise.all(loads.map((one) => one.measure(200)));

/** As if the machine had lost its power. */
function killAll(instance: Claviger): void {
  const { supervisor, gateways, control } = instance.pids();
  for (const pid of [supervisor, ...gateways, ...(control === null ? [] : [control])]) process.kill(pid, 'SIGKILL');
}
