/** How instances that share a database start, and what they say when they can not. */
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { shippedMigrations } from '../../src/storage/migrate.ts';
import { startPostgresCluster } from '../support/postgres-cluster.ts';
import { type Claviger, freePort, runClaviger, temporaryDirectory } from '../support/processes.ts';
import { until } from '../support/until.ts';
import { freshCall } from './fresh-calls.ts';
import {
  ADMIN_FLAGS,
  fakeModels,
  type SharedDatabase,
  startMember,
  startSharedDatabase,
  WORKER_FLAGS,
} from './shared-database.ts';

const MASTER_KEY = 'sk-master-of-the-regions';
const NEWEST = shippedMigrations().at(-1)!.version;

let database: SharedDatabase;
let dir: string;
let running: Claviger[] = [];

beforeAll(async () => {
  database = await startSharedDatabase();
});
afterAll(() => database?.stop());
beforeEach(async () => {
  dir = await temporaryDirectory();
});
afterEach(async () => {
  await Promise.all(running.map((instance) => instance.stop()));
  running = [];
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  await database.query('drop schema if exists claviger cascade');
  await database.query('drop schema public cascade; create schema public; grant all on schema public to public');
});

const start = async (...[member, options]: [Parameters<typeof startMember>[0], Parameters<typeof startMember>[4]?]) => {
  const instance = await startMember(member, database, MASTER_KEY, dir, {
    ...options,
    args: [...(member === 'admin' ? [] : ['--config', fakeModels()]), ...(options?.args ?? [])],
  });
  running.push(instance);
  return instance;
};

/** A start that must fail: exit code and what was said. */
async function failed(env: Readonly<Record<string, string | undefined>>): Promise<{ code: unknown; said: string }> {
  const { code, stdout, stderr } = await runClaviger(['serve', '--port', `${await freePort()}`], {
    cwd: dir,
    env: {
      CLAVIGER_DATA_DIR: join(dir, 'data'),
      DATABASE_URL: database.url,
      LITELLM_MASTER_KEY: MASTER_KEY,
      ...ADMIN_FLAGS,
      ...env,
    },
  });
  return { code, said: `${stdout}${stderr}` };
}

describe('on an empty database', () => {
  it('three instances that start at once make the schema once, and are one installation', async () => {
    const [admin, eu, us] = await Promise.all([start('admin'), start('eu'), start('us')]);
    const rows = await database.query<{ version: number }>('select version from claviger.schema_migration order by 1');
    expect(rows.map(({ version }) => version)).toEqual(shippedMigrations().map(({ version }) => version));
    expect(await database.query('select id from claviger.installation')).toHaveLength(1);
    const key = await admin.generateKey();
    for (const worker of [eu, us]) {
      await until('the key works', async () => ((await freshCall(worker, key)).status === 200 ? true : null));
    }
  });

  it('several admins work side by side: what one writes the others know, and no two write the same', async () => {
    const admins = await Promise.all(['a', 'b', 'c'].map((name) => start('admin', dataDirectory(`admin-${name}`))));
    const eu = await start('eu');
    const keys = await Promise.all(
      Array.from({ length: 12 }, (_, index) => admins[index % 3]!.generateKey({ key_alias: `side by side ${index}` })),
    );
    const twice = await Promise.all(admins.map((admin) => admin.api('POST', '/key/generate', { key_alias: 'one' })));
    expect(twice.map(({ status }) => status).sort()).toEqual([200, 400, 400]);
    for (const admin of admins) {
      const list = (await admin.api('GET', '/key/list')).json();
      expect(list.total_count).toBe(13);
    }
    await admins[2]!.api('POST', '/key/block', { key: keys[0] });
    await until('what the last admin wrote is in force', async () =>
      (await freshCall(eu, keys[0]!)).status === 401 ? true : null,
    );
    for (const key of keys.slice(1)) expect((await freshCall(eu, key)).status).toBe(200);
  });

  it('with DISABLE_SCHEMA_UPDATE says what to run, and starts when that was done', async () => {
    const env = { DISABLE_SCHEMA_UPDATE: 'true' };
    const { code, said } = await failed(env);
    expect(code).toBe(1);
    expect(said).toContain(
      `this program needs version ${NEWEST}, but DISABLE_SCHEMA_UPDATE is set. Run \`claviger migrate\``,
    );
    expect(await database.query("select from pg_namespace where nspname = 'claviger'")).toEqual([]);

    const migrated = await runClaviger(['migrate'], { env: { DATABASE_URL: database.url }, cwd: dir });
    expect([migrated.code, migrated.stdout]).toEqual([0, expect.stringContaining(`from version 0 to ${NEWEST}`)]);
    const admin = await start('admin', { env });
    expect((await admin.api('GET', '/key/list')).status).toBe(200);
  });
});

