import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCertificateAuthority } from '../../tests/support/tls.ts';
import { configSourceFor } from './config-source-for.ts';
import { type ResolvedSettings, resolveSettings, type ServeFlags } from './resolve-settings.ts';
import { secretsOfSettings } from './secrets.ts';
import { SettingsError } from './settings-error.ts';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'settings-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const DATABASE = {
  DATABASE_URL: 'postgresql://u:dbsecret@h:5432/d',
  LITELLM_MASTER_KEY: 'sk-master',
  LITELLM_SALT_KEY: 'sk-salt',
};

const resolve = (env: Record<string, string> = {}, flags: ServeFlags = {}): ResolvedSettings =>
  resolveSettings({ flags, env, cwd });
const settingsOf = (env: Record<string, string> = {}, flags: ServeFlags = {}) =>
  resolve({ ...DATABASE, ...env }, flags).settings;
const file = (name: string, text: string): string => {
  writeFileSync(join(cwd, name), text);
  return join(cwd, name);
};

describe('the price list', () => {
  it.each([
    [{}, null],
    [{ LITELLM_MODEL_COST_MAP_URL: 'https://prices.example.com/list.json' }, 'https://prices.example.com/list.json'],
    [{ LITELLM_MODEL_COST_MAP_URL: '/etc/prices.json' }, '/etc/prices.json'],
    [{ LITELLM_MODEL_COST_MAP_URL: 'file:///etc/prices.json' }, '/etc/prices.json'],
    [{ LITELLM_MODEL_COST_MAP_URL: 'https://x/l.json', LITELLM_LOCAL_MODEL_COST_MAP: 'True' }, null],
  ])('%j comes from %s', (env, expected) => {
    expect(settingsOf(env as Record<string, string>).modelCostMap).toBe(expected);
  });

  it('may be a path from where the instance is started, and no other kind of address', () => {
    expect(settingsOf({ LITELLM_MODEL_COST_MAP_URL: 'prices.json' }).modelCostMap).toBe(join(cwd, 'prices.json'));
    expect(() => settingsOf({ LITELLM_MODEL_COST_MAP_URL: 's3://bucket/list.json' })).toThrow(SettingsError);
  });

  it('keeps what its address holds of credentials out of the log', () => {
    const settings = settingsOf({ LITELLM_MODEL_COST_MAP_URL: 'https://me:passw0rd@x/l.json?signature=abcdef123' });
    expect(secretsOfSettings(settings)).toEqual(expect.arrayContaining(['passw0rd', 'abcdef123']));
  });
});

describe('with nothing set', () => {
  it('is a standalone instance with its own database, keys and models in the working directory', () => {
    const { settings, warnings } = resolve();
    expect(warnings).toEqual([]);
    expect(settings).toMatchObject({
      role: 'standalone',
      host: '0.0.0.0',
      port: 4000,
      metricsPort: null,
      numWorkers: 1,
      dataDir: join(cwd, '.claviger'),
      region: 'default',
      configFilePath: null,
      databaseUrl: null,
      directUrl: null,
      databaseConnectionPoolLimit: 10,
      serverRootPath: '',
      corsOrigins: ['*'],
      tls: null,
      trustedProxies: [],
      log: { level: 'info', json: false },
      drainTimeoutMs: 900_000,
      production: false,
      bodyBytesMax: 32 * 1024 * 1024,
      responseHeldBytesMax: 8 * 1024 * 1024,
      fakeModels: true,
    });
    expect(settings.masterKey).toMatch(/^sk-/);
    expect(configSourceFor(settings, {}).source.models.map((model) => model.modelName)).toEqual([
      'fake-gpt',
      'fake-embedding',
    ]);
  });

  it('has no built-in models as soon as there is a file or a database', () => {
    file('c.yaml', '');
    const withFile = resolve({}, { config: 'c.yaml' }).settings;
    expect(withFile.fakeModels).toBe(false);
    expect(configSourceFor(withFile, {}).source.models).toEqual([]);
    expect(settingsOf().fakeModels).toBe(false);
    expect(configSourceFor(settingsOf(), {}).source.models).toEqual([]);
  });

  it('is plain data that can cross a process boundary', () => {
    const { settings } = resolve();
    expect(JSON.parse(JSON.stringify(settings))).toEqual(settings);
  });
});

