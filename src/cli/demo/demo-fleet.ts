import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DemoDatabase } from './demo-database.ts';
import { DemoInstance } from './demo-instance.ts';

/** What of our own environment the instances get: enough to run a program, and no setting of an instance. */
const INHERITED = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ', 'XDG_RUNTIME_DIR', 'NODE_OPTIONS', 'NODE_V8_COVERAGE'];
/** Tried in this order, for addresses that are easy to read; others where they are taken. */
const PORTS = { admin: 4000, eu: 4001, us: 4002 } as const;
export const GATEWAYS_PER_REGION = 2;

export const DEMO_MODEL = 'demo';
export type RegionName = 'eu' | 'us';

/** An admin, two regions with two gateway processes each, and the database that they share. */
export interface DemoFleet {
  readonly dir: string;
  readonly masterKey: string;
  readonly database: DemoDatabase;
  readonly admin: DemoInstance;
  readonly regions: Readonly<Record<RegionName, DemoInstance>>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** `dir` exists and is empty, or is that of an earlier demo. */
export async function createDemoFleet(
  dir: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<DemoFleet> {
  const masterKey = keptMasterKey(join(dir, 'master-key'));
  const config = join(dir, 'config.yaml');
  writeFileSync(
    config,
    `model_list:\n  - model_name: ${DEMO_MODEL}\n    litellm_params: { model: fake/${DEMO_MODEL} }\n`,
  );
  const database = new DemoDatabase(join(dir, 'database'));
  const ports = await freePorts(Object.values(PORTS));
  let databaseUrl = '';
  const instance = (name: 'admin' | RegionName, port: number): DemoInstance => {
    const dataDir = join(dir, name);
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    return new DemoInstance({
      name: name === 'admin' ? 'admin' : `worker in ${name}`,
      port,
      args: name === 'admin' ? [] : ['--config', config, '--num_workers', `${GATEWAYS_PER_REGION}`],
      env: () => ({
        ...inherited(env),
        ...(name === 'admin'
          ? { DISABLE_LLM_API_ENDPOINTS: 'true' }
          : { DISABLE_ADMIN_UI: 'true', DISABLE_ADMIN_ENDPOINTS: 'true', CLAVIGER_REGION: name }),
        DATABASE_URL: databaseUrl,
        LITELLM_MASTER_KEY: masterKey,
        LITELLM_SALT_KEY: `salt of ${masterKey}`,
        LITELLM_MODE: 'PRODUCTION',
        CLAVIGER_DATA_DIR: dataDir,
        CLAVIGER_DRAIN_TIMEOUT: '5',
        CLAVIGER_DRAIN_NOTICE: '0',
        PROXY_BASE_URL: `http://127.0.0.1:${port}`,
        HOST: '127.0.0.1',
      }),
      dir: dataDir,
      logPath: join(dir, `${name}.log`),
      program: ownProgram(),
    });
  };
  const admin = instance('admin', ports[0]!);
  const regions = { eu: instance('eu', ports[1]!), us: instance('us', ports[2]!) };
  return {
    dir,
    masterKey,
    database,
    admin,
    regions,
    async start() {
      databaseUrl = await database.start();
      await Promise.all([admin.start(), regions.eu.start(), regions.us.start()]);
    },
    async stop() {
      await Promise.all([admin.stop(), regions.eu.stop(), regions.us.stop()]);
      await database.stop('fast');
    },
  };
}

/** Secrets in the database of an earlier demo are sealed with it. */
function keptMasterKey(path: string): string {
  if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  const key = `sk-demo-${randomBytes(12).toString('hex')}`;
  writeFileSync(path, `${key}\n`, { mode: 0o600 });
  return key;
}

/** Source and build have the same files with different endings. */
function ownProgram(): string[] {
  const here = fileURLToPath(import.meta.url);
  const ending = here.endsWith('.ts') ? '.ts' : '.js';
  return [...process.execArgv, fileURLToPath(new URL(`../main${ending}`, import.meta.url))];
}

function inherited(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(INHERITED.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}

/** As many as are wished for; all of them are held until the last one is found. */
async function freePorts(wished: readonly number[]): Promise<number[]> {
  const servers = [];
  for (const port of wished) servers.push(await listen(port).catch(() => listen(0)));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function listen(port: number): Promise<ReturnType<typeof createServer>> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
