import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CRASHES_WITHOUT_GOOD_MAX } from '../../src/gateway/live/configuration-trial.ts';
import { type Claviger, runClaviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { createTestDatabase, type TestDatabase } from '../support/test-database.ts';
import { until } from '../support/until.ts';
import { startUpstream, type UpstreamServer } from '../support/upstream-server.ts';

const MASTER_KEY = 'sk-master-of-the-model-tests';
/** Ten times what a change may take until it is in force. */
const IN_FORCE_MS = 10_000;

let upstream: UpstreamServer;
beforeAll(async () => {
  upstream = await startUpstream();
});
afterAll(() => upstream?.stop());

const chat = (instance: Claviger, model: string) =>
  instance.api('POST', '/v1/chat/completions', { model, messages: [{ role: 'user', content: 'x' }] });

const modelsOf = async (instance: Claviger): Promise<string[]> =>
  (await instance.api('GET', '/v1/models')).json().data.map(({ id }: { id: string }) => id);

const untilModels = (instance: Claviger, expected: readonly string[]) =>
  until(
    `the models ${expected.join()}`,
    async () => ((await modelsOf(instance)).sort().join() === [...expected].sort().join() ? true : null),
    IN_FORCE_MS,
  );

/** Key that a request of the upstream server came with. */
async function keySeen(model: string): Promise<string | undefined> {
  const request = await upstream.waitFor((requests) =>
    requests.findLast(({ bodyBase64 }) => Buffer.from(bodyBase64, 'base64').toString().includes(`"${model}"`)),
  );
  return request.headers.find(([name]) => name.toLowerCase() === 'authorization')?.[1];
}

/** Whether any file below a directory holds the text. */
function onDisk(directory: string, text: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => {
    const path = join(directory, name);
    try {
      return statSync(path).isFile() && readFileSync(path).includes(text);
    } catch {
      // Gone meanwhile, or of the account of the embedded PostgreSQL.
      return false;
    }
  });
}

const model = (id: string, apiKey: string, info: object = {}) => ({
  model_name: id,
  litellm_params: { model: `openai/${id}`, api_base: `${upstream.url}/v1`, api_key: apiKey },
  model_info: { id, ...info },
});

