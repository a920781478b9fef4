import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Claviger, freePort, runClaviger, startClaviger, temporaryDirectory } from '../support/processes.ts';
import { createCertificateAuthority } from '../support/tls.ts';
import { until } from '../support/until.ts';
import { startUpstream } from '../support/upstream-server.ts';
import { waitUntilCurrent } from '../support/wait-until-current.ts';
import { freshCall } from './fresh-calls.ts';
import { startTlsProxy } from './tls-proxy.ts';

const SALT = 'salt-of-the-installation';
const REGION = 'eu-west-1';

let dir: string;
let config: string;
let admin: Claviger;

beforeAll(async () => {
  dir = await temporaryDirectory();
  config = join(dir, 'config.yaml');
  const models = ['alpha', 'beta'].map((name) => ({
    model_name: name,
    litellm_params: { model: `fake/${name}` },
  }));
  await writeFile(config, stringify({ model_list: models }));
  admin = await startAdmin();
}, 120_000);
afterAll(async () => {
  await admin?.stop();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

describe('a worker that joined', () => {
  let worker: Claviger;
  beforeAll(async () => {
    worker = await startWorker('first', { CLAVIGER_JOIN_TOKEN: await token() });
    await waitUntilKnown(worker);
  }, 60_000);
  afterAll(() => worker?.stop());

  it('has no control process, no database and no key of the installation', () => {
    const { control, gateways, postgres } = worker.pids();
    expect([control, postgres, gateways.length]).toEqual([null, null, 1]);
    const text = everythingIn(worker.dir);
    for (const secret of [SALT, admin.masterKey]) expect(text).not.toContain(secret);
  });

  it('answers keys of the admin, refuses them when they are blocked, and reports what they cost', async () => {
    const key = await admin.generateKey({ models: ['alpha'] });
    await until('the key is known', async () => ((await freshCall(worker, key)).status === 200 ? true : null));
    expect((await freshCall(worker, key, { model: 'beta' })).status).toBe(403);
    const { headers } = await freshCall(worker, key);
    expect(headers['x-claviger-region']).toBe(REGION);

    expect((await admin.api('POST', '/key/block', { key })).status).toBe(200);
    await until('it is refused', async () => ((await freshCall(worker, key)).status === 401 ? true : null), 2_000);
    const rows = await until('the calls are in the log', async () => {
      const answer = await admin.api('GET', `/spend/logs?api_key=${key}`);
      return answer.status === 200 && answer.json().length >= 2 ? answer.json() : null;
    });
    expect(new Set(rows.map(({ metadata }: { metadata: { region?: string } }) => metadata.region))).toEqual(
      new Set([REGION]),
    );
  });

  it('uses models of the database for its region, whose secrets nobody finds on its disk', async () => {
    await using upstream = await startUpstream();
    const secret = `sk-of-the-provider-${randomUUID()}`;
    const model = (name: string, regions: string[]) =>
      admin.api('POST', '/model/new', {
        model_name: name,
        litellm_params: { model: 'openai/gpt-4', api_base: `${upstream.url}/v1`, api_key: secret },
        model_info: { regions },
      });
    expect([(await model('here', [REGION])).status, (await model('elsewhere', ['us-east-1'])).status]).toEqual([
      200, 200,
    ]);
    const key = await admin.generateKey();
    await until('the model is used', async () =>
      (await freshCall(worker, key, { model: 'here' })).status === 200 ? true : null,
    );
    const [seen] = await upstream.requests();
    expect(seen?.headers.find(([name]) => name.toLowerCase() === 'authorization')?.[1]).toBe(`Bearer ${secret}`);
    expect((await freshCall(worker, key, { model: 'elsewhere' })).status).toBe(400);
    expect(everythingIn(worker.dir)).not.toContain(secret);
  });

  it('says of management routes and of the master key what a worker says', async () => {
    const key = await admin.generateKey();
    await until('the key is known', async () => ((await freshCall(worker, key)).status === 200 ? true : null));
    for (const path of ['/key/list', '/fleet/workers', '/feed/v1/join', '/no/such/route']) {
      expect((await worker.api('GET', path, undefined, null)).status, path).toBe(401);
      const answer = await worker.api('GET', path, undefined, key);
      expect([answer.status, answer.json().error.message], path).toEqual([
        403,
        'Management routes are disabled for this instance.',
      ]);
    }
    const master = await worker.api('GET', '/v1/models', undefined, admin.masterKey);
    expect([master.status, master.json().error.message]).toEqual([
      401,
      expect.stringContaining('the master key works on admins only'),
    ]);
    expect((await worker.api('GET', '/metrics', undefined, null)).status).toBe(401);
    expect((await worker.api('GET', '/metrics', undefined, key)).text).toContain('claviger_config_rev');
  });

  it('starts again without a token, also while the admin is away, and catches up when it is back', async () => {
    const key = await admin.generateKey();
    await until('the key is known', async () => ((await freshCall(worker, key)).status === 200 ? true : null));
    expect(await worker.stop()).toBe(0);
    // Other streams of the feed do not keep it from its end.
    const idle = await startWorker('idle', { CLAVIGER_JOIN_TOKEN: await token() });
    expect(await admin.stop()).toBe(0);
    await idle.stop();
    worker = await startWorker('first', {});
    expect((await freshCall(worker, key)).status).toBe(200);

    admin = await startAdmin(admin.port);
    const later = await admin.generateKey();
    await until('a new key is known', async () => ((await freshCall(worker, later)).status === 200 ? true : null));
    await until('what it did meanwhile is in the log', async () => {
      const answer = await admin.api('GET', `/spend/logs?api_key=${key}`);
      return answer.json().length === 2 ? true : null;
    });
  }, 90_000);

  it('ends with a sentence when a copy of it connects, which goes on', async () => {
    const original = await startWorker('original', { CLAVIGER_JOIN_TOKEN: await token() });
    const key = await admin.generateKey();
    await until('the key is known', async () => ((await freshCall(original, key)).status === 200 ? true : null));
    // As on another machine, where the lock of the original means nothing.
    for (const name of ['instance.json', 'identity', 'gateway-0']) {
      await cp(join(original.dir, name), join(dir, 'copy', name), { recursive: true });
    }
    const copy = await startWorker('copy', {});
    try {
      expect(await original.exited).toBe(1);
      expect(original.logs()).toMatch(
        /claviger: Another worker has connected as instance .* remove instance.json and identity\//,
      );
      const later = await admin.generateKey();
      await until('the copy is told', async () => ((await freshCall(copy, later)).status === 200 ? true : null));
    } finally {
      await original.stop();
      await copy.stop();
    }
  }, 60_000);

  it('in another region than its own does not start, and names both', async () => {
    await worker.stop();
    const { code, stderr } = await runWorker('first', { CLAVIGER_REGION: 'us-east-1' });
    expect(code).toBe(1);
    expect(stderr).toMatch(/CLAVIGER_REGION is us-east-1, and this worker joined region eu-west-1/);
    worker = await startWorker('first', { CLAVIGER_REGION: REGION });
    await waitUntilKnown(worker);
  }, 60_000);

  it('that is revoked says so, is told nothing any more, and serves on', async () => {
    const key = await admin.generateKey();
    await until('the key is known', async () => ((await freshCall(worker, key)).status === 200 ? true : null));
    const { instanceId } = JSON.parse(readFileSync(join(worker.dir, 'instance.json'), 'utf8'));
    expect((await admin.api('POST', `/fleet/workers/${instanceId}/revoke`)).status).toBe(200);
    await worker.waitForLog(/The control plane refuses this worker: Instance .* was revoked/);
    expect((await freshCall(worker, key)).status).toBe(200);
    const later = await admin.generateKey();
    expect((await freshCall(worker, later)).status).not.toBe(200);
  });
});

describe('a token', () => {
  it('is printed by the command line, with the command that uses it', async () => {
    const env = { CLAVIGER_URL: admin.url, LITELLM_MASTER_KEY: admin.masterKey };
    const { code, stdout } = await runClaviger(['fleet', 'token', '--region', 'ap-south-1', '--ttl', '5m'], { env });
    expect(code).toBe(0);
    const [, url, printed] = /CONTROL_PLANE_URL=(\S+) \\\n +CLAVIGER_JOIN_TOKEN=(\S+) \\\n +claviger serve\n/.exec(
      stdout,
    )!;
    expect(url).toBe(admin.url);
    const worker = await startWorker('printed', { CLAVIGER_JOIN_TOKEN: printed! });
    try {
      const { instanceId } = JSON.parse(readFileSync(join(worker.dir, 'instance.json'), 'utf8'));
      expect(JSON.parse(readFileSync(join(worker.dir, 'identity', 'identity.json'), 'utf8')).region).toBe('ap-south-1');
      const revoked = await runClaviger(['fleet', 'revoke', instanceId], { env });
      expect([revoked.code, revoked.stdout]).toEqual([0, expect.stringContaining('is revoked')]);
      await worker.waitForLog(/was revoked/);
    } finally {
      await worker.stop();
    }
    const refused = await runClaviger(['fleet', 'token', '--region', 'a b'], { env });
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/^claviger: .* made no token: .*region/)]);
  }, 60_000);

  it('that is wrong, used, expired or missing, or for another region, stops the start with a sentence', async () => {
    const used = await token();
    const first = await startWorker('second', { CLAVIGER_JOIN_TOKEN: used });
    await first.stop();
    const short = (await admin.api('POST', '/fleet/join-token', { region: REGION, ttl: '1s' })).json();
    await until('it has expired', () => (Date.now() > Date.parse(short.expires_at) + 100 ? true : null));
    const cases: [string, Record<string, string>, RegExp][] = [
      ['wrong', { CLAVIGER_JOIN_TOKEN: 'cjt-nonsense' }, /The join token is not known here. Get a new token/],
      ['used', { CLAVIGER_JOIN_TOKEN: used }, /The join token has been used. Get a new token/],
      ['expired', { CLAVIGER_JOIN_TOKEN: short.token }, /The join token has expired. Get a new token/],
      ['missing', {}, /this worker has not joined yet. Get a token on an admin/],
      [
        'elsewhere',
        { CLAVIGER_JOIN_TOKEN: await token(), CLAVIGER_REGION: 'us-east-1' },
        /The join token is for region eu-west-1, and CLAVIGER_REGION is us-east-1/,
      ],
      [
        'both',
        { CLAVIGER_JOIN_TOKEN: await token(), DATABASE_URL: 'postgresql://a:b@127.0.0.1/c' },
        /DATABASE_URL and CONTROL_PLANE_URL are both set/,
      ],
    ];
    for (const [name, env, sentence] of cases) {
      const { code, stdout, stderr } = await runWorker(`refused-${name}`, env);
      expect([name, code, stderr]).toEqual([name, 1, expect.stringMatching(sentence)]);
      expect(stdout + stderr, name).not.toMatch(/^\s+at |cjt-/m);
    }
  }, 120_000);
});

