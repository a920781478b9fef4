/**
 * Figures of the promises about a fleet, on one machine: an admin and four real workers in two regions on one PostgreSQL, the rest simulated
 * (`simulated-gateway.ts`). `npm run bench -- fleet [--write-docs] [--only name,name]`.
 */

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { stringify } from 'yaml';
import { type JoinAnswer, parseJoinAnswer } from '../../src/feed/join.ts';
import { LISTENING } from '../../src/storage/revision-line.ts';
import { makeSigningPair, readPrivateKey, readPublicKey, type SigningPair } from '../../src/util/ed25519.ts';
import { runtimeDirectory } from '../../src/util/runtime-directory.ts';
import {
  ADMIN_FLAGS,
  type SharedDatabase,
  startSharedDatabase,
  WORKER_FLAGS,
} from '../../tests/fleet/shared-database.ts';
import { ChaosProxy } from '../../tests/support/chaos-proxy.ts';
import { type Claviger, startClaviger, temporaryDirectory } from '../../tests/support/processes.ts';
import { until } from '../../tests/support/until.ts';
import { writeFleetTable } from './report.ts';
import { SimulatedGateway } from './simulated-gateway.ts';

const MASTER_KEY = 'sk-master-of-the-fleet-bench';
const REGIONS = ['eu', 'eu', 'us', 'us'];
const CHANGES = 100;
const JOINED_WORKERS = 1_000;
const JOINS_AT_ONCE = 4;
const JOINED_BEHIND = 1_000;
const QUIET_MS = 20_000;
const DURABLE = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' };

export interface Figure {
  readonly what: string;
  readonly target: string;
  readonly measured: string;
}

const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1]!.split(',') : null;
const figures: Figure[] = [];
const callAgent = new Agent({ keepAlive: true });
const say = (text: string): void => console.log(`bench: ${text}`);

const dir = await temporaryDirectory('claviger-fleet-bench-');
const config = join(dir, 'config.yaml');
await writeFile(config, stringify({ model_list: [{ model_name: 'm', litellm_params: { model: 'fake/gpt' } }] }));
const database = await startSharedDatabase({ serverSettings: DURABLE });
const running: Claviger[] = [];
try {
  const admin = await start('admin', 'hq', database.url);
  const workers = await Promise.all(REGIONS.map((region, index) => start(`worker-${index}`, region, database.url)));
  const socket = join(
    runtimeDirectory({
      dataDir: join(dir, 'admin'),
      env: {},
      owner: { uid: process.getuid!(), gid: process.getgid!() },
    }),
    'feed.sock',
  );
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const simulated: SimulatedGateway[] = [];
  const simulate = async (count: number): Promise<void> => {
    while (simulated.length < count) {
      const gateway = new SimulatedGateway(`simulated-${simulated.length}/0`, { socketPath: socket }, agent);
      simulated.push(gateway);
      gateway.connect();
    }
    await until(
      'all are connected',
      async () => (simulated.every(({ position }) => position !== null) ? true : null),
      60_000,
    );
  };

  if (wanted('propagation')) {
    await simulate(16);
    // What the first few cost says how a program starts, not how it runs.
    await propagation(admin, simulated);
    const notified = await propagation(admin, simulated);
    add('a change in force on 20 gateway processes, by notify', 'p99 ≤ 100 ms', notified);
    const lost = await withoutNotify(database, () => propagation(admin, simulated));
    add('the same with notify lost (polling)', 'p99 ≤ 400 ms', lost);
    await simulate(196);
    add('a change in force on 200 gateway processes', '≤ 1 s', await propagation(admin, simulated));
  }
  if (wanted('receipt')) {
    const times: number[] = [];
    for (let index = 0; index < 30; index++) {
      const key = await admin.generateKey({});
      const startedAt = performance.now();
      const answer = await admin.api('POST', '/key/block?wait=all&timeout=5s', { key });
      times.push(performance.now() - startedAt);
      const { pending } = answer.json().receipt as { pending: unknown[] };
      if (pending.length > 0) throw new Error(`not applied everywhere: ${JSON.stringify(pending)}`);
    }
    add(
      `a block with wait=all answered, ${simulated.length + workers.length} gateway processes`,
      '≤ 1 s',
      shares(times),
    );
  }
  if (wanted('reconnect')) await reconnect(admin, simulated, simulate);
  for (const gateway of simulated.splice(0)) gateway.disconnect();
  if (wanted('joined')) await joinedReconnect(admin);
  if (wanted('distance')) await distance(admin);
  if (wanted('backlog')) await backlog(database, workers[0]!, admin);
} catch (error) {
  for (const instance of running)
    console.error(instance.logs().slice(-6_000), await Promise.race([instance.exited, 'running']));
  throw error;
} finally {
  await Promise.all(running.map((instance) => instance.stop()));
  await database.stop();
}
console.log(`\n| what | to reach | measured |\n| --- | --- | --- |`);
for (const { what, target, measured } of figures) console.log(`| ${what} | ${target} | ${measured} |`);
if (process.argv.includes('--write-docs')) await writeFleetTable(figures);
process.exit(0);

