import { randomBytes } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GENERATED_KEY_BYTES, makeGeneratedKey } from '../../src/domain/generated-key.ts';
import { hmacSha256 } from '../../src/gateway/auth/key-digest.ts';
import { LocalSnapshots } from '../../src/gateway/live/local-snapshots.ts';
import { MapPrincipalStore } from '../../src/gateway/live/principal-store.ts';
import { type Claviger, temporaryDirectory } from '../support/processes.ts';
import { isAlive } from '../support/processes-table.ts';
import { silentLog } from '../support/silent-log.ts';
import { until } from '../support/until.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { type FreshAnswer, freshCall } from './fresh-calls.ts';
import { dataDirIn, GATEWAYS, startCurrent, startKeyed } from './keyed-claviger.ts';

let dir: string;
let claviger: Claviger;

beforeEach(async () => {
  dir = await temporaryDirectory();
  claviger = await startCurrent(dir);
});
afterEach(async () => {
  await claviger?.stop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

it('keys live on when the instance starts again: used, blocked and deleted ones', async () => {
  const keys = await someKeys();
  expect(await claviger.stop()).toBe(0);
  claviger = await startCurrent(dir);
  await expectAsBefore(keys);
  expect((await claviger.api('GET', `/key/info?key=${keys.good}`)).status).toBe(200);
  expect((await claviger.api('GET', `/key/info?key=${keys.deleted}`)).status).toBe(404);
});

it('keys live on when the gateway processes die, also while control process and database hang', async () => {
  const keys = await someKeys();
  await killGateways();
  await expectAsBefore(keys);

  claviger.kill('control', 'SIGSTOP');
  claviger.kill('postgres', 'SIGSTOP');
  await killGateways();
  await expectAsBefore(keys);
  // These processes have heard nothing of the database yet: what they do not know may still exist.
  await expectNotKnownHere('sk-somebody-0123456789');

  claviger.kill('postgres', 'SIGCONT');
  claviger.kill('control', 'SIGCONT');
  await waitUntilCurrent(claviger, GATEWAYS);
  const made = await claviger.generateKey();
  await until('a new key works everywhere', async () => ((await statuses(made)).every((s) => s === 200) ? true : null));
  expect(await statuses('sk-somebody-0123456789')).toEqual([401, 401, 401, 401]);
}, 60_000);

it('an instance whose database does not start answers its keys from disk, and says 503 of what it can not know', async () => {
  const keys = await someKeys();
  await claviger.stop();
  const newer = makeGeneratedKey(randomBytes(GENERATED_KEY_BYTES), fleetKeyOnDisk(), hmacSha256);
  // PostgreSQL does not start without this file, and the control process does not without PostgreSQL.
  const controlFile = join(dataDirIn(dir), 'postgres-18', 'global', 'pg_control');
  await rename(controlFile, `${controlFile}.away`);
  claviger = await startKeyed(dir);

  await expectAsBefore(keys);
  await expectNotKnownHere(newer);
  await expectNotKnownHere('sk-somebody-0123456789');
  // Not one of this installation, whatever happened meanwhile.
  const noise = await freshCall(claviger, `sk-c1${'x'.repeat(28)}`);
  expect(noise.json().error).toMatchObject({ code: '401', type: 'token_not_found_in_db' });
  for (const path of ['/key/list', '/spend/logs']) {
    const answer = await claviger.api('GET', path);
    expect([answer.status, answer.json().error.type]).toEqual([503, 'no_db_connection']);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  }
  expect((await claviger.api('GET', '/health/readiness')).json()).toEqual({ status: 'degraded', db: 'disconnected' });
  await claviger.waitForLog(/embedded PostgreSQL .* started again.*does not start/, 20_000);
  await expectAsBefore(keys);

  // What happened without the database is told to it when it is there again.
  await rename(`${controlFile}.away`, controlFile);
  await waitUntilCurrent(claviger, GATEWAYS);
  expect(await statuses(newer)).toEqual([401, 401, 401, 401]);
  const rows = await until('the calls of the outage are in the log', async () => {
    const answer = await claviger.api('GET', `/spend/logs?api_key=${keys.good}`);
    return answer.status === 200 && answer.json().length === 12 ? answer.json() : null;
  });
  expect(rows.every(({ status }: { status: string }) => status === 'success')).toBe(true);
}, 90_000);

it('the first start without a database that works answers no key with 401', async () => {
  await claviger.stop();
  for (const slot of Array.from({ length: GATEWAYS }, (_, index) => index))
    await rm(join(dataDirIn(dir), `gateway-${slot}`), { recursive: true });
  const controlFile = join(dataDirIn(dir), 'postgres-18', 'global', 'pg_control');
  await rename(controlFile, `${controlFile}.away`);
  claviger = await startKeyed(dir, { readinessPath: '/health/liveliness' });
  expect((await claviger.api('GET', '/health/readiness', undefined, null)).status).toBe(503);
  await expectNotKnownHere('sk-somebody-0123456789');
  await expectNotKnownHere(`sk-c1${'x'.repeat(28)}`);
  // The master key is that of the settings and needs no database.
  expect(await statuses(claviger.masterKey)).toEqual([200, 200, 200, 200]);
}, 60_000);

interface Keys {
  readonly good: string;
  readonly limited: string;
  readonly blocked: string;
  readonly deleted: string;
}

/** Keys whose revision is on the disk of both gateway processes when this returns. */
async function someKeys(): Promise<Keys> {
  const [good, limited, blocked, deleted] = [
    await claviger.generateKey(),
    await claviger.generateKey({ models: ['beta'] }),
    await claviger.generateKey(),
    await claviger.generateKey(),
  ];
  expect((await claviger.api('POST', '/key/block', { key: blocked })).status).toBe(200);
  expect((await claviger.api('POST', '/key/delete', { keys: [deleted] })).status).toBe(200);
  const keys = { good, limited, blocked, deleted } as Keys;
  await expectAsBefore(keys);
  return keys;
}

/** Four calls each, so that both gateway processes are asked. */
async function expectAsBefore({ good, limited, blocked, deleted }: Keys): Promise<void> {
  expect(await statuses(good)).toEqual([200, 200, 200, 200]);
  expect(await statuses(limited)).toEqual([403, 403, 403, 403]);
  expect(await statuses(blocked)).toEqual([401, 401, 401, 401]);
  expect(await statuses(deleted)).toEqual([401, 401, 401, 401]);
  expect((await freshCall(claviger, deleted)).json().error.message).toContain('It was deleted');
}

async function expectNotKnownHere(key: string): Promise<void> {
  for (const answer of await fourCalls(key)) {
    expect([answer.status, answer.json().error.type]).toEqual([503, 'no_db_connection']);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  }
}

async function statuses(key: string): Promise<number[]> {
  return (await fourCalls(key)).map(({ status }) => status);
}

function fourCalls(key: string): Promise<FreshAnswer[]> {
  return Promise.all(Array.from({ length: 4 }, () => freshCall(claviger, key)));
}

/** SIGKILL, and waits until others have taken their place. */
async function killGateways(): Promise<void> {
  const killed = claviger.kill('gateway');
  await until('the gateway processes are gone', () => (killed.some(isAlive) ? null : true));
  await until('others are there and listen', async () => {
    if (claviger.pids().gateways.length < GATEWAYS) return null;
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => freshCall(claviger, 'none', { method: 'GET', path: '/health/readiness' })),
    ).catch(() => null);
    return answers?.every(({ status }) => status === 200) ? true : null;
  });
}

/** From the snapshot of a stopped instance, as a gateway process reads it. */
function fleetKeyOnDisk(): Buffer {
  const store = new MapPrincipalStore();
  new LocalSnapshots({ directory: join(dataDirIn(dir), 'gateway-0'), store, log: silentLog }).restore(null);
  if (store.fleetKey === null) throw new Error('there is no snapshot with a fleet key');
  return store.fleetKey;
}