it('a worker joins through a proxy that ends TLS, and an admin that does not answer is passed over', async () => {
  await using authority = await createCertificateAuthority();
  await using proxy = await startTlsProxy({ to: admin.port, certificate: await authority.serverCertificate() });
  const nobody = await freePort();
  const worker = await startWorker('behind-tls', {
    CLAVIGER_JOIN_TOKEN: await token(),
    CONTROL_PLANE_URL: `https://127.0.0.1:${nobody},https://127.0.0.1:${proxy.port}`,
    SSL_CERT_FILE: authority.caPath,
  });
  try {
    const key = await admin.generateKey();
    await until('the key is known', async () => ((await freshCall(worker, key)).status === 200 ? true : null));
    await admin.api('POST', '/key/block', { key });
    await until('it is refused', async () => ((await freshCall(worker, key)).status === 401 ? true : null), 2_000);
    expect(proxy.paths).toContain('/feed/v1/stream');
  } finally {
    await worker.stop();
  }
}, 60_000);

async function startAdmin(port?: number): Promise<Claviger> {
  const started = await startClaviger({
    dir: join(dir, 'admin'),
    cwd: dir,
    ...(port === undefined ? {} : { args: ['--port', `${port}`] }),
    env: {
      DISABLE_LLM_API_ENDPOINTS: 'true',
      LITELLM_MASTER_KEY: 'sk-master-of-the-joined',
      LITELLM_SALT_KEY: SALT,
      CLAVIGER_DRAIN_NOTICE: '0',
    },
  });
  await waitUntilCurrent(started);
  return started;
}