function wanted(name: string): boolean {
  if (only !== null && !only.includes(name)) return false;
  say(name);
  return true;
}

function add(what: string, target: string, measured: string): void {
  figures.push({ what, target, measured });
  say(`${what}: ${measured}`);
}

async function start(name: string, region: string, databaseUrl: string, env: Record<string, string> = {}) {
  const instance = await startClaviger({
    dir,
    args: ['--config', config],
    readyWithinMs: 60_000,
    env: {
      ...(region === 'hq' ? ADMIN_FLAGS : WORKER_FLAGS),
      CLAVIGER_REGION: region,
      DATABASE_URL: databaseUrl,
      LITELLM_MASTER_KEY: MASTER_KEY,
      CLAVIGER_DATA_DIR: join(dir, name),
      LITELLM_LOG: 'WARNING',
      ...env,
    },
  });
  running.push(instance);
  return instance;
}

/** From the beginning of a change's transaction to its application, on all gateway processes: the slowest of each change. */
async function propagation(admin: Claviger, simulated: readonly SimulatedGateway[]): Promise<string> {
  const key = await admin.generateKey({});
  const revisions: number[] = [];
  for (let index = 0; index < CHANGES; index++) {
    const answer = await admin.api('POST', index % 2 === 0 ? '/key/block' : '/key/unblock', { key });
    if (answer.status !== 200) throw new Error(answer.text);
    revisions.push(Number(answer.headers.get('x-claviger-rev')));
    await delay(Math.random() * 60);
  }
  const last = revisions.at(-1)!;
  await until(
    'all have it',
    async () => (simulated.every(({ position }) => position!.rev >= last) ? true : null),
    20_000,
  );
  await until('the real ones too', async () => {
    const rows = await database.query<{ n: string }>(
      `select count(*) as n from claviger.gateway where region in ('eu', 'us') and rev >= ${last}`,
    );
    return Number(rows[0]!.n) >= REGIONS.length ? true : null;
  });
  const logged = await database.query<{ rev: string; at: Date; real: Date }>(
    `select c.rev, c.at, max(d.applied_at) as real
       from claviger.change_log c
       join claviger.change_delivery d on d.epoch = c.epoch and d.from_rev < c.rev and d.to_rev >= c.rev
       join claviger.gateway g on g.gateway_id = d.gateway_id and g.region in ('eu', 'us')
      where c.rev = any($1::bigint[]) group by c.rev, c.at`,
    [revisions],
  );
  const slowest = logged.map(({ rev, at, real }) => {
    const here = simulated.map((gateway) => gateway.appliedAtMs.get(Number(rev)) ?? Number.POSITIVE_INFINITY);
    return Math.max(...here, real.getTime()) - at.getTime();
  });
  return shares(slowest);
}