describe('precedence', () => {
  it('is flag, environment, file, default', () => {
    file('c.yaml', 'general_settings: {master_key: sk-file, database_url: "postgres://file/d"}');
    expect(resolve({ CONFIG_FILE_PATH: 'c.yaml', LITELLM_SALT_KEY: 'x' }).settings).toMatchObject({
      masterKey: 'sk-file',
      databaseUrl: 'postgres://file/d',
      configFilePath: join(cwd, 'c.yaml'),
    });
    const both = resolve(
      { ...DATABASE, CONFIG_FILE_PATH: 'gone.yaml', PORT: '5000', HOST: '::' },
      { config: 'c.yaml', port: 0, numWorkers: '3' },
    );
    expect(both.settings).toMatchObject({
      masterKey: 'sk-master',
      databaseUrl: DATABASE.DATABASE_URL,
      port: 0,
      host: '::',
      numWorkers: 3,
    });
  });

  it('takes every variable of the environment', () => {
    expect(
      settingsOf({
        PORT: '4001',
        NUM_WORKERS: '2',
        CLAVIGER_DATA_DIR: 'd a t a',
        CLAVIGER_REGION: 'eu-west-1',
        DIRECT_URL: 'postgres://direct/d',
        SERVER_ROOT_PATH: 'llm/',
        LITELLM_CORS_ORIGINS: 'https://a.example',
        LITELLM_CORS_ALLOW_CREDENTIALS: 'true',
        CLAVIGER_TRUSTED_PROXIES: '10.0.0.0/8',
        LITELLM_LOG: 'debug',
        JSON_LOGS: 'true',
        DISABLE_SCHEMA_UPDATE: 'true',
        CLAVIGER_DRAIN_TIMEOUT: '5',
        LITELLM_MODE: 'production',
        HTTPS_PROXY: 'http://p:1',
      }),
    ).toMatchObject({
      port: 4001,
      numWorkers: 2,
      dataDir: join(cwd, 'd a t a'),
      region: 'eu-west-1',
      directUrl: 'postgres://direct/d',
      serverRootPath: '/llm',
      corsOrigins: ['https://a.example'],
      corsAllowCredentials: true,
      trustedProxies: ['10.0.0.0/8'],
      log: { level: 'debug', json: true },
      disableSchemaUpdate: true,
      drainTimeoutMs: 5000,
      production: true,
      outbound: { httpsProxy: 'http://p:1' },
    });
  });

  it('takes what the file says', () => {
    file(
      'c.yaml',
      `general_settings: {database_connection_pool_limit: 3, disable_prisma_schema_update: true, max_request_size_mb: 0.5}
litellm_settings: {json_logs: true, ssl_verify: false}`,
    );
    const settings = settingsOf({}, { config: 'c.yaml' });
    expect(settings).toMatchObject({
      databaseConnectionPoolLimit: 3,
      disableSchemaUpdate: true,
      bodyBytesMax: 524_288,
    });
    expect(settings.log.json).toBe(true);
    expect(settings.outbound.sslVerify).toBe(false);
    expect(settingsOf({ JSON_LOGS: 'false' }, { config: 'c.yaml' }).log.json).toBe(false);
  });

  it('lets --debug win over LITELLM_LOG', () => {
    expect(settingsOf({ LITELLM_LOG: 'ERROR' }, { debug: true }).log.level).toBe('debug');
    expect(settingsOf({ LITELLM_LOG: 'WARNING' }).log.level).toBe('warn');
  });
});

describe('.env', () => {
  it('is read, never overrides the environment, and reaches the children', () => {
    file('.env', 'PORT=4010\nCLAVIGER_REGION=from-file\nOPENAI_API_KEY=k\n');
    const { settings, env } = resolve({ ...DATABASE, CLAVIGER_REGION: 'from-env' });
    expect(settings).toMatchObject({ port: 4010, region: 'from-env' });
    expect(env).toMatchObject({ OPENAI_API_KEY: 'k', CLAVIGER_REGION: 'from-env' });
  });

  it('is not read in production', () => {
    file('.env', 'PORT=4010');
    expect(settingsOf({ LITELLM_MODE: 'PRODUCTION' }).port).toBe(4000);
  });
});

it('environment_variables of the file are set for settings, references and children', () => {
  file(
    'c.yaml',
    'environment_variables: {CLAVIGER_REGION: eu, X_KEY: sk-x}\ngeneral_settings: {master_key: os.environ/X_KEY}',
  );
  const { settings, env } = resolve({ CLAVIGER_REGION: 'us' }, { config: 'c.yaml' });
  expect(settings).toMatchObject({ region: 'eu', masterKey: 'sk-x' });
  expect(env).toMatchObject({ X_KEY: 'sk-x' });
});

describe('role', () => {
  it.each([
    [{}, 'standalone'],
    [{ DISABLE_LLM_API_ENDPOINTS: 'True' }, 'admin'],
    [{ DISABLE_ADMIN_ENDPOINTS: 'TRUE', DISABLE_ADMIN_UI: 'true' }, 'worker'],
    [{ DISABLE_ADMIN_UI: 'true' }, 'standalone'],
    [{ DISABLE_ADMIN_ENDPOINTS: 'false' }, 'standalone'],
  ])('of %j is %s', (env, role) => {
    expect(settingsOf(env).role).toBe(role);
  });

  it('with both flags is valid and warned about', () => {
    const { settings, warnings } = resolve({
      ...DATABASE,
      DISABLE_LLM_API_ENDPOINTS: 'true',
      DISABLE_ADMIN_ENDPOINTS: 'true',
    });
    expect(settings.flags).toEqual({
      disableLlmApiEndpoints: true,
      disableAdminEndpoints: true,
      disableAdminUi: false,
    });
    expect(warnings[0]).toContain('health and metrics only');
  });

  it('is not guessed', () => {
    expect(resolve({ ...DATABASE, DISABLE_ADMIN_ENDPOINTS: 'yes' }).warnings[0]).toContain('LiteLLM would not');
    expect(() => settingsOf({ DISABLE_ADMIN_ENDPOINTS: 'ture' })).toThrow(
      'DISABLE_ADMIN_ENDPOINTS is neither true nor false',
    );
  });
});