describe('does not start, and says what to do', () => {
  it('with a schema that is newer than the program', async () => {
    await runClaviger(['migrate'], { env: { DATABASE_URL: database.url }, cwd: dir });
    await database.query("insert into claviger.schema_migration (version, name) values (9999, 'from the future')");
    const { code, said } = await failed({});
    expect(code).toBe(1);
    expect(said).toContain('which is newer than this program knows');
    expect(said).toContain('Start the newer version of Claviger, or restore a database backup');
  });

  it('with a database that is a standby', async () => {
    const standby = await startPostgresCluster({ standbyOf: database.cluster });
    try {
      const { code, said } = await failed({ DATABASE_URL: standby.directUrl('litellm') });
      expect(code).toBe(1);
      expect(said).toContain('The database is read-only (a standby). Set DATABASE_URL to the primary server');
    } finally {
      await standby.stop();
    }
  });

  it('with a database that was made read-only', async () => {
    await database.query('alter database litellm set default_transaction_read_only = on');
    try {
      const { code, said } = await failed({});
      expect(code).toBe(1);
      expect(said).toContain(
        'The database is read-only. Set DATABASE_URL to the primary server, or end its read-only mode',
      );
    } finally {
      await database.query(
        'set transaction_read_only = off; alter database litellm reset default_transaction_read_only',
      );
    }
  });

  it.each([
    [
      'a database that does not exist',
      (url: string) => `${url}_of_nobody`,
      /"litellm_of_nobody" does not exist.*Create the database, or check its name/,
    ],
    [
      'a user that does not exist',
      (url: string) => url.replace('litellm_user', 'nobody'),
      /role "nobody" does not exist.*Check the user in DATABASE_URL/,
    ],
    ['a URL of something else', () => 'mysql://u:secret@h/d', /DATABASE_URL is not the URL of a PostgreSQL database/],
    ['a URL that is cut', () => 'postgresql://u:secret@h:notaport/d', /DATABASE_URL can not be read/],
  ])('with %s', async (_what, change, sentence) => {
    const { code, said } = await failed({ DATABASE_URL: change(database.url) });
    expect([code, said]).toEqual([1, expect.stringMatching(sentence)]);
    expect(said).not.toMatch(/secret|litellm-password/);
  });

  it('with a credential of the database and an admin to join', async () => {
    const { code, said } = await failed({ CONTROL_PLANE_URL: 'https://admin.example.com' });
    expect(code).toBe(1);
    expect(said).toContain('DATABASE_URL and CONTROL_PLANE_URL are both set');
    expect(said).toContain('unset DATABASE_URL to join, or CONTROL_PLANE_URL to use the database');
  });

  it('with a flag that is neither true nor false', async () => {
    const { code, said } = await failed({ DISABLE_LLM_API_ENDPOINTS: 'treu' });
    expect(code).toBe(1);
    expect(said).toContain(
      'DISABLE_LLM_API_ENDPOINTS is neither true nor false. Set it to true or false, or remove it.',
    );
  });

  it('on the data directory of another installation, and leaves it as it was', async () => {
    const eu = await start('eu');
    await eu.stop();
    const kept = () => readdirSync(join(dir, 'eu', 'gateway-0')).filter((name) => /\.(snap|log)$/.test(name));
    const before = kept();
    expect(before.length).toBeGreaterThan(1);
    await database.query('drop schema claviger cascade');
    const { code, said } = await failed({
      ...WORKER_FLAGS,
      DISABLE_LLM_API_ENDPOINTS: undefined,
      CLAVIGER_DATA_DIR: join(dir, 'eu'),
    });
    expect(code).toBe(1);
    expect(said).toMatch(/installation [0-9a-f-]{36}[\s\S]*installation [0-9a-f-]{36}/);
    expect(kept()).toEqual(before);
  });
});

it('a password that is wrong does not stop an instance that can serve from its disk, and is said', async () => {
  // The server asks for passwords over TCP here.
  const own = await startSharedDatabase({ passwords: true });
  try {
    const start = (url: string) =>
      startMember('eu', { ...own, url }, MASTER_KEY, dir, { args: ['--config', fakeModels()] });
    const wrong = own.url.replace('litellm-password', 'old-password');
    await expect(
      runClaviger(['serve', '--port', `${await freePort()}`], {
        cwd: dir,
        env: { ...WORKER_FLAGS, DATABASE_URL: wrong, LITELLM_MASTER_KEY: MASTER_KEY },
      }),
    ).resolves.toMatchObject({ code: 1, stderr: expect.stringMatching(/Check user and password in DATABASE_URL/) });

    const first = await start(own.url);
    await first.stop();
    const second = await start(wrong);
    running.push(second);
    await second.waitForLog(/can not be opened yet.*check DATABASE_URL[\s\S]*password authentication failed/);
    expect((await freshCall(second, MASTER_KEY)).status).toBe(200);
    expect((await second.api('GET', '/health/readiness', undefined, null)).status).toBe(200);
    expect(second.logs()).not.toMatch(/old-password/);
  } finally {
    await own.stop();
  }
});