/** Ends whoever listens, again and again: what a lost notification looks like to everybody. */
async function withoutNotify<T>(shared: SharedDatabase, work: () => Promise<T>): Promise<T> {
  let ended = false;
  const cutting = (async () => {
    while (!ended) {
      await shared.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = '${LISTENING}'`,
      );
      await delay(20);
    }
  })();
  try {
    return await work();
  } finally {
    ended = true;
    await cutting;
  }
}

async function reconnect(
  admin: Claviger,
  simulated: SimulatedGateway[],
  simulate: (count: number) => Promise<void>,
): Promise<void> {
  // Before there are keys: what is measured is coming back, not a thousand snapshots.
  await simulate(1_000);
  await insertKeys();
  for (const gateway of simulated) gateway.disconnect();
  // A thousand revisions of five hundred keys.
  let last = 0;
  for (let index = 0; index < 500; index++) {
    const key = await admin.generateKey({});
    const answer = await admin.api('POST', '/key/block', { key });
    last = Number(answer.headers.get('x-claviger-rev'));
  }
  const control = admin.pids().control!;
  let rssMax = 0;
  let ended = false;
  const watching = (async () => {
    while (!ended) {
      rssMax = Math.max(rssMax, await residentBytes(control));
      await delay(50);
    }
  })();
  const probe = new Worker(new URL('./management-probe.mjs', import.meta.url), {
    workerData: { url: `http://127.0.0.1:${admin.port}/key/list?size=1`, key: MASTER_KEY, pauseMs: 20 },
  });
  // Its first call costs what a connection costs.
  await delay(500);
  const startedAt = performance.now();
  for (const gateway of simulated) gateway.connect();
  await until(
    'all are current',
    async () => (simulated.every(({ position }) => (position?.rev ?? 0) >= last) ? true : null),
    120_000,
  );
  const elapsedMs = performance.now() - startedAt;
  const measured = once(probe, 'message') as Promise<[number[]]>;
  probe.postMessage('end');
  const [management] = await measured;
  await probe.terminate();
  ended = true;
  await watching;
  say(`management calls: ${management.map((ms) => ms.toFixed(0)).join(' ')}`);
  add(
    '1,000 gateway processes come back at once, 1,000 revisions behind: all current',
    '≤ 30 s',
    `${(elapsedMs / 1_000).toFixed(1)} s`,
  );
  add('the same: memory of the control process', '< 1 GiB', `${Math.round(rssMax / 1024 ** 2)} MiB`);
  add('the same: management calls meanwhile', 'answered', shares(management));
}

/** Without changes: nobody is sent them but with a snapshot. */
async function insertKeys(): Promise<void> {
  await database.query(`
    insert into claviger.virtual_key (token, key_name, models, aliases, config, model_max_budget, permissions, allowed_routes,
      allowed_cache_controls, policies, access_group_ids, metadata, blocked, auto_rotate, created_at, updated_at)
    select encode(sha256(('bench' || n)::bytea), 'hex'), 'sk-...' || n, array['m'], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
           false, false, now(), now()
      from generate_series(1, 10000) n
    on conflict do nothing`);
}

/**
 * The same for workers that joined: each has keys of its own, and all come over HTTP to the public port of one admin. Once as they are, and once
 * as workers that know no sessions and sign everything.
 */
async function joinedReconnect(admin: Claviger): Promise<void> {
  const region = 'joined';
  const identities: { readonly pair: SigningPair; readonly answer: JoinAnswer }[] = [];
  while (identities.length < JOINED_WORKERS) {
    const batch = Math.min(JOINS_AT_ONCE, JOINED_WORKERS - identities.length);
    identities.push(...(await Promise.all(Array.from({ length: batch }, () => joinOne(admin, region)))));
  }
  let positions: SimulatedGateway['position'][] = [];
  for (const offersSession of [true, false]) {
    const agent = new Agent({ keepAlive: true, maxSockets: 64 });
    const workers = identities.map(({ pair, answer }) => {
      const { installation, instanceId } = answer;
      const privateKey = readPrivateKey(pair.privateKey);
      const installationKey = readPublicKey(answer.installationKey);
      const target = { host: '127.0.0.1', port: admin.port };
      const as = { instanceId, privateKey, installation, installationKey, region, offersSession };
      return new SimulatedGateway(`${instanceId}/0`, { ...target, ...as }, agent);
    });
    const allHave = (rev: number) =>
      until(
        'all are current',
        async () => (workers.every(({ position }) => (position?.rev ?? 0) >= rev) ? true : null),
        300_000,
      );
    for (const [index, worker] of workers.entries()) {
      worker.position = positions[index] ?? null;
      worker.connect();
    }
    await until('all are connected', async () => (workers.every(({ connected }) => connected) ? true : null), 300_000);
    for (const worker of workers) worker.disconnect();
    await insertKeys();
    let last = 0;
    for (let index = 0; index < JOINED_BEHIND / 2; index++) {
      const key = await admin.generateKey({});
      last = Number((await admin.api('POST', '/key/block', { key })).headers.get('x-claviger-rev'));
    }
    const { control, gateways } = admin.pids();
    const pids = [control!, ...gateways];
    const rssMax = pids.map(() => 0);
    let ended = false;
    const watching = (async () => {
      while (!ended) {
        for (const [index, pid] of pids.entries()) rssMax[index] = Math.max(rssMax[index]!, await residentBytes(pid));
        await delay(100);
      }
    })();
    const [cpuBefore, startedAt] = [await cpuMsOf(pids), performance.now()];
    for (const worker of workers) worker.connect();
    await allHave(last);
    const elapsedMs = performance.now() - startedAt;
    const cpuCurrent = await cpuMsOf(pids);
    // Connected, with nothing to do but pings.
    await delay(5_000);
    const pings = () => workers.reduce((sum, { pingsAnswered }) => sum + pingsAnswered, 0);
    const [pingsBefore, cpuQuiet, quietAt] = [pings(), await cpuMsOf(pids), performance.now()];
    await delay(QUIET_MS);
    const quietMs = performance.now() - quietAt;
    const pingsPerSecond = ((pings() - pingsBefore) * 1_000) / quietMs;
    const cpuAfter = await cpuMsOf(pids);
    ended = true;
    await watching;
    for (const worker of workers) worker.disconnect();
    positions = workers.map(({ position }) => position);
    agent.destroy();
    const who = offersSession ? '1,000 joined workers' : 'the same without sessions, everything signed:';
    const used = (from: readonly number[], to: readonly number[]) => {
      const [ofControl = 0, ...ofGateways] = to.map((ms, index) => ms - from[index]!);
      return { ofControl, ofGateways: ofGateways.reduce((sum, ms) => sum + ms, 0) };
    };
    const back = used(cpuBefore, cpuCurrent);
    const quiet = used(cpuQuiet, cpuAfter);
    const share = (ms: number) => `${((ms / quietMs) * 100).toFixed(0)} %`;
    add(
      `${who} come back at once, ${JOINED_BEHIND} revisions behind: all current`,
      '≤ 30 s',
      `${(elapsedMs / 1_000).toFixed(1)} s; CPU of the admin ${(back.ofControl / 1_000).toFixed(1)} s (control process) and ${(back.ofGateways / 1_000).toFixed(1)} s (gateway process, which relays)`,
    );
    add(
      'the same: memory of the admin',
      '< 1 GiB',
      rssMax
        .map((bytes, index) => `${Math.round(bytes / 1024 ** 2)} MiB (${index === 0 ? 'control' : 'gateway'} process)`)
        .join(', '),
    );
    add(
      'the same: pings in all, and CPU of the admin with nothing else to do',
      '≤ 200/s',
      `${pingsPerSecond.toFixed(0)}/s; ${share(quiet.ofControl)} (control process), ${share(quiet.ofGateways)} (gateway process) of a core`,
    );
  }
}

async function joinOne(admin: Claviger, region: string): Promise<{ pair: SigningPair; answer: JoinAnswer }> {
  const made = await admin.api('POST', '/fleet/join-token', { region });
  const { token } = made.json() as { token: string };
  const pair = makeSigningPair();
  const asked = {
    token,
    instanceId: randomUUID(),
    region,
    role: 'worker',
    version: '0.1.0',
    publicKey: pair.publicKey,
  };
  const response = await fetch(`http://127.0.0.1:${admin.port}/feed/v1/join`, {
    method: 'POST',
    body: JSON.stringify(asked),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`a join was answered ${response.status}: ${text}`);
  return { pair, answer: parseJoinAnswer(text) };
}

/** User and system time. */
function cpuMsOf(pids: readonly number[]): Promise<number[]> {
  const clockTickMs = 10;
  return Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) * clockTickMs;
    }),
  );
}