async function startWorker(name: string, env: Record<string, string>): Promise<Claviger> {
  await mkdir(join(dir, name), { recursive: true });
  return startClaviger({
    dir: join(dir, name),
    cwd: dir,
    args: ['--config', config],
    env: workerEnv(env),
  });
}

async function runWorker(name: string, env: Record<string, string>) {
  await mkdir(join(dir, name), { recursive: true });
  const port = await freePort();
  return runClaviger(['serve', '--config', config, '--port', `${port}`], {
    cwd: dir,
    env: { ...workerEnv(env), CLAVIGER_DATA_DIR: join(dir, name) },
  });
}

/** Nothing of the installation but where it is. */
function workerEnv(env: Record<string, string>): Record<string, string | undefined> {
  return {
    CONTROL_PLANE_URL: admin.url,
    LITELLM_MASTER_KEY: undefined,
    LITELLM_SALT_KEY: undefined,
    CLAVIGER_DRAIN_NOTICE: '0',
    ...env,
  };
}

async function token(): Promise<string> {
  return (await admin.api('POST', '/fleet/join-token', { region: REGION })).json().token;
}

/** `/metrics` of a worker needs a key that it knows. */
async function waitUntilKnown(worker: Claviger): Promise<void> {
  const key = await admin.generateKey();
  const api: Claviger['api'] = (method, path, body) => worker.api(method, path, body, key);
  await until('a key is known', async () => ((await api('GET', '/v1/models')).status === 200 ? true : null));
  await waitUntilCurrent({ ...worker, api } as Claviger);
}

/** All files below a directory, as text. */
function everythingIn(directory: string): string {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');
}
