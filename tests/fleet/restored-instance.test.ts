import { rm } from 'node:fs/promises';
import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Claviger, temporaryDirectory } from '../support/processes.ts';
import { createTestDatabase, type TestDatabase } from '../support/test-database.ts';
import { until } from '../support/until.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { freshCall } from './fresh-calls.ts';
import { GATEWAYS, startKeyed } from './keyed-claviger.ts';

const TABLES = ['installation', 'change_log', 'virtual_key', 'deleted_virtual_key', 'key_spend'];

let dir: string;
let database: TestDatabase;
let claviger: Claviger;

beforeEach(async () => {
  dir = await temporaryDirectory();
  database = await createTestDatabase();
  claviger = await startKeyed(dir, { env: { DATABASE_URL: database.directUrl } });
  await waitUntilCurrent(claviger, GATEWAYS);
});
afterEach(async () => {
  await claviger?.stop();
  await database.drop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

it('a database that is restored under a running instance allows nothing that was revoked since the backup', async () => {
  const [good, blocked, deleted] = [
    await claviger.generateKey(),
    await claviger.generateKey(),
    await claviger.generateKey(),
  ];
  await run(TABLES.map((name) => `create table public.backup_${name} as table claviger.${name}`));
  await claviger.api('POST', '/key/block', { key: blocked });
  await claviger.api('POST', '/key/delete', { keys: [deleted] });
  const statuses = async (key: string) =>
    Promise.all(Array.from({ length: 2 * GATEWAYS }, async () => (await freshCall(claviger, key)).status));
  const refused = Array(2 * GATEWAYS).fill(401);
  const allowed = Array(2 * GATEWAYS).fill(200);
  await until('the revocations are in force', async () => {
    const all = [...(await statuses(blocked)), ...(await statuses(deleted))];
    return all.every((status) => status === 401) ? true : null;
  });

  await run([
    'begin',
    ...TABLES.flatMap((name) => [
      `delete from claviger.${name}`,
      `insert into claviger.${name} overriding system value select * from public.backup_${name}`,
    ]),
    'commit',
  ]);
  let rounds = 0;
  await until('the keys are blocked in the database again', async () => {
    rounds += 1;
    expect(await statuses(good)).toEqual(allowed);
    for (const key of [blocked, deleted]) expect(await statuses(key)).toEqual(refused);
    const infos = await Promise.all([blocked, deleted].map((key) => claviger.api('GET', `/key/info?key=${key}`)));
    return infos.every((info) => info.status === 200 && info.json().info.blocked === true) ? true : null;
  });
  expect(rounds).toBeGreaterThan(1);
  await claviger.waitForLog(/A new epoch begins/);
  // The instance is whole again: what is made now is known everywhere.
  await waitUntilCurrent(claviger, GATEWAYS);
  const made = await claviger.generateKey();
  await until('a new key works everywhere', async () =>
    (await statuses(made)).every((status) => status === 200) ? true : null,
  );
}, 90_000);

async function run(statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: database.directUrl });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