/** A worker whose way to the database takes 150 ms there and back, beside one without. */
async function distance(admin: Claviger): Promise<void> {
  const url = new URL(database.url);
  const host = await ChaosProxy.start({ port: Number(url.port), host: url.hostname });
  await host.set({ kind: 'pass', latencyMs: 75 });
  const far = new URL(database.url);
  far.hostname = '127.0.0.1';
  far.port = String(host.port);
  const [near, distant] = [await start('near', 'near', database.url), await start('far', 'far', far.href)];
  const key = await admin.generateKey({});
  for (const worker of [near, distant])
    await until('known', async () => ((await call(worker.port, key)).status === 200 ? true : null));
  const latencies = new Map([near, distant].map((worker) => [worker, [] as number[]]));
  for (let round = 0; round < 1_500; round++) {
    for (const worker of [near, distant]) latencies.get(worker)!.push((await call(worker.port, key)).ms);
  }
  const [a, b] = [near, distant].map((worker) => share(latencies.get(worker)!, 0.99));
  add(
    'p99 of a call at 150 ms to the database, to that at 0 ms',
    '≤ 1.1 ×',
    `${(b! / a!).toFixed(2)} × (${b!.toFixed(1)} / ${a!.toFixed(1)} ms)`,
  );
  const answered: number[] = [];
  const refused = new Map<number, number>();
  for (let index = 0; index < 40; index++) {
    const fresh = await admin.generateKey({});
    const { status, ms } = await call(distant.port, fresh);
    if (status === 200) answered.push(ms);
    else refused.set(status, (refused.get(status) ?? 0) + 1);
  }
  say(`each: ${answered.map((ms) => ms.toFixed(0)).join(' ')}`);
  const others = [...refused].map(([status, count]) => `${count} × ${status}`).join(', ') || 'no other answer';
  add(
    'first use of a fresh key there, at once, 40 keys',
    '≤ 300 ms, never 401',
    `${answered.length} answered, ${shares(answered)}; ${others}`,
  );
  await near.stop();
  await distant.stop();
  await host.close();
}

