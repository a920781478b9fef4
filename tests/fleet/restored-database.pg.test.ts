import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase } from '../../src/storage/pool.ts';
import { firstBrokenRevision } from '../../src/storage/repositories/change-log.ts';
import { eventually } from '../support/eventually.ts';
import { FeedGateway } from '../support/feed-gateway.ts';
import { silentLog } from '../support/silent-log.ts';
import { startControlPlane, type TestControlPlane } from '../support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../support/test-database.ts';

/** What a backup of the database holds, as far as the feed is concerned. */
const TABLES = ['installation', 'change_log', 'virtual_key', 'deleted_virtual_key', 'key_spend', 'model'];

let database: TestDatabase;
let control: TestControlPlane;
let fatal: string[];
let gateways: FeedGateway[];

beforeEach(async () => {
  database = await createTestDatabase();
  fatal = [];
  gateways = [];
  await start();
});
afterEach(async () => {
  for (const gateway of gateways) await gateway.close();
  await control.stop();
  await database.drop();
});

/** As the supervisor does: a control process that says that it can not go on is started again. */
async function start(): Promise<void> {
  control = await startControlPlane({ database, onFatal: (error) => fatal.push(error.message) });
}
async function restart(): Promise<void> {
  await control.stop();
  await start();
}

function connect(gatewayId: string, directory?: string): FeedGateway {
  const gateway = new FeedGateway({
    gatewayId,
    socketPath: () => control.feedSocket,
    ...(directory === undefined ? {} : { directory }),
  });
  gateways.push(gateway);
  return gateway;
}

async function generate() {
  const { json, headers } = await control.call('POST', '/key/generate', { body: {} });
  return { key: json.key as string, token: json.token as string, rev: Number(headers.get('x-claviger-rev')) };
}
const block = (key: string) => control.call('POST', '/key/block', { body: { key } });
const backUp = () => statements(TABLES.map((name) => `create table public.backup_${name} as table claviger.${name}`));
const restore = () =>
  statements(
    TABLES.flatMap((name) => [
      `delete from claviger.${name}`,
      `insert into claviger.${name} overriding system value select * from public.backup_${name}`,
    ]),
  );

async function statements(list: readonly string[]): Promise<void> {
  await control.db.write(async (tx) => {
    for (const statement of list) await sql.raw(statement).execute(tx);
  });
}

async function position() {
  const { rows } = await control.db.read((tx) =>
    sql<{ epoch: number; rev: bigint }>`select epoch, rev from claviger.installation`.execute(tx),
  );
  return { epoch: rows[0]!.epoch, rev: Number(rows[0]!.rev) };
}

const at = (gateway: FeedGateway, where: { epoch: number; rev: number }) =>
  eventually(() => gateway.store.position?.epoch === where.epoch && gateway.store.position.rev >= where.rev);

/** Fails as soon as the gateway would allow one of the keys, at any position that it passes through. */
function neverAllows(gateway: FeedGateway, tokens: readonly string[]): () => void {
  const allowed: string[] = [];
  gateway.onMoved = () => {
    for (const token of tokens)
      if (!gateway.refuses(token)) allowed.push(`${token} at ${JSON.stringify(gateway.store.position)}`);
  };
  return () => expect(allowed).toEqual([]);
}

async function audited(token: string) {
  const { rows } = await control.db.read((tx) =>
    sql`select epoch, op, actor, changed_by from claviger.change_log where object_id = ${token} order by rev`.execute(
      tx,
    ),
  );
  return rows;
}

/** Keys of which one was blocked and one deleted after the backup, known to a gateway process. */
async function revokedAfterBackup(gateway: FeedGateway) {
  const [kept, blocked, deleted] = [await generate(), await generate(), await generate()];
  await backUp();
  await block(blocked.key);
  await control.call('POST', '/key/delete', { body: { keys: [deleted.key] } });
  const lost = await generate();
  await at(gateway, { epoch: 1, rev: lost.rev });
  return { kept, blocked, deleted, lost };
}

