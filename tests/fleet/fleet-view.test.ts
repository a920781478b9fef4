/** An admin and a worker in each of two regions: what the admin sees of them, and what it can have them do. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RegionRow as Region, WorkerRow as Worker } from '../../src/contract/schemas/fleet.ts';
import { PRESENCE_AGE_MAX_MS } from '../../src/control/fleet/gateway-state.ts';
import { runClaviger } from '../support/processes.ts';
import { until as untilThere } from '../support/until.ts';
import {
  fakeModels,
  type SharedDatabase,
  type SharedFleet,
  startMember,
  startSharedDatabase,
  startSharedFleet,
} from './shared-database.ts';

/** As `untilThere`, where false means not yet. */
const until = <T>(what: string, look: () => Promise<T> | T, timeoutMs?: number) =>
  untilThere(what, async () => (await look()) || null, timeoutMs);

const MASTER_KEY = 'sk-master-of-the-fleet-view';

let database: SharedDatabase;
let fleet: SharedFleet;

beforeAll(async () => {
  database = await startSharedDatabase();
  fleet = await startSharedFleet(database, MASTER_KEY, (member) =>
    member === 'admin' ? {} : { args: ['--config', fakeModels()] },
  );
});
afterAll(async () => {
  await fleet?.stop();
  await database?.stop();
});

const get = async (path: string) => (await fleet.admin.api('GET', path)).json();
const workerOf = async (region: string) =>
  (await get('/fleet/workers')).workers.find((worker: Worker) => worker.region === region && worker.role === 'worker');
const cli = (...args: string[]) =>
  runClaviger(['fleet', ...args], { env: { CLAVIGER_URL: fleet.admin.url, LITELLM_MASTER_KEY: MASTER_KEY } });

const untilLive = () =>
  until('all are live', async () => {
    const workers = (await get('/fleet/workers')).workers.filter((worker: Worker) => worker.state !== 'left');
    const live = workers.filter((worker: Worker) => worker.state === 'live' && worker.gateways[0]?.usage_log !== null);
    return live.length === 3 ? live : null;
  });

const call = (region: 'eu' | 'us', key: string) =>
  fleet[region].api(
    'POST',
    '/v1/chat/completions',
    { model: 'alpha', messages: [{ role: 'user', content: 'Hi' }] },
    key,
  );