describe('flags of an instance', () => {
  it('take 1 and yes, quotes and comments as they are meant, with a warning, and false as nothing', async () => {
    const [admin, worker] = await Promise.all([
      start('admin', { env: { DISABLE_LLM_API_ENDPOINTS: '1', DISABLE_ADMIN_ENDPOINTS: 'false' } }),
      start('eu', { env: { DISABLE_ADMIN_UI: 'yes', DISABLE_ADMIN_ENDPOINTS: '"true" # only here' } }),
    ]);
    expect(admin.logs()).toMatch(/DISABLE_LLM_API_ENDPOINTS: it is taken as true, but LiteLLM would not do so/);
    expect(worker.logs()).toMatch(/DISABLE_ADMIN_UI: it is taken as true, but LiteLLM would not/);
    expect(worker.logs()).toMatch(/DISABLE_ADMIN_ENDPOINTS: the comment behind its value is ignored; the quotes/);
    expect((await admin.api('GET', '/key/list')).status).toBe(200);
    expect((await freshCall(admin, MASTER_KEY)).status).toBe(403);
    expect((await worker.api('GET', '/key/list')).status).toBe(403);
    expect((await freshCall(worker, MASTER_KEY)).status).toBe(200);
  });
});

describe('beside the tables of LiteLLM', () => {
  it('says what it found, and leaves every row as it was', async () => {
    await database.query(`
      create table "LiteLLM_VerificationToken" (token text primary key, key_alias text, spend double precision);
      create table "LiteLLM_TeamTable" (team_id text primary key);
      insert into "LiteLLM_VerificationToken" select 'hash-' || n, 'alias-' || n, 0.5 from generate_series(1, 7) n;
      alter table "LiteLLM_VerificationToken" owner to litellm_user;
      alter table "LiteLLM_TeamTable" owner to litellm_user`);
    const admin = await start('admin');
    await admin.waitForLog(
      /holds 2 tables of LiteLLM in the schema "public", with 7 keys\. They are left untouched: an import comes with a later version/,
    );
    await admin.generateKey();
    const doctor = await runClaviger(['doctor'], {
      cwd: dir,
      env: { DATABASE_URL: database.url, LITELLM_MASTER_KEY: MASTER_KEY, CLAVIGER_DATA_DIR: join(dir, 'other') },
    });
    expect(doctor.stdout).toContain('2 tables of LiteLLM');
    const [sum] = await database.query<{ keys: string; spend: number }>(
      'select count(*) as keys, sum(spend) as spend from "LiteLLM_VerificationToken"',
    );
    expect(sum).toEqual({ keys: '7', spend: 3.5 });
    const others = await database.query("select from pg_tables where schemaname = 'public'");
    expect(others).toHaveLength(2);
  });
});

describe('PROMETHEUS_METRICS_PORT', () => {
  it('has the metrics of all processes without a key, while /metrics of the public port wants one', async () => {
    const port = await freePort();
    const worker = await start('eu', {
      args: ['--num_workers', '2'],
      env: { PROMETHEUS_METRICS_PORT: String(port) },
    });
    expect((await worker.api('GET', '/metrics', undefined, null)).status).toBe(401);
    const text = await until('both processes have said something', async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
      const body = await answer.text();
      return answer.status === 200 && /claviger_config_rev\{gateway="1"\}/.test(body) ? body : null;
    });
    expect(text).toMatch(/claviger_config_rev\{gateway="0"\}/);
    expect(text).toMatch(/claviger_process_restarts_total/);
    // All families that are there with the key are there without it.
    const names = (body: string) => new Set([...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    expect(names(text)).toEqual(names((await worker.api('GET', '/metrics')).text));
  });

  it('that is taken stops the start', async () => {
    const taken = await start('eu');
    const { code, said } = await failed({ PROMETHEUS_METRICS_PORT: String(taken.port), HOST: '127.0.0.1' });
    expect([code, said]).toEqual([
      1,
      expect.stringContaining('(PROMETHEUS_METRICS_PORT) is in use by another program'),
    ]);
  });
});

function dataDirectory(name: string) {
  return { env: { CLAVIGER_DATA_DIR: join(dir, name) } };
}