describe('a database that was restored from a backup', () => {
  it('begins a new epoch; what was blocked or deleted since the backup stays refused, and is blocked again', async () => {
    const gateway = connect('worker/0');
    const { kept, blocked, deleted, lost } = await revokedAfterBackup(gateway);
    const check = neverAllows(gateway, [blocked.token, deleted.token]);
    await control.stop();
    await startOn(restore);
    const restored = await position();
    expect(restored).toEqual({ epoch: 1, rev: lost.rev - 3 });

    await eventually(() => fatal.length > 0);
    expect(fatal[0]).toContain(`from 1/${restored.rev} to 2/${restored.rev}`);
    await restart();
    await eventually(() => gateway.denials.size === 0 && gateway.store.position?.epoch === 2);
    await at(gateway, { epoch: 2, rev: restored.rev + 2 });
    check();
    expect(gateway.refuses(kept.token)).toBe(false);
    expect(gateway.refuses(lost.token)).toBe(true);
    expect(await position()).toEqual({ epoch: 2, rev: restored.rev + 2 });
    for (const { token } of [blocked, deleted]) {
      expect(await audited(token)).toEqual([
        expect.objectContaining({ epoch: 1, op: 'created' }),
        { epoch: 2, op: 'blocked', actor: 'claviger', changed_by: 'worker/0' },
      ]);
    }
    expect(await control.db.read(firstBrokenRevision)).toBeNull();
    expect(fatal).toHaveLength(1);
  });

  it('and has moved on to the same revision with other changes is told from the one that it was', async () => {
    const gateway = connect('worker/0');
    const { blocked, deleted, lost } = await revokedAfterBackup(gateway);
    const check = neverAllows(gateway, [blocked.token, deleted.token]);
    const { directory } = gateway;
    await gateway.snapshots.settled();
    gateway.client.stop();
    await control.stop();
    await startOn(restore);
    while ((await position()).rev < lost.rev + 2) await generate();
    // A start of the process: what it knows of its history comes from disk.
    const later = connect('worker/0', directory);
    const checkLater = neverAllows(later, [blocked.token, deleted.token]);
    expect(later.store.position).toMatchObject({ epoch: 1, rev: lost.rev });
    await eventually(() => fatal.length > 0);
    await restart();
    await eventually(() => later.denials.size === 0 && later.store.position?.epoch === 2);
    check();
    checkLater();
    expect(later.refuses(blocked.token)).toBe(true);
    expect(await audited(blocked.token)).toHaveLength(2);
    expect((await position()).epoch).toBe(2);
  });

  it('raises its epoch once, however many gateway processes notice', async () => {
    const all = Array.from({ length: 5 }, (_, slot) => connect(`worker/${slot}`));
    const { blocked, lost } = await revokedAfterBackup(all[0]!);
    await Promise.all(all.map((gateway) => at(gateway, { epoch: 1, rev: lost.rev })));
    await control.stop();
    await startOn(restore);
    await eventually(() => fatal.length > 0);
    await restart();
    await Promise.all(
      all.map((gateway) => eventually(() => gateway.denials.size === 0 && gateway.store.position?.epoch === 2)),
    );
    expect((await position()).epoch).toBe(2);
    for (const gateway of all) expect(gateway.refuses(blocked.token)).toBe(true);
    expect(await audited(blocked.token)).toHaveLength(2);
  });

  it('ends the control process that followed the other history, also when it has overtaken it', async () => {
    await revokedAfterBackup(connect('worker/0'));
    const { rev } = await position();
    await control.db.write(async (tx) => {
      for (const name of TABLES) {
        await sql.raw(`delete from claviger.${name}`).execute(tx);
        await sql
          .raw(`insert into claviger.${name} overriding system value select * from public.backup_${name}`)
          .execute(tx);
      }
      await sql`
        insert into claviger.change_log select epoch, rev + n, kind, object_id, object_rev, op, before, after, actor, actor_key,
               changed_by, request_id, lane, at, sha256(hash || int8send(n))
          from (select * from claviger.change_log order by rev desc limit 1) newest, generate_series(1, 10) n
      `.execute(tx);
      await sql`update claviger.installation set rev = rev + 10,
                       audit_head = (select hash from claviger.change_log order by rev desc limit 1)`.execute(tx);
    });
    expect((await position()).rev).toBeGreaterThan(rev);
    await eventually(() => fatal.length > 0);
    expect(fatal[0]).toContain('it was restored or replaced');
  });

  it('lets a person allow again what the gateway processes refuse', async () => {
    const gateway = connect('worker/0');
    const { blocked, deleted } = await revokedAfterBackup(gateway);
    await control.stop();
    await startOn(restore);
    await eventually(() => fatal.length > 0);
    await restart();
    await eventually(() => gateway.denials.size === 0 && gateway.store.position?.epoch === 2);
    const { headers } = await control.call('POST', '/key/unblock', { body: { key: blocked.key } });
    await at(gateway, { epoch: 2, rev: Number(headers.get('x-claviger-rev')) });
    expect(gateway.refuses(blocked.token)).toBe(false);
    expect(gateway.refuses(deleted.token)).toBe(true);

    // One that was away all the time knows the key as blocked, and does not undo what a person decided since.
    const late = connect('worker/1');
    await eventually(() => late.client.connected);
    const { gatewayId, session } = late;
    const report = { gatewayId, session, epoch: 2, blocked: [blocked.token], deleted: [deleted.token] };
    const answer = await late.transport.post('/feed/v1/denials', JSON.stringify(report), 5_000);
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      200,
      expect.objectContaining({ epoch: 2, blocked: 0, known: 2, lifted: 1 }),
    ]);
    expect(late.refuses(blocked.token)).toBe(false);
  });
});

/** A new control process that comes up on what `prepare` has made of the database. */
async function startOn(prepare: () => Promise<void>): Promise<void> {
  const before = control;
  const db = createDatabase({ url: database.url, connectionsMax: 1, log: silentLog });
  control = { ...before, db };
  await prepare();
  await db.close();
  await start();
}