/** Usage that waits while the database is away, and how fast it is booked afterwards. */
async function backlog(shared: SharedDatabase, worker: Claviger, admin: Claviger): Promise<void> {
  const records = 60_000;
  const key = await admin.generateKey({});
  await until('known', async () => ((await call(worker.port, key)).status === 200 ? true : null));
  const before = await p99Under(worker.port, key, 5_000);
  await shared.cluster.halt();
  say(`${records} calls while the database is away`);
  let done = 0;
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (done < records) {
        done += 1;
        const { status } = await call(worker.port, key);
        if (status !== 200) throw new Error(`answered ${status} while the database is away`);
      }
    }),
  );
  await shared.cluster.resume();
  const startedAt = performance.now();
  const during = p99Under(worker.port, key, 5_000);
  const booked = async () =>
    Number((await shared.query<{ n: string }>('select count(*) as n from claviger.spend_log'))[0]!.n);
  await until('booked', async () => ((await booked().catch(() => 0)) >= records ? true : null), 120_000);
  const seconds = (performance.now() - startedAt) / 1_000;
  const perSecond = records / seconds;
  add(
    'one hour of backlog at 100 calls/s booked (360,000 records)',
    '≤ 60 s',
    `${(360_000 / perSecond).toFixed(0)} s at the rate of ${records} records in ${seconds.toFixed(1)} s`,
  );
  const after = await during;
  add(
    'p99 of calls while it is booked, to before',
    '≤ 2 ×',
    `${(after / before).toFixed(2)} × (${after.toFixed(1)} / ${before.toFixed(1)} ms)`,
  );
}

/** At about 100 calls per second. */
async function p99Under(port: number, key: string, durationMs: number): Promise<number> {
  const times: number[] = [];
  const end = performance.now() + durationMs;
  while (performance.now() < end) {
    times.push((await call(port, key)).ms);
    await delay(10);
  }
  return share(times, 0.99);
}

function call(port: number, key: string): Promise<{ status: number; ms: number }> {
  const body = '{"model":"m","messages":[{"role":"user","content":"Hi"}]}';
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        method: 'POST',
        path: '/v1/chat/completions',
        agent: callAgent,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': body.length },
      },
      (response) => {
        response.resume();
        response.on('end', () => resolve({ status: response.statusCode ?? 0, ms: performance.now() - startedAt }));
        response.on('error', reject);
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

function share(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!;
}

function shares(values: readonly number[]): string {
  const [p50, p99, max] = [share(values, 0.5), share(values, 0.99), Math.max(...values)];
  return `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, longest ${max.toFixed(0)} ms`;
}
