import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FleetProbe } from '../../tests/support/fleet-probe.ts';
import { startControlPlane, TEST_MASTER_KEY, type TestControlPlane } from '../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { watchFleet } from './fleet/watch-fleet.ts';
import { managementClient } from './management-client.ts';
import { runCli } from './run-cli.ts';

let database: TestDatabase;
let control: TestControlPlane;
let other: TestControlPlane;
/** Who answers at the address; as a balancer would choose. */
let answering: TestControlPlane;
let server: Server;
let url: string;
let open: { close(): unknown }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  control = await startControlPlane({ database, instanceId: 'one' });
  other = await startControlPlane({ database, instanceId: 'other' });
  answering = control;
  server = createServer((request: IncomingMessage, response: ServerResponse) => {
    void getRequestListener(answering.plane.app.fetch as never)(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  for (const one of open) await one.close();
  open = [];
  answering = control;
});
afterAll(async () => {
  server?.closeAllConnections();
  server?.close();
  await Promise.all([control?.stop(), other?.stop()]);
  await database?.drop();
});

async function fleet(...args: string[]) {
  let out = '';
  let err = '';
  const env = { CLAVIGER_URL: url, LITELLM_MASTER_KEY: TEST_MASTER_KEY };
  const code = await runCli(['fleet', ...args], {
    env,
    cwd: '/',
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}

const post = (path: string, body: object = {}) => control.call('POST', path, { body });
const revOf = ({ headers }: { headers: Headers }) => String(headers.get('x-claviger-rev'));

async function worker(gatewayId: string): Promise<FleetProbe> {
  const probe = await new FleetProbe({ socketPath: control.feedSocket, gatewayId }).arrive();
  open.push(probe);
  await expect.poll(async () => (await fleet('status')).out).toContain(gatewayId.slice(0, 8));
  return probe;
}

describe('claviger fleet rollback', () => {
  it('undoes a change, and shows the fields', async () => {
    const { token } = (await post('/key/generate', { rpm_limit: 1 })).json;
    const rev = revOf(await post('/key/update', { key: token, rpm_limit: 2 }));
    const { code, out } = await fleet('rollback', rev);
    expect(code).toBe(0);
    expect(out).toContain(`Undid revision ${rev} (key updated, ${token}), with revision ${Number(rev) + 1}.`);
    expect(out).toMatch(/FIELD +BEFORE +AFTER\nrpm_limit +2 +1\n/);
    expect((await control.call('GET', `/key/info?key=${token}`)).json.info.rpm_limit).toBe(1);
  });

  it('changes nothing with --dry-run, and needs --confirm where a key could do more', async () => {
    const { token } = (await post('/key/generate')).json;
    const rev = revOf(await post('/key/block', { key: token }));
    const blocked = async () => (await control.call('GET', `/key/info?key=${token}`)).json.info.blocked;
    const dry = await fleet('rollback', rev, '--dry-run');
    expect([dry.code, dry.out]).toEqual([0, expect.stringContaining('Nothing was changed.')]);
    expect(dry.out).toContain('It needs --confirm: It would unblock the key.');
    const refused = await fleet('rollback', rev);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('It would unblock the key')]);
    expect(await blocked()).toBe(true);
    const confirmed = await fleet('rollback', rev, '--confirm', '--json');
    expect([confirmed.code, JSON.parse(confirmed.out).rolled_back]).toEqual([0, Number(rev)]);
    expect(await blocked()).toBe(false);
  });

  it('says what is wrong with a revision that is none', async () => {
    expect((await fleet('rollback', '999999')).err).toContain('Revision 999999');
    expect((await fleet('rollback', 'latest')).code).toBe(1);
  });
});

describe('claviger fleet resync and remove', () => {
  it('ask a worker to take everything anew', async () => {
    const probe = await worker('resynced-worker/0');
    const { code, out } = await fleet('resync', 'resynced');
    expect([code, out]).toEqual([0, expect.stringContaining('resynced-worker was asked to take everything anew')]);
    await probe.until(() => probe.has('command'));
    expect(probe.frames.find((frame) => frame.t === 'command')).toEqual({ t: 'command', command: 'resync' });
  });

  it('forget what is lost, and nothing else', async () => {
    const probe = await worker('removed-worker/0');
    const refused = await fleet('remove', 'removed-worker');
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('Only what is lost or has left')]);
    probe.close();
    await expect.poll(async () => (await fleet('status')).out).toMatch(/removed.* suspect/);
    await control.db.write((tx) =>
      sql`update claviger.gateway set heard_at = now() - interval '5 minutes' where instance_id = 'removed-worker'`.execute(
        tx,
      ),
    );
    const { code, out } = await fleet('remove', 'removed');
    expect([code, out]).toEqual([0, expect.stringContaining('removed-worker is forgotten (1 gateway process)')]);
    expect((await fleet('status')).out).not.toContain('removed');
    expect((await fleet('remove', 'removed')).err).toContain('There is no worker removed.');
  });
});

describe('claviger fleet watch', () => {
  function watch() {
    const stop = new AbortController();
    let out = '';
    const client = managementClient({ url, key: TEST_MASTER_KEY }, {});
    const context = { env: {}, cwd: '/', err: () => undefined, signal: stop.signal };
    const print = (text: string) => {
      out += text;
    };
    const over = watchFleet(client, { retryMs: 50 }, { ...context, out: print });
    open.push({
      close: async () => {
        stop.abort();
        server.closeAllConnections();
        await over;
      },
    });
    const revs = () => [...out.matchAll(/^\S+ {2}change {3}(\d+) /gm)].map(([, rev]) => rev);
    return { revs, text: () => out };
  }

  it('goes on behind the last event when the stream was cut off', async () => {
    const { revs, text } = watch();
    await expect.poll(text).toContain('fleet    revision');
    const first = revOf(await post('/key/generate'));
    await expect.poll(revs).toEqual([first]);
    server.closeAllConnections();
    const second = revOf(await post('/key/generate'));
    await expect.poll(revs, { timeout: 5_000 }).toEqual([first, second]);
    expect(text()).not.toContain('reset');
    expect(text().match(/fleet {4}revision/g)).toHaveLength(1);
  });

  it('reads what it missed from the list when another instance answers', async () => {
    const { revs, text } = watch();
    await expect.poll(text).toContain('fleet    revision');
    const first = revOf(await post('/key/generate'));
    await expect.poll(revs).toEqual([first]);
    answering = other;
    const second = revOf(await post('/key/generate'));
    server.closeAllConnections();
    await expect.poll(text, { timeout: 5_000 }).toContain('reset    ');
    const third = revOf(await post('/key/generate'));
    await expect.poll(revs, { timeout: 5_000 }).toEqual([first, second, third]);
  });
});