describe('a fleet', () => {
  it('is seen whole on the admin: instances, gateway processes, regions', async () => {
    const workers = await untilLive();
    expect(workers.map((worker: Worker) => [worker.region, worker.role]).sort()).toEqual([
      ['default', 'admin'],
      ['eu', 'worker'],
      ['us', 'worker'],
    ]);
    for (const { gateways, control_process } of workers) {
      expect(gateways).toHaveLength(1);
      expect(control_process).not.toBeNull();
      const [gateway] = gateways;
      expect(gateway.feed_protocol).toBe(2);
      expect(gateway.rss_bytes).toBeGreaterThan(10_000_000);
      expect(Date.parse(gateway.started_at)).toBeGreaterThan(Date.now() - 600_000);
    }
    await until('the disk was looked at', async () => (await workerOf('eu')).gateways[0].usage_log.disk_free_bytes > 0);
    const { regions } = await get('/fleet/regions');
    expect(regions.map((region: Region) => region.region)).toEqual(['eu', 'us']);
  });

  it('has a revoked key refused everywhere when wait=all answers that all have applied it', async () => {
    await untilLive();
    const key = await fleet.admin.generateKey({});
    await until(
      'both serve it',
      async () => (await call('eu', key)).status === 200 && (await call('us', key)).status === 200,
    );
    for (let round = 0; round < 5; round++) {
      await fleet.admin.api('POST', '/key/unblock?wait=all&timeout=10s', { key });
      const answer = await fleet.admin.api('POST', '/key/block?wait=all&timeout=10s', { key });
      const { receipt } = answer.json();
      expect(receipt.applied).toHaveLength(3);
      expect(receipt.pending).toEqual([]);
      expect([(await call('eu', key)).status, (await call('us', key)).status]).toEqual([401, 401]);
    }
  });

  it('takes everything anew on resync and goes on', async () => {
    const { worker } = await workerOf('us');
    const answer = await fleet.admin.api('POST', `/fleet/workers/${worker}/resync`);
    expect([answer.status, answer.json().gateways]).toEqual([200, [`${worker}/0`]]);
    await fleet.us.waitForLog(/whole snapshot was asked for/);
    await until('it is current', async () => (await workerOf('us')).gateways[0].lag.revisions === 0);
  });

  it('is readable on the command line', async () => {
    await untilLive();
    const status = await cli('status');
    expect([status.code, status.stderr]).toEqual([0, '']);
    expect(status.stdout).toMatch(/^Revision \d+ \(epoch 1\), 3 instances, 3 gateway processes\.$/m);
    expect(status.stdout).toMatch(/^eu +1 +1 +0 /m);
    expect(status.stdout).toMatch(/ worker +live +[\d.]+ m?s ago/);
    const changes = await cli('changes', '--limit', '2');
    expect(changes.stdout).toMatch(/key (un)?blocked/);
    const rev = (await get('/fleet/changes?limit=1')).changes[0].rev;
    const change = await cli('changes', String(rev));
    expect(change.stdout).toContain('3 gateway processes of 3 applied it.');
    expect(JSON.parse((await cli('status', '--json')).stdout).workers).toHaveLength(3);
    const wrong = await cli('drain', 'nobody');
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('There is no worker nobody')]);
  });

  it('sends its events through the public port as they happen', async () => {
    const over = new AbortController();
    const response = await fetch(`${fleet.admin.url}/fleet/events`, {
      headers: { authorization: `Bearer ${MASTER_KEY}` },
      signal: over.signal,
    });
    let text = '';
    const reading = (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of response.body!) text += decoder.decode(chunk);
    })().catch(() => undefined);
    await until('the first event', () => text.includes('event: fleet'));
    const { token } = (await fleet.admin.api('POST', '/key/generate', {})).json();
    await until('the change', () => text.includes(token));
    over.abort();
    await reading;
  });

  it('never shows a killed worker as live, and a new process as soon as it is there', async () => {
    const before = (await workerOf('us')).gateways[0].session;
    fleet.us.kill('gateway', 'SIGKILL');
    await until('it is not live', async () => {
      const gateway = (await workerOf('us')).gateways[0];
      return gateway.session !== before || gateway.state !== 'live';
    });
    await until('the new process is live', async () => {
      const gateway = (await workerOf('us')).gateways[0];
      return gateway.session !== before && gateway.state === 'live';
    });
  });

  it('shows an instance that is gone with all its processes as what it is, by its age', async () => {
    const { worker } = await workerOf('us');
    for (const role of ['control', 'gateway', 'supervisor'] as const) fleet.us.kill(role, 'SIGKILL');
    await fleet.us.stop();
    // Four times as long as it takes, and less than its gateway process alone would be waited for.
    await until('it is suspect', async () => (await workerOf('us')).state !== 'live', 4 * PRESENCE_AGE_MAX_MS);
    const key = await fleet.admin.generateKey({});
    const { receipt } = (await fleet.admin.api('POST', '/key/block?wait=all&timeout=2s', { key })).json();
    expect(receipt.pending).toMatchObject([{ worker, region: 'us' }]);
    expect(Date.parse(receipt.pending[0].safe_at)).toBeGreaterThan(Date.now() + 23 * 3_600_000);
    fleet.us = await startMember('us', database, MASTER_KEY, fleet.dir, { args: ['--config', fakeModels()] });
    await until('it is live again', async () => (await workerOf('us')).state === 'live');
  }, 120_000);

  it('ends an instance that is asked to drain, as SIGTERM does, and shows that it left', async () => {
    const { worker } = await workerOf('eu');
    const drained = await cli('drain', worker.slice(0, 13));
    expect([drained.code, drained.stdout]).toEqual([0, expect.stringContaining(`${worker} was asked to drain`)]);
    expect(await fleet.eu.exited).toBe(0);
    await until('it has left', async () => (await workerOf('eu')).state === 'left');
    const removed = await fleet.admin.api('POST', `/fleet/workers/${worker}/remove`);
    expect(removed.json()).toEqual({ worker, gateways_forgotten: 1 });
    expect(await workerOf('eu')).toBeUndefined();
  }, 60_000);
});
