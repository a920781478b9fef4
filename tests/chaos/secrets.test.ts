import { readdirSync, readFileSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Claviger, freePort, runClaviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { isAlive } from '../support/processes-table.ts';
import { createTestDatabase, type TestDatabase } from '../support/test-database.ts';
import { until } from '../support/until.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';

const GATEWAYS = 2;
const SECRET = {
  masterKey: 'sk-master-Q7zKx2Wm9Rt4Vb8N',
  saltKey: 'salt-Ju3Lp6Yc1Hd5Fg0Ts8E',
  providerKey: 'sk-provider-Zn4Xc7Vb2Mq9Wk5L',
  brokenProviderKey: 'sk-broken-provider-Tr8Yu3Io6Pa1Sd',
  databasePassword: 'dbpass-Gh5Jk2Lz9Xc4Vb7Nm',
  /** Never made by this instance: a caller's mistake. */
  foreignKey: 'sk-foreign-Wq1Er6Ty3Ui8Op5As',
} as const;
/** In an answer that makes a key, and nowhere else. */
const made: string[] = [];
/** Whatever a caller got that was no secret given to it on purpose. */
const answers: { readonly what: string; readonly text: string }[] = [];
let outputs = '';

let dir: string;
let database: TestDatabase;
let upstream: UpstreamServer;
let claviger: Claviger;

beforeAll(async () => {
  dir = await temporaryDirectory('claviger-secrets-');
  database = await createTestDatabase();
  upstream = await startUpstream();
  const config = join(dir, 'config.yaml');
  await writeFile(config, stringify({ model_list: await models() }));
  claviger = await startClaviger({
    dir,
    args: ['--config', config, '--num_workers', `${GATEWAYS}`, '--detailed_debug'],
    env: environment(withPassword(database.url)),
  });
  await waitUntilCurrent(claviger, GATEWAYS);
  await live();
}, 120_000);
afterAll(async () => {
  await claviger?.stop();
  await upstream?.stop();
  await database?.drop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

it('the life that is looked at had what it should: calls, errors, keys and deaths', () => {
  expect(made).toHaveLength(4);
  const statuses = new Set(answers.map(({ what }) => what.split(' -> ')[1]));
  for (const status of ['200', '400', '401', '404']) expect(statuses).toContain(status);
  expect(outputs).toMatch(/started again/);
});

it('no secret is in what the processes say, also when they die', () => {
  expect(secretsIn(outputs)).toEqual([]);
});

it('no secret is in an answer: errors, lists, metrics and health', () => {
  const found = answers.flatMap(({ what, text }) => secretsIn(text).map((secret) => `${what}: ${secret}`));
  expect(found).toEqual([]);
});

it('no secret is in the database: change log, keys, spend, dead letters', async () => {
  const client = new pg.Client({ connectionString: database.directUrl });
  await client.connect();
  try {
    const { rows: tables } = await client.query(
      "select table_name as name from information_schema.tables where table_schema = 'claviger' order by 1",
    );
    const names = tables.map(({ name }) => name as string);
    expect(names).toEqual(expect.arrayContaining(['change_log', 'virtual_key', 'deleted_virtual_key', 'spend_log']));
    const found: string[] = [];
    for (const name of names) {
      const { rows } = await client.query(`select to_jsonb(t)::text as row from claviger."${name}" t`);
      for (const { row } of rows) found.push(...secretsIn(row).map((secret) => `${name}: ${secret}`));
      if (name === 'change_log') expect(rows.length).toBeGreaterThan(4);
    }
    expect(found).toEqual([]);
  } finally {
    await client.end();
  }
});

it('no secret is in a file of the data directory', () => {
  const files = filesBelow(join(dir, 'data'));
  expect(files.some((path) => basename(path).startsWith('usage-'))).toBe(true);
  const found = files.flatMap((path) =>
    secretsIn(readFileSync(path, 'latin1')).map((secret) => `${relative(dir, path)}: ${secret}`),
  );
  expect(found).toEqual([]);
});

it.each([
  ['a password that the server refuses or a server that is not there', '--port'],
  ['a number of processes that is none', '--num_workers'],
])('no secret is in the output of a start that fails: %s', async (_what, flag) => {
  const away = `postgresql://claviger:${SECRET.databasePassword}@127.0.0.1:${await freePort()}/nowhere`;
  const data = join(dir, `failing-${flag.slice(2)}`);
  const { stderr, stdout } = await runClaviger(['serve', flag, flag === '--port' ? `${await freePort()}` : 'many'], {
    env: { ...environment(away), CLAVIGER_DATA_DIR: data },
    timeoutMs: 6_000,
  });
  expect(stdout + stderr).not.toBe('');
  expect(secretsIn(stdout + stderr)).toEqual([]);
});

it('the look finds a secret that is there, whole or without its prefix, in text and in base64', () => {
  expect(secretsIn(`Bearer ${SECRET.masterKey}`)).toEqual(['masterKey']);
  expect(secretsIn(SECRET.providerKey.slice('sk-'.length))).toEqual(['providerKey']);
  expect(secretsIn(Buffer.from(SECRET.databasePassword).toString('base64'))).toEqual(['databasePassword']);
  expect(secretsIn(made[0] ?? '')).toEqual(['virtual key 1']);
  expect(secretsIn('sk-...5As')).toEqual([]);
});

/** Success, every kind of error that carries a credential, and the deaths of all children. */
async function live(): Promise<void> {
  for (let i = 0; i < 3; i++)
    made.push(await claviger.generateKey({ key_alias: `alias-${i}`, metadata: { of: 'tests' } }));
  const [good = '', blocked = '', deleted = ''] = made;
  await ask('POST', '/key/block', { key: blocked });
  await ask('POST', '/key/update', { key: good, models: [] });
  await calls(good);
  await ask('POST', '/key/delete', { keys: [deleted] });
  for (const key of [blocked, deleted, SECRET.foreignKey, SECRET.masterKey.toUpperCase(), `${good}x`])
    await chat('up', key);
  for (const key of [good, SECRET.foreignKey]) {
    for (const path of ['/key/list', '/key/info', '/spend/logs', '/metrics']) await ask('GET', path, undefined, key);
    await ask('POST', '/key/generate', { models: 'none' }, key);
  }
  // Credentials where they do not belong.
  await ask('POST', '/v1/chat/completions', { model: good, messages: 'none' }, good);
  await ask('GET', `/key/info?key=${good}`);
  await ask('GET', `/key/info?key=${SECRET.foreignKey}`);
  await ask('POST', '/key/update', { key: SECRET.foreignKey, max_budget: 'much' });
  await ask('POST', '/key/delete', { keys: [SECRET.foreignKey] });
  await ask('GET', `/nothing/here?api_key=${SECRET.masterKey}`, undefined, null);
  await ask('POST', '/key/generate', { key_alias: 'alias-0' });
  const pages = ['/key/list?return_full_object=true', '/spend/logs', '/metrics', '/health/readiness', '/v1/models'];
  for (const path of pages) await ask('GET', path);
  await die();
  await calls(good);
  made.push(await claviger.generateKey({ key_alias: 'afterwards' }));
  for (const path of pages) await ask('GET', path);
  outputs = claviger.logs();
}

async function calls(key: string): Promise<void> {
  for (const model of ['up', 'up-error', 'up-garbage', 'refused', 'no-such-model']) {
    await chat(model, key);
    await chat(model, key, true);
  }
}

/** Every child dies, of an abort with what Node writes then, and PostgreSQL goes away under the control process. */
async function die(): Promise<void> {
  const before = claviger.pids();
  for (const role of ['gateway', 'control'] as const) claviger.kill(role, 'SIGABRT');
  await until('the children are gone', () => ([...before.gateways, before.control ?? 0].some(isAlive) ? null : true));
  await until('others are there', async () => {
    const { control, gateways } = claviger.pids();
    if (control === null || gateways.length < GATEWAYS) return null;
    const { status } = await claviger.api('GET', '/health/readiness').catch(() => ({ status: 0 }));
    return status === 200 ? true : null;
  });
  await waitUntilCurrent(claviger, GATEWAYS);
}

async function chat(model: string, key: string, stream = false): Promise<void> {
  await ask('POST', '/v1/chat/completions', { model, stream, messages: [{ role: 'user', content: 'Hello' }] }, key);
}

async function ask(
  method: string,
  path: string,
  body?: object,
  key: string | null = claviger.masterKey,
): Promise<void> {
  const { headers, status, text } = await claviger.api(method, path, body, key);
  const route = path.split('?')[0];
  const all = [...headers].map(([name, value]) => `${name}: ${value}`).join('\n');
  answers.push({ what: `${method} ${route} -> ${status}`, text: `${all}\n${echoless(text, path, body)}` });
}

/** A key that the caller has just named may come back to the master: `/key/info` and `/key/delete` of LiteLLM repeat it. */
function echoless(text: string, path: string, body: object | undefined): string {
  const given = `${decodeURIComponent(path)} ${JSON.stringify(body ?? {})}`;
  const repeated = [...made, SECRET.foreignKey].filter((key) => path.startsWith('/key/') && given.includes(key));
  return repeated.reduce((left, key) => left.replaceAll(key, '(as given)'), text);
}

async function models(): Promise<object[]> {
  const at = (model: string, apiBase: string, apiKey: string): object => ({
    litellm_params: { model, api_base: apiBase, api_key: apiKey },
  });
  const base = `${upstream.url}/v1`;
  return [
    { model_name: 'up', ...at('openai/up', base, 'os.environ/PROVIDER_KEY') },
    { model_name: 'up-error', ...at('openai/error?status=401', base, 'os.environ/PROVIDER_KEY') },
    { model_name: 'up-garbage', ...at('openai/garbage', base, SECRET.brokenProviderKey) },
    { model_name: 'refused', ...at('openai/x', `http://127.0.0.1:${await freePort()}/v1`, SECRET.brokenProviderKey) },
  ];
}

function environment(databaseUrl: string): Record<string, string> {
  return {
    LITELLM_MASTER_KEY: SECRET.masterKey,
    LITELLM_SALT_KEY: SECRET.saltKey,
    PROVIDER_KEY: SECRET.providerKey,
    DATABASE_URL: databaseUrl,
    CLAVIGER_DATA_DIR: join(dir, 'data'),
  };
}

/** PostgreSQL trusts the socket of the tests, so the password is not asked for; it is in the URL all the same. */
function withPassword(url: string): string {
  const changed = url.replace('//postgres@', `//postgres:${SECRET.databasePassword}@`);
  if (changed === url) throw new Error('the database of the tests has another kind of URL');
  return changed;
}

/** Names of the secrets in a text: whole, without `sk-`, or in base64. */
function secretsIn(text: string): string[] {
  const virtual = made.map((key, i): [string, string] => [`virtual key ${i + 1}`, key]);
  return [...Object.entries(SECRET), ...virtual]
    .filter(([, secret]) => {
      const bare = secret.replace(/^sk-/, '');
      return [
        bare,
        Buffer.from(bare).toString('base64').slice(0, -4),
        Buffer.from(secret).toString('base64').slice(0, -4),
      ].some((form) => text.includes(form));
    })
    .map(([name]) => name);
}

function filesBelow(path: string): string[] {
  return readdirSync(path).flatMap((name) => {
    const child = join(path, name);
    const entry = statSync(child);
    if (entry.isDirectory()) return filesBelow(child);
    return entry.isFile() ? [child] : [];
  });
}