describe('what can not be started with is one sentence without secrets', () => {
  it.each([
    [{ PORT: '70000' }, 'The port (--port, PORT) must be an integer from 0 to 65535'],
    [{ PORT: 'http' }, 'The port'],
    [{ NUM_WORKERS: '0' }, 'must be an integer from 1 to 256'],
    [{ HOST: 'http://x' }, 'The host (--host, HOST)'],
    [{ CLAVIGER_REGION: 'eu west' }, 'CLAVIGER_REGION must be'],
    [{ CLAVIGER_DRAIN_TIMEOUT: '-1' }, 'CLAVIGER_DRAIN_TIMEOUT must be'],
    [{ DATABASE_URL: 'mysql://u:dbsecret@h/d' }, 'DATABASE_URL is not the URL of a PostgreSQL database'],
    [{ DIRECT_URL: 'h:5432' }, 'DIRECT_URL is not'],
    [{ DATABASE_URL: '', DATABASE_HOST: 'h' }, 'Set DATABASE_URL=postgresql://'],
    [{ LITELLM_MASTER_KEY: '' }, 'LITELLM_MASTER_KEY is not set'],
    [{ CONFIG_FILE_PATH: 'gone.yaml' }, 'gone.yaml: the file does not exist'],
    [{ SSL_CERTFILE_PATH: 'c.pem' }, 'SSL_CERTFILE_PATH is set but SSL_KEYFILE_PATH is not'],
    [{ SSL_KEYFILE_PATH: 'k.pem' }, 'SSL_KEYFILE_PATH is set but SSL_CERTFILE_PATH is not'],
  ])('%j', (env, sentence) => {
    const attempt = () => settingsOf(env);
    expect(attempt).toThrow(SettingsError);
    expect(attempt).toThrow(sentence);
    expect(attempt).not.toThrow('dbsecret');
  });
});

describe('TLS files', () => {
  it('are accepted when they belong together and refused otherwise', async () => {
    await using authority = await createCertificateAuthority();
    const [one, two] = [await authority.serverCertificate(), await authority.serverCertificate()];
    const tls = (SSL_CERTFILE_PATH: string, SSL_KEYFILE_PATH: string) =>
      settingsOf({ SSL_CERTFILE_PATH, SSL_KEYFILE_PATH }).tls;
    expect(tls(one.certPath, one.keyPath)).toEqual({ certPath: one.certPath, keyPath: one.keyPath });
    expect(settingsOf({}, { sslCertfilePath: one.certPath, sslKeyfilePath: one.keyPath }).tls).not.toBeNull();
    expect(() => tls(one.certPath, two.keyPath)).toThrow(/does not belong to the certificate/);
    expect(() => tls(one.keyPath, one.keyPath)).toThrow(/holds no certificate/);
    expect(() => tls(one.certPath, one.certPath)).toThrow(/holds no private key/);
    expect(() => tls(one.certPath, join(cwd, 'gone'))).toThrow(/can not be read \(ENOENT\)/);
    const encrypted = file(
      'enc.pem',
      '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n',
    );
    expect(() => tls(one.certPath, encrypted)).toThrow(/passphrase/);
  });
});

describe('warnings', () => {
  it('name variables that have no effect, once', () => {
    const { warnings } = resolve({
      ...DATABASE,
      REDIS_SENTINEL_NODES: 'r',
      SMTP_HOST: 'm',
      LITELLM_LICENSE: 'abc-license',
    });
    expect(warnings).toHaveLength(2);
    expect(warnings.join(' ')).toMatch(/LITELLM_LICENSE is ignored.*REDIS_SENTINEL_NODES, SMTP_HOST/);
    expect(warnings.join(' ')).not.toContain('abc-license');
  });

  it('tell about an unknown log level and an unused option', () => {
    const { warnings, settings } = resolve({
      ...DATABASE,
      LITELLM_LOG: 'loud',
      LITELLM_CORS_ALLOW_CREDENTIALS: 'true',
    });
    expect(settings.log.level).toBe('info');
    expect(warnings.join(' ')).toMatch(/LITELLM_CORS_ALLOW_CREDENTIALS has no effect.*LITELLM_LOG is none of/);
  });
});