describe('models in a database that regions share', () => {
  let database: TestDatabase;
  let dirs: string[];
  let admin: Claviger;
  let eu: Claviger;
  let us: Claviger;

  const start = async (env: Record<string, string>, dir: string): Promise<Claviger> =>
    startClaviger({
      dir,
      env: {
        DATABASE_URL: database.url,
        DIRECT_URL: database.directUrl,
        LITELLM_MASTER_KEY: MASTER_KEY,
        CLAVIGER_DATA_DIR: dir,
        ...env,
      },
    });
  const startWorker = (region: string, dir: string) =>
    start({ DISABLE_ADMIN_ENDPOINTS: 'true', DISABLE_ADMIN_UI: 'true', CLAVIGER_REGION: region }, dir);

  beforeAll(async () => {
    database = await createTestDatabase();
    dirs = await Promise.all([1, 2, 3].map(() => temporaryDirectory('claviger-models-')));
    admin = await start({ DISABLE_LLM_API_ENDPOINTS: 'true', CLAVIGER_REGION: 'hq' }, dirs[0]!);
    [eu, us] = await Promise.all([startWorker('eu', dirs[1]!), startWorker('us', dirs[2]!)]);
  });
  afterAll(async () => {
    await Promise.all([admin, eu, us].map((instance) => instance?.stop()));
    await database?.drop();
    await Promise.all((dirs ?? []).map((dir) => rm(dir, { recursive: true, force: true })));
  });

  it('are served by workers without a file as soon as they are made, with the credential of the model', async () => {
    const made = await admin.api('POST', '/model/new', model('fresh', 'sk-credential-of-fresh'));
    expect(made.status).toBe(200);
    for (const worker of [eu, us]) {
      await until('it is known', async () => ((await modelsOf(worker)).includes('fresh') ? true : null), IN_FORCE_MS);
      const answer = await chat(worker, 'fresh');
      expect(answer.status).toBe(200);
      expect(answer.headers.get('x-litellm-model-id')).toBe('fresh');
      expect(await keySeen('fresh')).toBe('Bearer sk-credential-of-fresh');
    }
    expect((await admin.api('POST', '/model/delete', { id: 'fresh' })).status).toBe(200);
    await Promise.all([untilModels(eu, []), untilModels(us, [])]);
    expect((await chat(eu, 'fresh')).status).toBe(400);
  });

  it('that are blocked are used nowhere until they are unblocked', async () => {
    expect((await admin.api('POST', '/model/new', model('blocked', 'sk-of-blocked'))).status).toBe(200);
    await Promise.all([untilModels(eu, ['blocked']), untilModels(us, ['blocked'])]);
    const answer = await admin.api('POST', '/model/block?wait=all&timeout=10s', { model_id: 'blocked' });
    expect([answer.status, answer.json().receipt.pending]).toEqual([200, []]);
    for (const worker of [eu, us]) expect((await chat(worker, 'blocked')).status).toBe(400);
    await admin.api('POST', '/model/unblock?wait=all&timeout=10s', { model_id: 'blocked' });
    for (const worker of [eu, us]) expect((await chat(worker, 'blocked')).status).toBe(200);
    expect((await admin.api('POST', '/model/delete', { id: 'blocked' })).status).toBe(200);
    await Promise.all([untilModels(eu, []), untilModels(us, [])]);
  });

  it('for one region do not exist in another, and their credential never gets there, sealed or not', async () => {
    const canary = `sk-${randomBytes(16).toString('hex')}`;
    expect((await admin.api('POST', '/model/new', model('only-eu', canary, { regions: ['eu'] }))).status).toBe(200);
    // Behind it in the same feed: when it has arrived, the other one would have.
    expect((await admin.api('POST', '/model/new', model('both', 'sk-of-both', { regions: ['eu', 'us'] }))).status).toBe(
      200,
    );
    await Promise.all([untilModels(eu, ['only-eu', 'both']), untilModels(us, ['both'])]);
    expect((await chat(eu, 'only-eu')).status).toBe(200);
    const refused = await chat(us, 'only-eu');
    expect(refused.status).toBe(400);
    expect(refused.json().error.message).toContain('Invalid model name passed in model=only-eu');

    const { rows } = await database_rows(`select litellm_params from claviger.model where model_id = 'only-eu'`);
    const secret = rows[0].litellm_params.api_key as { $sealed: string; fingerprint: string };
    expect(secret.$sealed).toMatch(/^c1:/);
    // Also after a restart with an empty directory, which brings a whole snapshot.
    await us.stop();
    await rm(join(dirs[2]!, 'gateway-0'), { recursive: true, force: true });
    us = await startWorker('us', dirs[2]!);
    await untilModels(us, ['both']);
    for (const text of [canary, secret.$sealed, secret.fingerprint]) expect(onDisk(dirs[2]!, text)).toEqual([]);
    expect(onDisk(dirs[1]!, secret.$sealed)).not.toEqual([]);
    for (const dir of dirs) expect(onDisk(dir, canary)).toEqual([]);
    for (const instance of [admin, eu, us]) expect(instance.logs()).not.toContain(canary);
  });

  it('that lose a region are gone there at once, and come when they get one', async () => {
    await admin.api('POST', '/model/update', { model_info: { id: 'both', regions: ['eu'] } });
    await untilModels(us, []);
    await admin.api('PATCH', '/model/only-eu/update', { model_info: { regions: ['us'] } });
    await Promise.all([untilModels(us, ['only-eu']), untilModels(eu, ['both'])]);
    expect((await chat(us, 'only-eu')).status).toBe(200);
  });

  it('are served after a restart while the database is not there', async () => {
    const before = await modelsOf(us);
    await us.stop();
    us = await start(
      {
        DATABASE_URL: 'postgresql://nobody:x@127.0.0.1:1/none',
        DIRECT_URL: '',
        DISABLE_ADMIN_ENDPOINTS: 'true',
        DISABLE_ADMIN_UI: 'true',
        CLAVIGER_REGION: 'us',
      },
      dirs[2]!,
    );
    expect(await modelsOf(us)).toEqual(before);
    expect((await chat(us, 'only-eu')).status).toBe(200);
  });

  async function database_rows(text: string) {
    const { default: pg } = await import('pg');
    const client = new pg.Client({ connectionString: database.directUrl });
    await client.connect();
    try {
      return await client.query(text);
    } finally {
      await client.end();
    }
  }
});

