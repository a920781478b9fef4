import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FeedProbe } from '../../tests/support/feed-probe.ts';
import { silentLog } from '../../tests/support/silent-log.ts';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { resolveSettings } from '../settings/resolve-settings.ts';
import { migrate } from '../storage/migrate.ts';
import { createDatabase } from '../storage/pool.ts';
import type { Boot, ToChild, ToSupervisor } from './messages.ts';

const entry = fileURLToPath(new URL('./control-process.ts', import.meta.url));
const tsx = createRequire(import.meta.url).resolve('tsx');
const MASTER_KEY = 'sk-master-of-the-process-test';

let database: TestDatabase;
let dir: string;
let child: ChildProcess | null = null;

beforeEach(async () => {
  database = await createTestDatabase();
  dir = mkdtempSync(join(tmpdir(), 'claviger-cp-'));
});
afterEach(async () => {
  if (child !== null && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  child = null;
  rmSync(dir, { recursive: true, force: true });
  await database.drop();
});

const controlSocket = () => join(dir, 'control.sock');
const feedSocket = () => join(dir, 'feed.sock');

/** Starts the process as the supervisor does and resolves with its first word. */
function start(databaseUrl = database.url): Promise<ToSupervisor> {
  const env = {
    DATABASE_URL: databaseUrl,
    LITELLM_MASTER_KEY: MASTER_KEY,
    LITELLM_SALT_KEY: 'salt',
    LITELLM_LOG: 'ERROR',
  };
  const { settings } = resolveSettings({ flags: {}, env, cwd: dir });
  const boot: Boot = {
    type: 'boot',
    settings,
    databaseUrl,
    embeddedDatabase: false,
    instanceId: 'instance',
    slot: null,
    session: 'session',
    paths: { socketDir: dir, controlSocket: controlSocket(), feedSocket: feedSocket(), slotDir: null },
  };
  const started = fork(entry, [], { execArgv: ['--import', tsx], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  child = started;
  return new Promise((resolve, reject) => {
    started.on('message', (message: ToSupervisor) => {
      if (message.type === 'hello') started.send(boot);
      else resolve(message);
    });
    started.once('exit', (code, signal) => reject(new Error(`exited with ${code ?? signal} before a word`)));
  });
}

function call(method: string, path: string, body?: object) {
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; text: string }>((resolve, reject) => {
    const headers = { authorization: `Bearer ${MASTER_KEY}`, 'x-litellm-call-id': 'call-1' };
    const outgoing = request({ socketPath: controlSocket(), method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const tell = (message: ToChild) => child!.send(message);

describe('the control process', () => {
  it('serves management and feed on its sockets, gives its metrics, and exits when it is drained', async () => {
    expect(await start()).toEqual({ type: 'ready' });
    const probe = new FeedProbe({ socketPath: feedSocket(), acknowledge: true });
    await probe.until(() => probe.position !== null);
    const made = await call('POST', '/key/generate', { key_alias: 'first' });
    expect([made.status, made.headers['x-claviger-rev'], made.headers['x-litellm-call-id']]).toEqual([
      200,
      '1',
      'call-1',
    ]);
    expect(made.headers['content-type']).toBe('application/json');
    await probe.untilRev(1);
    expect((await call('GET', '/a/../key/list')).status).toBe(200);
    expect((await call('GET', '/a/%2e%2e/key/list')).status).toBe(200);
    expect((await call('GET', '/../key/list')).status).toBe(400);
    expect((await call('HEAD', '/key/list')).text).toBe('');

    tell({ type: 'collect-metrics', id: 7 });
    const [collected] = (await once(child!, 'message')) as [Extract<ToSupervisor, { type: 'collected-metrics' }>];
    expect(collected.id).toBe(7);
    const value = (name: string) => collected.families.find((family) => family.name === name)?.series[0]?.values[0];
    expect(value('claviger_feed_subscribers')).toBe(1);
    expect(value('claviger_revision')).toBe(1);
    expect(value('claviger_management_requests_total')).toBe(1);

    tell({ type: 'drain', noticeMs: 0 });
    const [code] = await once(child!, 'exit');
    expect(code).toBe(0);
    await probe.until(() => probe.ended);
    expect(probe.frames.at(-1)?.t).toBe('goaway');
  });

  it('exits when its supervisor is gone', async () => {
    await start();
    child!.disconnect();
    expect((await once(child!, 'exit'))[0]).toBe(0);
  });

  it('is ready without a database, and answers 503', async () => {
    expect(await start(`postgres://nobody@127.0.0.1:1/none?sslmode=disable`)).toEqual({ type: 'ready' });
    const { status, text } = await call('POST', '/key/generate', {});
    expect([status, JSON.parse(text).error.type]).toEqual([503, 'no_db_connection']);
  });

  it('says what is wrong with a schema that is newer than itself, and that trying again does not help', async () => {
    await migrate({ url: database.url, checkOnly: false, log: silentLog });
    const db = createDatabase({ url: database.url, connectionsMax: 1, log: silentLog });
    await db.write((tx) => sql`insert into claviger.schema_migration (version, name) values (9999, 'x')`.execute(tx));
    await db.close();
    expect(await start()).toEqual({
      type: 'fatal',
      retry: false,
      message: expect.stringContaining('newer than this program knows'),
    });
  });

  it('says so when the salt key is not the one that the database was made with', async () => {
    await start();
    tell({ type: 'drain', noticeMs: 0 });
    await once(child!, 'exit');
    const db = createDatabase({ url: database.url, connectionsMax: 1, log: silentLog });
    const foreign = (await import('../util/sealed-value.ts')).seal('x', 'another salt', 'installation/fleet_key');
    await db.write((tx) => sql`update claviger.installation set fleet_key_sealed = ${foreign}`.execute(tx));
    await db.close();
    expect(await start()).toEqual({
      type: 'fatal',
      retry: false,
      message: expect.stringContaining('LITELLM_SALT_KEY'),
    });
  });
});
