import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FeedProbe, postToFeed } from '../../tests/support/feed-probe.ts';
import { startControlPlane, type TestControlPlane } from '../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../tests/support/test-database.ts';
import { usageRecord } from '../../tests/support/usage-records.ts';

/** The way to the database, which can be cut and mended. */
class Link {
  readonly dir = mkdtempSync(join(tmpdir(), 'claviger-link-'));
  readonly #target: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;

  constructor(directUrl: string) {
    const host = new URL(directUrl).searchParams.get('host')!;
    this.#target = join(host, `.s.PGSQL.${new URL(directUrl).port || '5432'}`);
  }

  url(original: string): string {
    const url = new URL(original);
    url.searchParams.set('host', this.dir);
    url.port = '5432';
    return url.href;
  }

  up(): Promise<void> {
    this.#server = createServer((client) => {
      const upstream = connect(this.#target);
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => this.#sockets.delete(socket));
      }
      client.pipe(upstream).pipe(client);
    });
    return new Promise((resolve) => this.#server!.listen(join(this.dir, '.s.PGSQL.5432'), () => resolve()));
  }

  down(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => {
      if (this.#server === null) resolve();
      else this.#server.close(() => resolve());
      this.#server = null;
    });
  }

  async remove(): Promise<void> {
    await this.down();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

let database: TestDatabase;
let link: Link;
let control: TestControlPlane;
const probes: FeedProbe[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
  link = new Link(database.directUrl);
});
afterEach(async () => {
  for (const probe of probes.splice(0)) probe.close();
  await control.stop();
  await link.remove();
  await database.drop();
});

const start = (options: object = {}) =>
  startControlPlane({ database, databaseUrl: link.url(database.directUrl), ...options });

const subscribe = (from?: FeedProbe) => {
  const probe = new FeedProbe({ socketPath: control.feedSocket, ...(from === undefined ? {} : { from }) });
  probes.push(probe);
  return probe;
};

describe('a control plane that starts while the database is away', () => {
  it('answers 503, and works as soon as the database is there', async () => {
    control = await start({ waitUntilOpened: false });
    for (const [method, path] of [
      ['POST', '/key/generate'],
      ['GET', '/key/list'],
      ['GET', '/spend/logs'],
    ] as const) {
      const { status, json, headers } = await control.call(method, path, method === 'POST' ? { body: {} } : {});
      expect([path, status, json.error.type, headers.get('retry-after')]).toEqual([path, 503, 'no_db_connection', '1']);
    }
    expect((await control.call('GET', '/key/list', { key: null })).status).toBe(401);
    expect((await control.call('GET', '/key/list', { key: 'sk-some-key' })).status).toBe(503);
    expect((await postToFeed(control.feedSocket, '/feed/v1/stream', hello)).status).toBe(503);

    await link.up();
    await control.plane.opened;
    expect((await control.call('POST', '/key/generate', { body: {} })).status).toBe(200);
    const probe = subscribe();
    await probe.until(() => probe.keys.size === 1);
  });

  const hello = {
    protocol: 1,
    gatewayId: 'g/0',
    session: 's',
    region: '',
    role: 'standalone',
    version: '0',
    have: null,
  };
});

describe('a database that goes away and comes back', () => {
  it('makes writes 503 and nothing else: subscribers stay, their pings tell the age, and changes follow afterwards', async () => {
    await link.up();
    control = await start();
    const { json: made } = await control.call('POST', '/key/generate', { body: {} });
    const probe = subscribe();
    await probe.until(() => probe.position !== null);

    await link.down();
    expect((await control.call('POST', '/key/block', { body: { key: made.key } })).status).toBe(503);
    const pings = () => probe.frames.filter((frame) => frame.t === 'ping');
    await probe.until(() => (pings().at(-1)?.dbAgeMs ?? 0) > 1_500, 10_000);
    expect(probe.ended).toBe(false);
    const usage = {
      installation: probe.position!.installation,
      gatewayId: 'g/0',
      region: '',
      incarnation: 'x',
      from: 0,
      to: 1,
    };
    const batch = { ...usage, records: [usageRecord()] };
    expect((await postToFeed(control.feedSocket, '/feed/v1/usage', batch)).status).toBe(503);
    // One that knows everything comes back without the database.
    probe.close();
    const returned = subscribe(probe);
    await returned.until(() => returned.has('welcome'));
    expect(returned.has('goaway')).toBe(false);

    await control.db.write((tx) => sql`select 1`.execute(tx));
    await link.up();
    await returned.until(() => returned.frames.some((frame) => frame.t === 'ping' && frame.dbAgeMs < 1_000), 10_000);
    expect((await control.call('POST', '/key/block', { body: { key: made.key } })).status).toBe(200);
    await returned.until(() => returned.keys.get(made.token)?.blocked === true);
    expect((await postToFeed(control.feedSocket, '/feed/v1/usage', batch)).status).toBe(200);
  }, 40_000);

  it('that is another installation afterwards ends the process with a sentence that names both', async () => {
    await link.up();
    let onFatal: (error: Error) => void = () => undefined;
    const fatal = new Promise<Error>((resolve) => {
      onFatal = resolve;
    });
    control = await start({ onFatal });
    const other = '22222222-2222-4222-8222-222222222222';
    await control.db.write((tx) => sql`update claviger.installation set installation_id = ${other}`.execute(tx));
    expect((await fatal).message).toContain(other);
  });
});