describe('models of a standalone instance', () => {
  let dir: string;
  let config: string;
  let instance: Claviger;

  const file = (text: string) => writeFileSync(config, text);
  const entry = (name: string, upstreamModel: string, id = name) =>
    `{model_name: ${name}, litellm_params: {model: openai/${upstreamModel}, api_base: '${upstream.url}/v1', api_key: os.environ/FILE_KEY}, model_info: {id: ${id}}}`;

  beforeAll(async () => {
    dir = await temporaryDirectory('claviger-models-');
    config = join(dir, 'config.yaml');
    file(`model_list: [${entry('of-file', 'of-file')}]`);
    instance = await startClaviger({
      args: ['--config', config],
      env: { LITELLM_MASTER_KEY: MASTER_KEY, FILE_KEY: 'sk-from-the-environment' },
    });
  });
  afterAll(async () => {
    await instance?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('are in force when the answer to the write is there', async () => {
    expect((await instance.api('POST', '/model/new', model('of-database', 'sk-of-the-database'))).status).toBe(200);
    expect((await chat(instance, 'of-database')).status).toBe(200);
    expect((await modelsOf(instance)).sort()).toEqual(['of-database', 'of-file']);
  });

  it('can be applied from the file, twice, and the file goes on counting where both differ', async () => {
    const apply = () =>
      runClaviger(['models', 'apply', config, '--url', instance.url], { env: { LITELLM_MASTER_KEY: MASTER_KEY } });
    const first = await apply();
    expect(first.stdout).toMatch(/of-file +of-file +created\n\n1 created\./);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect((await apply()).stdout).toMatch(/1 unchanged\./);
    expect(instance.logs()).not.toContain('on this instance the file counts');
    await chat(instance, 'of-file');
    expect(await keySeen('of-file')).toBe('Bearer sk-from-the-environment');

    await instance.api('POST', '/model/update', {
      litellm_params: { model: 'openai/other' },
      model_info: { id: 'of-file' },
    });
    await instance.waitForLog(/on this instance the file counts/);
    await upstream.forget();
    expect((await chat(instance, 'of-file')).status).toBe(200);
    expect(await keySeen('of-file')).toBeDefined();

    // Without the entry in the file, the database counts.
    file('model_list: []');
    instance.kill('supervisor', 'SIGHUP');
    await instance.waitForLog(/Configuration reloaded/);
    expect((await chat(instance, 'of-file')).status).toBe(200);
    expect(await keySeen('other')).toBe('Bearer sk-from-the-environment');
  });

  it('over which its process crashes again and again are left out until there is a change, and everything else is served', async () => {
    await instance.api('POST', '/model/new', model('poison', 'sk-of-the-poison'));
    expect((await chat(instance, 'poison')).status).toBe(200);
    // Nothing has run for a minute here, so that nothing is known to be good.
    for (let crash = 1; crash <= CRASHES_WITHOUT_GOOD_MAX; crash++) {
      const [killed] = instance.kill('gateway');
      await until('another process serves', async () => {
        const [now] = instance.pids().gateways;
        if (now === undefined || now === killed) return null;
        const answer = await instance.api('GET', '/health/readiness').catch(() => null);
        return answer?.status === 200 ? true : null;
      });
      if (crash < CRASHES_WITHOUT_GOOD_MAX) expect(await modelsOf(instance)).toContain('poison');
    }
    expect(await modelsOf(instance)).toEqual([]);
    await instance.waitForLog(/crash loop: processes ended again and again within a minute/);
    const key = await instance.generateKey();
    expect((await instance.api('GET', '/v1/models', undefined, key)).status).toBe(200);

    await instance.api('POST', '/model/delete', { id: 'poison' });
    await untilModels(instance, ['of-database', 'of-file']);
  });
});
